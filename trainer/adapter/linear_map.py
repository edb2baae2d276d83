"""Linear map behind a frozen encoder: whitening, then listwise distillation, in seconds on existing vectors.

*Soft whitening* removes what the passages of one domain have in common (Su, Cao, Liu, Ou, «Whitening Sentence
Representations for Better Semantics and Faster Retrieval», 2021). Here its exponent is below one, and nothing is centred, so
it stays a plain matrix. From there the map *learns to rank* by listwise distillation: the softmax over a query's candidates
approaches the teacher's. A penalty keeps the map near its start.

Passages keep their vectors: a new map gives a new index by one matrix product.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from indexer.index.dense import unit
from indexer.inference.encoder import Vectors

VARIANCE_FLOOR = 1e-2
"""Added to the variance of each direction, as a share of the largest: rare directions are mostly noise."""


@dataclass(frozen=True)
class RankingExamples:
    """Training examples of a map.

    Attributes:
        queries: unit vectors of the queries, shape (queries, dimension).
        passages: unit vectors of passages, shape (passages, dimension).
        candidates: rows of ``passages`` that are ranked for a query, shape (queries, candidates).
        targets: the teacher's probabilities of the candidates, of the same shape; each row has the sum 1. A candidate
            with the target -1 is left out.
    """

    queries: Vectors
    passages: Vectors
    candidates: npt.NDArray[np.int64]
    targets: Vectors


@dataclass(frozen=True)
class MapSettings:
    """Settings of the training of a map.

    The defaults were found by `bench/recipes.py`; docs/decisions/training.md has the grid.

    Attributes:
        temperature: of the softmax over cosines.
        pull: weight of the penalty, the squared distance of the map from its start.
        learning_rate: of Adam, decaying linearly to zero.
        epochs: passes over the queries.
        batch_size: queries per step.
        seed: of the order of the queries.
    """

    temperature: float = 0.05
    pull: float = 1e-2
    learning_rate: float = 3e-4
    epochs: int = 3
    batch_size: int = 64
    seed: int = 0


def whitening(vectors: Vectors, exponent: float) -> Vectors:
    """Return the symmetric matrix that divides each principal direction by its standard deviation to the ``exponent``.

    Args:
        vectors: unit vectors of passages, shape (passages, dimension).
        exponent: 0 gives the identity, 1 would give all directions the same variance.

    Returns:
        Shape (dimension, dimension), scaled to the norm of the identity.
    """
    values, directions = np.linalg.eigh(np.cov(vectors.T, dtype=np.float64))
    share = np.maximum(values, 0) / max(values[-1], 1e-12)
    return scaled(((directions * (share + VARIANCE_FLOOR) ** (-exponent / 2)) @ directions.T).astype(np.float32))


def scaled(matrix: Vectors) -> Vectors:
    """Return ``matrix`` with the norm of the identity; the scale of a map does not change cosines."""
    resized: Vectors = matrix * np.float32(np.sqrt(len(matrix)) / np.linalg.norm(matrix))
    return resized


def apply(matrix: Vectors, vectors: Vectors) -> Vectors:
    """Return ``vectors``, shape (rows, old), mapped by ``matrix``, shape (new, old), with unit length."""
    return unit(vectors @ matrix.T)


def blend(matrix: Vectors, share: float) -> Vectors:
    """Return the weighted mean of the identity (``share`` 0) and ``matrix`` (1)."""
    mixed: Vectors = (1 - share) * np.eye(len(matrix), dtype=np.float32) + share * scaled(matrix)
    return mixed


def learn(
    examples: RankingExamples, start: Vectors, settings: MapSettings, step: Callable[[int, float], bool] | None = None
) -> Vectors:
    """Learn a map by listwise distillation.

    Args:
        examples: queries, candidates and the teacher's probabilities.
        start: the map to begin with, shape (dimension, dimension); the learned map stays near it.
        settings: of the training.
        step: called after each batch with its number and loss; training ends when it returns False.

    Returns:
        A matrix of the shape of ``start``, scaled to the norm of the identity.
    """
    torch.manual_seed(settings.seed)
    queries = torch.from_numpy(apply(start, examples.queries))
    passages = torch.from_numpy(apply(start, examples.passages))
    candidates, targets = torch.from_numpy(examples.candidates), torch.from_numpy(examples.targets)
    identity = torch.eye(len(start))
    matrix = torch.nn.Parameter(identity.clone())
    optimizer = torch.optim.Adam([matrix], lr=settings.learning_rate)
    batches = -(-len(queries) // settings.batch_size)
    steps = settings.epochs * batches
    decay = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda number: 1 - number / steps)
    for number in range(steps):
        if number % batches == 0:
            order = torch.randperm(len(queries))
        rows = order[number % batches * settings.batch_size :][: settings.batch_size]
        batch_queries = functional.normalize(queries[rows] @ matrix.T, dim=-1)
        # A passage that is a candidate of several queries is mapped once.
        distinct, positions = torch.unique(candidates[rows], return_inverse=True)
        batch_passages = functional.normalize(passages[distinct] @ matrix.T, dim=-1)
        batch_targets = targets[rows]
        scores = (batch_queries @ batch_passages.T).gather(1, positions) / settings.temperature
        scores = scores.masked_fill(batch_targets < 0, -torch.inf)
        log_probabilities = torch.log_softmax(scores, dim=-1)
        # KL divergence up to a constant; 0 · -inf must be 0
        loss = -torch.where(batch_targets > 0, batch_targets * log_probabilities, 0.0).sum(-1).mean()
        loss = loss + settings.pull * (matrix - identity).square().sum()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        decay.step()
        if step and not step(number, float(loss.detach())):
            break
    return scaled(matrix.detach().numpy() @ start)
