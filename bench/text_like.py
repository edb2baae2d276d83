"""Vectors that behave like those of texts, made of real ones; docs/experiments/scale.md shows how alike they are.

A made vector is a mixture of a real one and two of its eight neighbours, plus what another real one differs from the mean of
its own neighbours: so the noise has the covariance that real texts have.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from indexer.artifacts.store import Store
from indexer.index import dense
from indexer.index.dense import DenseIndex, unit
from indexer.inference.encoder import Vectors

NEIGHBOURS, MEAN_OF, MIXED, NOISE = 8, 4, 3, 0.8
"""With this share of the noise made vectors have about the cosines of real ones to their nearest; see `check`."""
BLOCK = 50_000


@dataclass
class TextLike:
    """A source of vectors that are spread as those of texts are."""

    real: Vectors
    neighbours: np.ndarray
    noise: Vectors
    rng: np.random.Generator

    @classmethod
    def of(cls, real: Vectors, seed: int = 0) -> TextLike:
        """Learn from real vectors of unit length, shape (texts, dimension)."""
        found = [
            DenseIndex.of(real).search_many(real[start : start + 512], NEIGHBOURS + 1)[1]
            for start in range(0, len(real), 512)
        ]
        neighbours = np.concatenate(found)[:, 1:]
        noise = real - real[neighbours[:, :MEAN_OF]].mean(axis=1)
        return cls(real, neighbours, noise, np.random.default_rng(seed))

    def make(self, count: int) -> Vectors:
        """Return new vectors of unit length, shape (count, dimension)."""
        rng = self.rng
        first = rng.integers(len(self.real), size=count)
        others = self.neighbours[first[:, None], rng.integers(NEIGHBOURS, size=(count, MIXED - 1))]
        weights = rng.dirichlet(np.ones(MIXED), size=count).astype(np.float32)
        made = rng.choice(np.array([-NOISE, NOISE], dtype=np.float32), size=(count, 1))
        made = made * self.noise[rng.integers(len(self.real), size=count)]
        for weight, rows in zip(weights.T, (first, *others.T), strict=True):
            made += weight[:, None] * self.real[rows]
        return unit(made)

    def blocks(self, count: int) -> Iterator[Vectors]:
        """Yield ``count`` vectors in pieces."""
        for start in range(0, count, BLOCK):
            yield self.make(min(BLOCK, count - start))


def real_vectors(data: Path) -> Vectors:
    """Return the distinct vectors of all indexes of a data directory, in random order."""
    indexes = Store("index", data)
    opened = [DenseIndex.open(indexes.path(name) / dense.FILE) for name in indexes.ids()]
    vectors = np.concatenate([index.vectors(np.arange(len(index))) for index in opened])
    _, first = np.unique(vectors.round(5), axis=0, return_index=True)
    return vectors[np.random.default_rng(0).permutation(first)]
