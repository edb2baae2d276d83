"""Unit vectors of queries, and of all passages of an index, with progress."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from indexer.index.dense import unit
from indexer.index.index import Index
from indexer.inference.encoder import Encoder, Vectors
from indexer.progress import Bar

BATCH = 256
"""Texts that are encoded together."""


def encode_queries(name: str, encoder: Encoder, queries: Sequence[str]) -> Vectors:
    """Return the unit vectors of queries, shape (queries, dimension)."""
    vectors = np.empty((len(queries), encoder.contract.dimension), dtype=np.float32)
    with Bar(name, len(queries), "queries") as bar:
        for start in range(0, len(queries), BATCH):
            part = queries[start : start + BATCH]
            vectors[start : start + len(part)] = unit(encoder.encode_queries(part))
            bar.advance(len(part))
    return vectors


def encode_passages(name: str, encoder: Encoder, index: Index) -> Vectors:
    """Return the unit vectors that ``encoder`` gives the passages of ``index``, shape (passages, dimension)."""
    vectors = np.empty((len(index.dense), encoder.contract.dimension), dtype=np.float32)
    done = 0
    with Bar(name, len(vectors), "passages") as bar:
        for texts in _inputs(index):
            vectors[done : done + len(texts)] = unit(encoder.encode_documents(texts))
            done += len(texts)
            bar.advance(len(texts))
    return vectors


def _inputs(index: Index) -> Iterator[list[str]]:
    """Yield the texts of the passages in batches, in the order of the index."""
    texts: list[str] = []
    for row in range(len(index)):
        texts += index.passage_texts(row)
        if len(texts) >= BATCH:
            yield texts
            texts = []
    if texts:
        yield texts
