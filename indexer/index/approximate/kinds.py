"""Kinds of dense indexes: which there are, and which one an index gets.

`flat` compares the full vectors. Every other kind compares codes, which are smaller, and compares what it finds again by
the full vectors. So a kind decides which passages are found, and never what their scores are.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

DenseKind = Literal["flat", "flat-fp16", "flat-int8", "ivf-int8", "ivf-1bit", "hnsw"]
RequestedKind = Literal["auto", "flat", "flat-fp16", "flat-int8", "ivf-int8", "ivf-1bit", "hnsw"]
KINDS: tuple[DenseKind, ...] = get_args(DenseKind)

MAX_FLAT_PASSAGES = 100_000
"""Up to this many passages `auto` searches exactly: some 10 ms a query on one core."""
AUTO_KINDS: tuple[DenseKind, ...] = ("ivf-1bit", "ivf-int8")
"""What `auto` tries above that, in this order, until one reaches the recall that is asked for."""
LISTS_PER_ROOT = 4
MIN_POINTS_PER_LIST = 39
"""Vectors that FAISS asks for to place the centre of a list."""


def candidate_kinds(requested: RequestedKind, passages: int) -> tuple[DenseKind, ...]:
    """Return the kinds to build, each only where those before it do not reach the recall that is asked for."""
    if requested != "auto":
        return (requested,)
    return ("flat",) if passages <= MAX_FLAT_PASSAGES else AUTO_KINDS


def count_lists(passages: int) -> int:
    """Return the number of lists of an inverted file: four times the root of the passages, where these suffice for it."""
    return max(1, min(round(LISTS_PER_ROOT * math.sqrt(passages)), passages // MIN_POINTS_PER_LIST))
