"""Probabilities that mean what they say: fitted on dev, judged on test.

One label per text: all logits are divided by one temperature (Guo et al. 2017, https://arxiv.org/abs/1706.04599), which
changes no answer. Several labels: each has a slope and an offset of its own (Platt 1999), and a threshold that is best
for its F1 on dev.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field
from scipy.optimize import minimize, minimize_scalar
from scipy.special import log_softmax

from indexer.inference.classifier import ClassifierContract, Numbers
from trainer.classify.data import Part
from trainer.classify.metrics import Answers

BINS = 15
"""As Guo et al. count them."""
FEWEST = 5
"""Rows of dev with a label, and without, from which on something is fitted for it."""
HOTTEST = 20.0


class Bin(BaseModel):
    """The decisions with about the same probability."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int = Field(description="how many decisions")
    said: float = Field(description="their mean probability")
    true: float = Field(description="the share of them that is right")


class Calibration(BaseModel):
    """How far probabilities are from shares."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ece: float = Field(description="expected calibration error: mean distance of `said` and `true`, weighted by rows")
    bins: list[Bin] = Field(description="the bins of 15 equal ones that are not empty")


class Decisions(NamedTuple):
    """Probabilities, and whether what they were given for is so; both of shape (decisions,)."""

    said: npt.NDArray[np.float64]
    true: npt.NDArray[np.bool_]


def decisions(probabilities: Numbers, truth: Answers, *, multi_label: bool) -> Decisions:
    """Return what calibration is about: the most probable label of each row, or every label of each row."""
    if multi_label:
        return Decisions(probabilities.ravel().astype(np.float64), truth.ravel())
    best = probabilities.argmax(axis=1)
    rows = np.arange(len(best))
    return Decisions(probabilities[rows, best].astype(np.float64), truth[rows, best])


def calibration(made: Decisions) -> Calibration:
    """Return the expected calibration error over 15 equal bins of probability."""
    which = np.minimum((made.said * BINS).astype(np.int64), BINS - 1)
    bins = [
        Bin(
            rows=int(inside.sum()),
            said=round(float(made.said[inside].mean()), 6),
            true=round(float(made.true[inside].mean()), 6),
        )
        for number in range(BINS)
        if (inside := which == number).any()
    ]
    ece = sum(each.rows * abs(each.said - each.true) for each in bins) / max(len(made.said), 1)
    return Calibration(ece=round(ece, 6), bins=bins)


def calibrate(contract: ClassifierContract, logits: Numbers, dev: Part) -> ClassifierContract:
    """Return ``contract`` with what was fitted on the dev rows, whose ``logits`` have the shape (rows, labels)."""
    if not contract.multi_label:
        return contract.model_copy(update={"temperature": temperature(logits, dev.truth)})
    fitted = [platt(logits[:, at], dev.truth[:, at]) for at in range(len(contract.labels))]
    contract = contract.model_copy(
        update={"scale": [slope for slope, _ in fitted], "bias": [offset for _, offset in fitted]}
    )
    return contract.model_copy(update={"thresholds": thresholds(contract.probabilities(logits), dev.truth)})


def temperature(logits: Numbers, truth: Answers) -> float:
    """Return the temperature with the least negative log-likelihood, between 1/20 and 20."""
    rows, right = np.arange(len(logits)), truth.argmax(axis=1)
    wide = logits.astype(np.float64)

    def loss(log_temperature: float) -> float:
        return -float(log_softmax(wide / np.exp(log_temperature), axis=1)[rows, right].mean())

    found = minimize_scalar(loss, bounds=(-np.log(HOTTEST), np.log(HOTTEST)), method="bounded")
    return round(float(np.exp(found.x)), 6)


def platt(logits: Numbers, truth: Answers) -> tuple[float, float]:
    """Return slope and offset of one label's logits; 1 and 0 where dev has too few rows with it or without.

    The targets are Platt's: a little short of 0 and 1, so that dev rows that are all right do not make the slope infinite.
    """
    positive = int(truth.sum())
    negative = len(truth) - positive
    if min(positive, negative) < FEWEST:
        return 1.0, 0.0
    target = np.where(truth, (positive + 1) / (positive + 2), 1 / (negative + 2))
    wide = logits.astype(np.float64)

    def loss(line: npt.NDArray[np.float64]) -> float:
        score = line[0] * wide + line[1]
        return float((np.logaddexp(0.0, score) - target * score).mean())

    found = minimize(loss, np.array([1.0, 0.0]), method="L-BFGS-B", bounds=[(1e-3, None), (None, None)])
    return round(float(found.x[0]), 6), round(float(found.x[1]), 6)


def thresholds(probabilities: Numbers, truth: Answers) -> list[float]:
    """Return for each label the probability from which on it should apply: the one with the best F1 on these rows.

    It lies midway between two rows, so that rounding decides nothing; it is a half where the label has too few rows.
    """
    return [_threshold(probabilities[:, at], truth[:, at]) for at in range(truth.shape[1])]


def _threshold(said: Numbers, truth: Answers) -> float:
    if min(int(truth.sum()), int((~truth).sum())) < FEWEST:
        return 0.5
    order = np.argsort(-said, kind="stable")
    values, right = said[order].astype(np.float64), np.cumsum(truth[order])
    f1 = 2 * right / (np.arange(1, len(said) + 1) + truth.sum())
    f1[:-1][values[:-1] == values[1:]] = 0  # equal probabilities cannot be told apart
    last = int(f1.argmax())
    below = values[last + 1] if last + 1 < len(values) else 0.0
    return round(float((values[last] + below) / 2), 6)
