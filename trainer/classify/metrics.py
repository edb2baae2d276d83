"""Classification metrics: accuracy and F1, bootstrap interval and permutation test of macro-F1, majority baseline."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field
from sklearn.metrics import accuracy_score, f1_score, precision_recall_fscore_support

Answers = npt.NDArray[np.bool_]
"""Which labels apply to which rows, shape (rows, labels)."""
DRAWS = 1000
"""Resamples of the bootstrap, and permutations of the test."""
MAX_CELLS = 400_000_000
"""Cells that all draws together may read; large files have fewer draws."""
ALPHA = 0.01
"""Significance level of the permutation test."""


class LabelMetrics(BaseModel):
    """Metrics of one label."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    label: str = Field(description="the label")
    rows: int = Field(description="rows that have it")
    answered: int = Field(description="rows that were given it")
    right: int = Field(description="rows that have it and were given it")
    precision: float = Field(description="of the rows that were given it, the share that has it")
    recall: float = Field(description="of the rows that have it, the share that was given it")
    f1: float = Field(description="harmonic mean of both")


class Metrics(BaseModel):
    """Metrics over all labels."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    accuracy: float = Field(description="share of the rows whose answer is right; with several labels, all of them")
    macro_f1: float = Field(description="mean of the labels' F1: a rare label counts as much as a frequent one")
    micro_f1: float = Field(description="F1 of all single decisions together")


class Uncertainty(BaseModel):
    """Uncertainty of macro-F1: bootstrap interval, and permutation test against chance."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: float = Field(description="lower end of the 95 % bootstrap interval of macro-F1")
    high: float = Field(description="its upper end")
    chance: float = Field(description="mean macro-F1 of the same answers, permuted over the rows at random")
    p: float = Field(description="share of permutations that are at least as good (p-value of the permutation test)")

    @property
    def learned(self) -> bool:
        """Whether the answers are better than chance at the 1 % level."""
        return self.p < ALPHA


def compute_metrics(truth: Answers, answers: Answers) -> Metrics:
    """Return accuracy, macro- and micro-F1; labels that no row has and no row was given are left out of the mean."""
    return Metrics(
        accuracy=_round(accuracy_score(truth, answers)),
        macro_f1=_round(macro_f1(truth, answers)),
        micro_f1=_round(f1_score(truth, answers, average="micro", zero_division=0)),
    )


def compute_label_metrics(labels: list[str], truth: Answers, answers: Answers) -> list[LabelMetrics]:
    """Return precision, recall and F1 of every label; a division by zero gives 0."""
    precision, recall, f1, rows = precision_recall_fscore_support(truth, answers, average=None, zero_division=0)
    given, right = answers.sum(axis=0), (truth & answers).sum(axis=0)
    return [
        LabelMetrics(
            label=label,
            rows=int(rows[index]),
            answered=int(given[index]),
            right=int(right[index]),
            precision=_round(precision[index]),
            recall=_round(recall[index]),
            f1=_round(f1[index]),
        )
        for index, label in enumerate(labels)
    ]


def macro_f1(truth: Answers, answers: Answers) -> float:
    """Return the mean F1 of the labels that some row has or was given; 0 where there is none."""
    both = truth.sum(axis=0) + answers.sum(axis=0)
    right = (truth & answers).sum(axis=0)
    occurs = both > 0
    return float((2 * right[occurs] / both[occurs]).mean()) if occurs.any() else 0.0


def predict_majority(truth: Answers, training_truth: Answers, *, multi_label: bool) -> tuple[Answers, list[int]]:
    """Return the answers of the majority baseline, which ignores the texts, and the indices of their labels.

    One label per text: always the label that is most frequent in training. Several: always every label, which has the
    best F1 of all constant answers.
    """
    answers = np.zeros_like(truth)
    indices = list(range(truth.shape[1])) if multi_label else [int(training_truth.sum(axis=0).argmax())]
    answers[:, indices] = True
    return answers, indices


def estimate_uncertainty(truth: Answers, answers: Answers, seed: int = 0) -> Uncertainty:
    """Return the bootstrap interval of macro-F1, and the permutation test against the same answers in random order."""
    rng = np.random.default_rng(seed)
    rows = len(truth)
    draws = int(np.clip(MAX_CELLS // max(truth.size, 1), 100, DRAWS))
    resampled, permuted = np.empty(draws), np.empty(draws)
    for draw in range(draws):
        sample = rng.integers(rows, size=rows)
        resampled[draw] = macro_f1(truth[sample], answers[sample])
        permuted[draw] = macro_f1(truth[rng.permutation(rows)], answers)
    low, high = np.quantile(resampled, (0.025, 0.975))
    as_good = int((permuted >= macro_f1(truth, answers) - 1e-12).sum())
    return Uncertainty(
        low=_round(low), high=_round(high), chance=_round(permuted.mean()), p=round((as_good + 1) / (draws + 1), 6)
    )


def count_confusion(truth: Answers, answers: Answers) -> list[list[int]]:
    """Return the confusion matrix: rows by true label (first index) and answer (second); one label per row."""
    size = truth.shape[1]
    pairs = truth.argmax(axis=1) * size + answers.argmax(axis=1)
    matrix: list[list[int]] = np.bincount(pairs, minlength=size * size).reshape(size, size).tolist()
    return matrix


def _round(value: float) -> float:
    return round(float(value), 6)
