"""The scale of a teacher's scores: a cross-encoder's logits span 20, a fused ranker's scores 1, a cosine's margin 2."""

from __future__ import annotations

import numpy as np
from datasets import Dataset
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize

TEACHER_SHARE = 0.3
"""CADET softens the teacher's scores, stretched to a range of 1, with this temperature (arXiv 2505.19274)."""


def teacher_temperature(name: str, examples: Dataset, model: SentenceTransformer) -> float:
    """Return what the teacher's ``scores`` are divided by where the operator says nothing.

    kl: 0.3 of the mean range of a row, so that the teacher is as decided as CADET's, whether its scores are logits of
    a cross-encoder or cosines. margin-mse: 1, but for models that end in `Normalize` the 99th percentile of the margins
    where that is above 1. Their similarities are cosines, a cross-encoder's margins exceed 10, and a student
    that can never reach its target only learns to spread everything as far as it goes.
    """
    scores = np.asarray(examples["scores"][:], dtype=np.float64)  # (rows, candidates)
    if name == "kl":
        return float(TEACHER_SHARE * np.ptp(scores, axis=1).mean()) or 1.0
    if not isinstance(list(model)[-1], Normalize):
        return 1.0
    return max(1.0, float(np.percentile(np.abs(scores[:, :1] - scores[:, 1:]), 99)))


def divide_scores(examples: Dataset, divisor: float) -> Dataset:
    """Return the examples with their ``scores`` divided by ``divisor``."""
    if divisor == 1.0:
        return examples
    scores = (np.asarray(examples["scores"][:], dtype=np.float64) / divisor).tolist()
    names = examples.column_names
    return examples.remove_columns("scores").add_column("scores", scores).select_columns(names)
