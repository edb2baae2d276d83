"""Fusion: one ranking out of the scores of the dense, the lexical and, where there is one, the learned-sparse leg.

The default is a normalised convex combination (Bruch, Gai, Ingber, «An Analysis of Fusion Functions for Hybrid
Retrieval», 2023). The scores of each leg are standardised over the same set of candidates and added with weights. All
legs score *every* candidate: a document that only one leg has found is not at a disadvantage.
Reciprocal rank fusion (Cormack, Clarke, Büttcher, 2009) uses ranks alone.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

Numbers = npt.NDArray[np.float64]


class Fusion(BaseModel):
    """How the legs are combined."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Literal["convex", "rrf"] = Field(
        default="convex",
        description="`convex`: weighted sum of standardised scores; `rrf`: reciprocal rank fusion",
    )
    dense_weight: float = Field(
        default=0.5, ge=0, le=1, description="weight of the dense leg; the lexical leg has the rest"
    )
    by_query: bool = Field(
        default=False,
        description="adapt the weight to each query, by its length and by how far the best candidate of each leg stands "
        "out (`convex` only)",
    )
    sparse_weight: float = Field(
        default=0,
        ge=0,
        le=1,
        description="weight of the learned-sparse leg, of an index that has one; the other legs share the rest, and 0 "
        "switches it off",
    )
    k: int = Field(default=60, ge=1, le=1000, description="constant of reciprocal rank fusion")

    def overridden(self, choice: Fusion | None) -> Fusion:
        """Return this fusion with what a request has chosen. A weight that it names is meant as it is."""
        if choice is None:
            return self
        update = choice.model_dump(exclude_unset=True)
        if "dense_weight" in update:
            update.setdefault("by_query", False)
        return self.model_copy(update=update)


class Fused(NamedTuple):
    """Fused scores of all candidates, and the part of each leg in these sums; all of shape (candidates,)."""

    scores: Numbers
    dense_part: Numbers
    lexical_part: Numbers
    sparse_part: Numbers | None = None


def fuse(fusion: Fusion, dense: Numbers, lexical: Numbers, dense_weight: float | None = None) -> Fused:
    """Return the fused score of every candidate, and what each leg adds to it.

    Args:
        fusion: method and weights.
        dense: the candidates' cosines, shape (candidates,).
        lexical: their BM25 scores, shape (candidates,); 0 where no term of the query occurs.
        dense_weight: of this query; by default as ``fusion`` says.
    """
    weight = fusion.dense_weight if dense_weight is None else dense_weight
    if fusion.method == "rrf":
        reciprocal = np.where(lexical > 0, 1 / (fusion.k + ranks(lexical)), 0.0)
        dense_part, lexical_part = weight / (fusion.k + ranks(dense)), (1 - weight) * reciprocal
    else:
        dense_part, lexical_part = weight * standardised(dense), (1 - weight) * standardised(lexical)
    return Fused(dense_part + lexical_part, dense_part, lexical_part)


def standardised(scores: Numbers) -> Numbers:
    """Return z-scores, shape as given; all zero where the scores do not differ."""
    if not len(scores):
        return scores
    centred: Numbers = scores - scores.sum() / len(scores)
    spread = np.sqrt(centred @ centred / len(scores))
    return np.zeros_like(scores) if spread < 1e-9 else centred / spread


def ranks(scores: Numbers) -> Numbers:
    """Return ranks from 1, best first; equal scores share the better rank."""
    descending = -np.sort(-scores)
    return (np.searchsorted(-descending, -scores, side="left") + 1).astype(np.float64)


def add_sparse(fusion: Fusion, fused: Fused, sparse: Numbers) -> Fused:
    """Return fused scores of two legs with the learned-sparse leg as the third.

    Args:
        fusion: method and weights.
        fused: of the dense and the lexical leg.
        sparse: scores of the learned-sparse leg, shape (candidates,); 0 where no term of the query has a weight.
    """
    part = standardised(sparse)
    if fusion.method == "rrf":
        part = np.where(sparse > 0, 1 / (fusion.k + ranks(sparse)), 0.0)
    rest, part = 1 - fusion.sparse_weight, fusion.sparse_weight * part
    return Fused(rest * fused.scores + part, rest * fused.dense_part, rest * fused.lexical_part, part)
