"""Diversity of results: near-duplicates do not crowd out the others.

Maximal marginal relevance (Carbonell and Goldstein, «The Use of MMR, Diversity-Based Reranking for Reordering Documents
and Producing Summaries», SIGIR 1998): the next result is the one with the largest

    (1 − diversity) · relevance − diversity · cosine to the nearest result that was taken already.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from indexer.index.dense import unit
from indexer.index.document_mask import Rows
from indexer.index.served import ServedIndex
from indexer.inference.encoder import Vectors

Numbers = npt.NDArray[np.float64]


def relevance(scores: Numbers) -> Numbers:
    """Return scores of any scale mapped to 0 (the smallest) to 1 (the largest); all 1 where they do not differ."""
    if not len(scores):
        return scores
    low, high = scores.min(), scores.max()
    scaled: Numbers = (scores - low) / (high - low) if high > low else np.ones_like(scores)
    return scaled


def mmr(relevances: Numbers, vectors: Vectors, diversity: float) -> Iterator[int]:
    """Yield the positions of all candidates in the order of maximal marginal relevance.

    The order does not depend on how many are taken: pages neither repeat nor lose a candidate.

    Args:
        relevances: of each candidate, shape (candidates,), between 0 and 1; of equal ones the earlier goes first.
        vectors: of unit length, shape (candidates, dimension).
        diversity: 0 for relevance alone; 1 for distance from the results taken before, alone.
    """
    taken = np.zeros(len(relevances), dtype=bool)
    nearest = np.full(len(relevances), -1.0)
    marginal = relevances
    for _ in relevances:
        chosen = int(np.argmax(np.where(taken, -np.inf, marginal)))
        yield chosen
        taken[chosen] = True
        nearest = np.maximum(nearest, vectors @ vectors[chosen])
        marginal = (1 - diversity) * relevances - diversity * nearest


def centroids(index: ServedIndex, documents: Rows) -> Vectors:
    """Return for each document the mean of its passages' vectors, of unit length, shape (documents, dimension)."""
    if not len(documents):
        return np.empty((0, index.encoder.contract.dimension), dtype=np.float32)
    return unit(np.stack([vectors.mean(axis=0) for vectors in index.passage_vectors(documents)]))
