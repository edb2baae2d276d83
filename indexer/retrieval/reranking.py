"""Scores of a re-ranked result: a cross-encoder's, alone or mixed with those of the first ranking.

A small cross-encoder knows less than both legs together. Mixed with their score it corrects the order, and does not
replace it. Service and judge use this one function.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from indexer.retrieval.fusion import standardised
from indexer.retrieval.ranking import Numbers


def mix(cross: npt.NDArray[np.float32], first: Numbers, weight: float) -> Numbers:
    """Return the scores by which results are ordered, higher is better.

    Args:
        cross: scores of the cross-encoder, shape (results,).
        first: scores of the first ranking, of the same shape.
        weight: of the cross-encoder; 1 is the cross-encoder alone, whose scores are returned as they are.
    """
    scores = np.asarray(cross, dtype=np.float64)
    if weight == 1:
        return scores
    mixed: Numbers = weight * standardised(scores) + (1 - weight) * standardised(first)
    return mixed
