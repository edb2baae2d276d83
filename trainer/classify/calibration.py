"""Calibration of probabilities, fitted on dev: temperature scaling, Platt scaling and thresholds.

One label per text: all logits are divided by one temperature (Guo et al. 2017, https://arxiv.org/abs/1706.04599), which
changes no answer. Several labels: each has its own slope and offset (Platt 1999), and the threshold with the best F1 on
dev. The expected calibration error is measured on test.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize, minimize_scalar
from scipy.special import log_softmax

from indexer.inference.classifier import ClassifierContract, Numbers
from trainer.classify.data import Split
from trainer.classify.metrics import Answers
from trainer.evaluate.reliability import Decisions

MIN_ROWS = 5
"""Dev rows with a label, and without it, that fitting for this label needs."""
MAX_TEMPERATURE = 20.0


def collect_decisions(probabilities: Numbers, truth: Answers, *, multi_label: bool) -> Decisions:
    """Return the decisions to calibrate: each row's most probable label or, where several may apply, all its labels."""
    if multi_label:
        return Decisions(probabilities.ravel().astype(np.float64), truth.ravel())
    best = probabilities.argmax(axis=1)
    rows = np.arange(len(best))
    return Decisions(probabilities[rows, best].astype(np.float64), truth[rows, best])


def calibrate(contract: ClassifierContract, logits: Numbers, dev: Split) -> ClassifierContract:
    """Return ``contract`` with a calibration fitted on the dev rows and their ``logits``, shape (rows, labels)."""
    if not contract.multi_label:
        return contract.model_copy(update={"temperature": fit_temperature(logits, dev.truth)})
    lines = [fit_platt(logits[:, label], dev.truth[:, label]) for label in range(len(contract.labels))]
    contract = contract.model_copy(
        update={"scale": [slope for slope, _ in lines], "bias": [offset for _, offset in lines]}
    )
    return contract.model_copy(update={"thresholds": choose_thresholds(contract.probabilities(logits), dev.truth)})


def fit_temperature(logits: Numbers, truth: Answers) -> float:
    """Return the temperature with the smallest negative log-likelihood, between 1/20 and 20."""
    rows, right = np.arange(len(logits)), truth.argmax(axis=1)
    logits64 = logits.astype(np.float64)

    def loss(log_temperature: float) -> float:
        return -float(log_softmax(logits64 / np.exp(log_temperature), axis=1)[rows, right].mean())

    minimum = minimize_scalar(loss, bounds=(-np.log(MAX_TEMPERATURE), np.log(MAX_TEMPERATURE)), method="bounded")
    return round(float(np.exp(minimum.x)), 6)


def fit_platt(logits: Numbers, truth: Answers) -> tuple[float, float]:
    """Return slope and offset of one label's logits; 1 and 0 where dev has too few rows with it or without it.

    The targets are Platt's, slightly above 0 and below 1. With targets of 0 and 1 the slope would be infinite where all
    dev rows are right.
    """
    positive = int(truth.sum())
    negative = len(truth) - positive
    if min(positive, negative) < MIN_ROWS:
        return 1.0, 0.0
    target = np.where(truth, (positive + 1) / (positive + 2), 1 / (negative + 2))
    logits64 = logits.astype(np.float64)

    def loss(line: npt.NDArray[np.float64]) -> float:
        score = line[0] * logits64 + line[1]
        return float((np.logaddexp(0.0, score) - target * score).mean())

    minimum = minimize(loss, np.array([1.0, 0.0]), method="L-BFGS-B", bounds=[(1e-3, None), (None, None)])
    return round(float(minimum.x[0]), 6), round(float(minimum.x[1]), 6)


def choose_thresholds(probabilities: Numbers, truth: Answers) -> list[float]:
    """Return for each label the threshold of its probability with the best F1 on these rows.

    A threshold is midway between the probabilities of two rows, where rounding decides nothing. It is 0.5 where the
    label has too few rows.
    """
    return [_choose_threshold(probabilities[:, label], truth[:, label]) for label in range(truth.shape[1])]


def _choose_threshold(probabilities: Numbers, truth: Answers) -> float:
    if min(int(truth.sum()), int((~truth).sum())) < MIN_ROWS:
        return 0.5
    order = np.argsort(-probabilities, kind="stable")
    values, right = probabilities[order].astype(np.float64), np.cumsum(truth[order])
    f1 = 2 * right / (np.arange(1, len(probabilities) + 1) + truth.sum())
    f1[:-1][values[:-1] == values[1:]] = 0  # no threshold separates equal probabilities
    last = int(f1.argmax())
    below = values[last + 1] if last + 1 < len(values) else 0.0
    return round(float((values[last] + below) / 2), 6)
