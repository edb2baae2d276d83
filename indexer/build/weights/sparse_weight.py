"""Sparse weight: the weight of the learned-sparse leg in hybrid search, 0 unless questions show a gain.

A leg that does not fit the corpus costs quality. So the questions that decide the other weights are asked with and
without this leg, through the code that serves. A weight is kept only where the interval of the paired differences is
above 0.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from indexer.retrieval.fusion import Fusion
from indexer.retrieval.retriever import Retriever

SPARSE_WEIGHTS = (0.1, 0.2, 0.3)
"""Weights that are tried."""
CONFIDENCE = 0.95
"""Of all intervals together: each is as much wider as there are weights (Bonferroni)."""


class Question(NamedTuple):
    """A question made from the corpus, and the rows of the documents that answer it."""

    text: str
    answers: Collection[int]


def choose_sparse_weight(retriever: Retriever, questions: Sequence[Question], fusion: Fusion) -> float:
    """Return the weight with the best mean nDCG@10 among those that surely gain, else 0.

    Args:
        retriever: over an index with a learned-sparse leg in which the questions are asked.
        questions: with the documents that answer them.
        fusion: how the other legs are combined.
    """
    without = question_ndcg(retriever, questions, fusion.model_copy(update={"sparse_weight": 0.0}))
    gains: dict[float, float] = {}
    for weight in SPARSE_WEIGHTS:
        differences = question_ndcg(retriever, questions, fusion.model_copy(update={"sparse_weight": weight})) - without
        if surely_above_zero(differences):
            gains[weight] = float(differences.mean())
    return max(gains, key=lambda weight: gains[weight], default=0.0)


def question_ndcg(retriever: Retriever, questions: Sequence[Question], fusion: Fusion) -> npt.NDArray[np.float64]:
    """Return nDCG@10 of hybrid search for each question, shape (questions,)."""
    return np.array([_ndcg(retriever.search(text, fusion=fusion).rows[:10], answers) for text, answers in questions])


def surely_above_zero(differences: npt.NDArray[np.float64]) -> bool:
    """Say whether the interval of the mean of paired differences is above 0."""
    if len(differences) < 2:
        return False
    width = NormalDist().inv_cdf(1 - (1 - CONFIDENCE) / (2 * len(SPARSE_WEIGHTS)))
    return bool(differences.mean() > width * differences.std(ddof=1) / np.sqrt(len(differences)))


def _ndcg(rows: npt.NDArray[np.int64], answers: Collection[int]) -> float:
    found = np.flatnonzero(np.isin(rows, list(answers)))
    best = np.arange(min(len(answers), 10))
    return float((1 / np.log2(found + 2)).sum() / (1 / np.log2(best + 2)).sum())
