"""Reliability: how far probabilities are from the share of right decisions, the expected calibration error."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

BINS = 15
"""Bins of the expected calibration error, as in Guo et al."""


class Bin(BaseModel):
    """Decisions with about the same probability."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int = Field(description="number of decisions")
    said: float = Field(description="their mean probability")
    true: float = Field(description="share of them that is right")


class Calibration(BaseModel):
    """Calibration error: how far probabilities are from the share of right decisions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ece: float = Field(description="expected calibration error: mean distance of `said` and `true`, weighted by rows")
    bins: list[Bin] = Field(description="those of 15 bins of equal width that are not empty")


class Decisions(NamedTuple):
    """The probability of each decision, and whether it is right; both of shape (decisions,)."""

    probability: npt.NDArray[np.float64]
    correct: npt.NDArray[np.bool_]


def measure_calibration(decisions: Decisions) -> Calibration:
    """Return the expected calibration error over 15 bins of equal width."""
    bin_of = np.minimum((decisions.probability * BINS).astype(np.int64), BINS - 1)
    bins = [
        Bin(
            rows=int(inside.sum()),
            said=round(float(decisions.probability[inside].mean()), 6),
            true=round(float(decisions.correct[inside].mean()), 6),
        )
        for number in range(BINS)
        if (inside := bin_of == number).any()
    ]
    ece = sum(part.rows * abs(part.said - part.true) for part in bins) / max(len(decisions.probability), 1)
    return Calibration(ece=round(ece, 6), bins=bins)
