"""Pairs: texts of the corpus with a vector of each model, from which the map is learned.

Half of them are passages, whose old vectors the index has. The others are short texts, of the lengths that queries have.
The new model encodes all as queries, since that is what the map is for.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from indexer.errors import UserError
from indexer.index.dense import unit
from indexer.index.index import Index
from indexer.inference.encoder import Encoder, Vectors
from indexer.progress import Bar, quiet, say, stage
from trainer.pipeline.workspace import Workspace
from trainer.query_encoder.texts import short_texts

MIN_PAIRS = 40
"""With fewer there is nothing to learn a map from."""
BLOCK = 64
"""Pairs that are kept together; a command that was killed encodes no finished block again."""


@dataclass(frozen=True)
class Pairs:
    """Unit vectors of the same texts by both models.

    Attributes:
        new: as queries of the new model, shape (pairs, new dimension).
        old: by the old model, shape (pairs, old dimension).
        short: whether each is a short text, shape (pairs,).
    """

    new: Vectors
    old: Vectors
    short: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Item:
    """A text of which a pair is made; ``passage`` is its row in the index, None for a short text."""

    text: str
    passage: int | None


def choose_texts(index: Index, rows: Sequence[int], count: int, seed: int) -> list[Item]:
    """Return up to ``count`` texts of the documents in ``rows``, passages and short texts mixed at random."""
    rng = random.Random(seed)  # noqa: S311 - a sample, no secret
    passages = [
        passage
        for row in rng.sample(list(rows), min(len(rows), count))
        for passage in range(int(index.first_passage[row]), int(index.first_passage[row + 1]))
    ]
    items = []
    for passage in rng.sample(passages, min(len(passages), count // 2)):
        row = int(index.document_of[passage])
        items.append(Item(index.passage_texts(row)[passage - int(index.first_passage[row])], passage))
    documents = [index.document(row) for row in rng.sample(list(rows), min(len(rows), count))]
    titles, texts = [document.title for document in documents], [document.text for document in documents]
    short = short_texts(titles, texts, count - len(items), index.manifest.config["language"], seed)
    items += [Item(text, None) for text in short]
    rng.shuffle(items)
    return items


def make_pairs(
    index: Index, rows: Sequence[int], new: Encoder, *, count: int, seconds: float, seed: int, workspace: Workspace
) -> Pairs:
    """Encode texts with both models until there are ``count`` pairs, or the time is over.

    Args:
        index: whose vectors and encoder are the old ones.
        rows: documents whose texts are used.
        new: the new model's encoder.
        count: pairs, at most.
        seconds: time for the encoding.
        seed: of the choice of texts.
        workspace: keeps finished blocks.

    Raises:
        UserError: there are too few texts, or too few were encoded in the time.
    """
    with stage("choose texts"):
        items = choose_texts(index, rows, count, seed)
    started = time.monotonic()
    blocks: list[dict[str, npt.NDArray[Any]]] = []
    done = 0
    with Bar("encode texts with both models", len(items), "texts") as bar:
        for first in range(0, len(items), BLOCK):
            if done >= MIN_PAIRS and time.monotonic() - started > seconds:
                break
            block = items[first : first + BLOCK]
            with quiet():
                blocks.append(workspace.arrays(f"pairs-{first:06}", partial(_encode, index, new, block)))
            done += len(block)
            bar.advance(len(block))
    if done < min(len(items), count):
        say(f"{done:,} of {len(items):,} pairs: the time of --budget is over")
    if done < MIN_PAIRS:
        raise UserError(f"the index: its texts give {done} pairs, and a map needs {MIN_PAIRS}; give more documents")
    merged = {name: np.concatenate([block[name] for block in blocks]) for name in ("new", "old", "short")}
    return Pairs(merged["new"], merged["old"], merged["short"])


def _encode(index: Index, new: Encoder, items: Sequence[Item]) -> dict[str, npt.NDArray[Any]]:
    """Return the vectors of one block."""
    old = np.empty((len(items), index.dense.dimension), dtype=np.float32)
    short = np.array([item.passage is None for item in items])
    passages = np.array([item.passage for item in items if item.passage is not None], dtype=np.int64)
    if len(passages):
        old[~short] = index.dense.vectors(passages)
    if short.any():
        old[short] = unit(index.encoder.encode_queries([item.text for item in items if item.passage is None]))
    return {"new": unit(new.encode_queries([item.text for item in items])), "old": old, "short": short}
