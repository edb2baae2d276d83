"""A linear map behind a frozen encoder: what a corpus teaches in seconds, on vectors that are there already.

Two steps. *Soft whitening* evens out the directions in which the passages of one domain all agree (Su, Cao, Liu, Ou,
«Whitening Sentence Representations for Better Semantics and Faster Retrieval», 2021; here with an exponent below one,
without centring, so that it stays a plain matrix). From there the map *learns to rank* as a teacher does: the softmax
over a query's candidates is pulled to the teacher's (listwise distillation), while the map is held near its start.

Passages keep their vectors: a new map makes a new index by one matrix product.
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

FLOOR = 1e-2
"""Least variance of a direction, as a share of the largest: rare directions are mostly noise."""


@dataclass(frozen=True)
class RankingExamples:
    """What a map learns from.

    Attributes:
        queries: unit vectors of the queries, shape (queries, dimension).
        passages: unit vectors of passages, shape (passages, dimension).
        candidates: rows of ``passages`` among which a query chooses, shape (queries, candidates).
        targets: how the teacher would choose: probabilities of the same shape, each row with the sum 1; a candidate
            with the target -1 is left out.
    """

    queries: Vectors
    passages: Vectors
    candidates: npt.NDArray[np.int64]
    targets: Vectors


@dataclass(frozen=True)
class MapSettings:
    """How a map learns. The defaults were found by `bench/recipes.py`; DECISIONS.md has the grid."""

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
    return scaled(((directions * (share + FLOOR) ** (-exponent / 2)) @ directions.T).astype(np.float32))


def scaled(matrix: Vectors) -> Vectors:
    """Return ``matrix`` with the norm of the identity; a map's scale is of no consequence to cosines."""
    resized: Vectors = matrix * np.float32(np.sqrt(len(matrix)) / np.linalg.norm(matrix))
    return resized


def apply(matrix: Vectors, vectors: Vectors) -> Vectors:
    """Return the unit vectors that ``matrix``, shape (new, old), makes of ``vectors``, shape (rows, old)."""
    return unit(vectors @ matrix.T)


def blend(matrix: Vectors, share: float) -> Vectors:
    """Return the map that lies between the identity (0) and ``matrix`` (1)."""
    mixed: Vectors = (1 - share) * np.eye(len(matrix), dtype=np.float32) + share * scaled(matrix)
    return mixed


def learn(
    lesson: RankingExamples, start: Vectors, settings: MapSettings, step: Callable[[int, float], bool] | None = None
) -> Vectors:
    """Learn a map by listwise distillation.

    Args:
        lesson: queries, candidates and the teacher's choice.
        start: the map to begin with, shape (dimension, dimension); the learned one stays near it.
        settings: of the optimisation.
        step: called after each batch with its number and loss; learning ends when it returns False.

    Returns:
        A matrix of the shape of ``start``, scaled to the norm of the identity.
    """
    torch.manual_seed(settings.seed)
    queries, passages = torch.from_numpy(apply(start, lesson.queries)), torch.from_numpy(apply(start, lesson.passages))
    candidates, targets = torch.from_numpy(lesson.candidates), torch.from_numpy(lesson.targets)
    still = torch.eye(len(start))
    matrix = torch.nn.Parameter(still.clone())
    optimizer = torch.optim.Adam([matrix], lr=settings.learning_rate)
    batches = -(-len(queries) // settings.batch_size)
    steps = settings.epochs * batches
    decay = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda number: 1 - number / steps)
    for number in range(steps):
        if number % batches == 0:
            order = torch.randperm(len(queries))
        rows = order[number % batches * settings.batch_size :][: settings.batch_size]
        asked = functional.normalize(queries[rows] @ matrix.T, dim=-1)
        # A passage is a candidate of many queries: it is mapped once.
        needed, places = torch.unique(candidates[rows], return_inverse=True)
        offered = functional.normalize(passages[needed] @ matrix.T, dim=-1)
        wanted = targets[rows]
        scores = (asked @ offered.T).gather(1, places) / settings.temperature
        scores = scores.masked_fill(wanted < 0, -torch.inf)
        chosen = torch.log_softmax(scores, dim=-1)
        # KL divergence up to a constant; 0 · -inf must be 0
        loss = -torch.where(wanted > 0, wanted * chosen, 0.0).sum(-1).mean()
        loss = loss + settings.pull * (matrix - still).square().sum()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        decay.step()
        if step and not step(number, float(loss.detach())):
            break
    return scaled(matrix.detach().numpy() @ start)
