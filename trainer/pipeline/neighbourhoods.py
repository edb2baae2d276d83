"""Put vectors that lie near each other into groups of one size: what is hard to tell apart is learned together."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from indexer.inference.encoder import Vectors

BLOCK = 8_192
"""Vectors among which neighbours are looked for: time grows with the square of it, and near enough is enough."""


def neighbourhoods(vectors: Vectors, size: int, seed: int) -> npt.NDArray[np.int64]:
    """Return a number for each vector, from 0; at most ``size`` vectors have the same.

    A vector that nobody has taken yet, drawn at random, takes the nearest ones that are free, and so on.

    Args:
        vectors: unit vectors, shape (vectors, dimension).
        size: of a group.
        seed: of the order in which they choose.
    """
    chance = np.random.default_rng(seed)
    order = chance.permutation(len(vectors))
    numbers = np.empty(len(vectors), dtype=np.int64)
    count = 0
    for start in range(0, len(vectors), BLOCK):
        rows = order[start : start + BLOCK]
        free = np.ones(len(rows), dtype=np.bool_)
        for place in range(len(rows)):
            if not free[place]:
                continue
            scores = np.where(free, vectors[rows] @ vectors[rows[place]], -np.inf)
            scores[place] = np.inf
            taken = np.argpartition(-scores, min(size, len(rows)) - 1)[:size]
            taken = taken[free[taken]]
            numbers[rows[taken]] = count
            free[taken] = False
            count += 1
    return numbers
