"""How good a classifier's answers are, how sure that is, and what chance would have given."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field
from sklearn.metrics import accuracy_score, f1_score, precision_recall_fscore_support

Answers = npt.NDArray[np.bool_]
"""Which labels apply to which rows, shape (rows, labels)."""
DRAWS = 1000
WORK = 400_000_000
"""Cells that all draws together may look at; of large files there are fewer draws."""
LEVEL = 0.01


class LabelFigures(BaseModel):
    """One label."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    label: str = Field(description="the label")
    rows: int = Field(description="rows that have it")
    answered: int = Field(description="rows that were given it")
    right: int = Field(description="rows that have it and were given it")
    precision: float = Field(description="of the rows that were given it, the share that has it")
    recall: float = Field(description="of the rows that have it, the share that was given it")
    f1: float = Field(description="harmonic mean of both")


class Figures(BaseModel):
    """All labels together."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    accuracy: float = Field(description="share of the rows whose answer is right; with several labels, all of them")
    macro_f1: float = Field(description="mean of the labels' F1: a rare label counts as much as a frequent one")
    micro_f1: float = Field(description="F1 of all single decisions together")


class Uncertainty(BaseModel):
    """What macro-F1 could be but for the luck of the draw."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: float = Field(description="lower end of the 95 % bootstrap interval of macro-F1")
    high: float = Field(description="its upper end")
    chance: float = Field(description="mean macro-F1 of the same answers, dealt to the rows at random")
    p: float = Field(description="how often such a deal is at least as good (permutation test)")

    @property
    def learned(self) -> bool:
        """Whether the answers are better than chance at the 1 % level."""
        return self.p < LEVEL


def figures(truth: Answers, answers: Answers) -> Figures:
    """Return accuracy, macro- and micro-F1; labels that nobody has and nobody was given are left out of the mean."""
    return Figures(
        accuracy=_round(accuracy_score(truth, answers)),
        macro_f1=_round(macro_f1(truth, answers)),
        micro_f1=_round(f1_score(truth, answers, average="micro", zero_division=0)),
    )


def per_label(labels: list[str], truth: Answers, answers: Answers) -> list[LabelFigures]:
    """Return precision, recall and F1 of every label; a quotient without denominator is 0."""
    precision, recall, f1, rows = precision_recall_fscore_support(truth, answers, average=None, zero_division=0)
    given, right = answers.sum(axis=0), (truth & answers).sum(axis=0)
    return [
        LabelFigures(
            label=label,
            rows=int(rows[at]),
            answered=int(given[at]),
            right=int(right[at]),
            precision=_round(precision[at]),
            recall=_round(recall[at]),
            f1=_round(f1[at]),
        )
        for at, label in enumerate(labels)
    ]


def macro_f1(truth: Answers, answers: Answers) -> float:
    """Return the mean F1 of the labels that some row has or was given; 0 where there is none."""
    both = truth.sum(axis=0) + answers.sum(axis=0)
    right = (truth & answers).sum(axis=0)
    there = both > 0
    return float((2 * right[there] / both[there]).mean()) if there.any() else 0.0


def majority(truth: Answers, learned_from: Answers, *, multi_label: bool) -> tuple[Answers, list[int]]:
    """Return the answers of somebody who does not read, and the places of the labels that they consist of.

    One label per text: always the most frequent one. Several: every label always, which has the best F1 without reading.
    """
    answers = np.zeros_like(truth)
    places = list(range(truth.shape[1])) if multi_label else [int(learned_from.sum(axis=0).argmax())]
    answers[:, places] = True
    return answers, places


def doubt(truth: Answers, answers: Answers, seed: int = 0) -> Uncertainty:
    """Return the bootstrap interval of macro-F1, and what the same answers would be worth at random."""
    chance = np.random.default_rng(seed)
    rows = len(truth)
    draws = int(np.clip(WORK // max(truth.size, 1), 100, DRAWS))
    again, dealt = np.empty(draws), np.empty(draws)
    for draw in range(draws):
        chosen = chance.integers(rows, size=rows)
        again[draw] = macro_f1(truth[chosen], answers[chosen])
        dealt[draw] = macro_f1(truth[chance.permutation(rows)], answers)
    low, high = np.quantile(again, (0.025, 0.975))
    at_least = int((dealt >= macro_f1(truth, answers) - 1e-12).sum())
    return Uncertainty(
        low=_round(low), high=_round(high), chance=_round(dealt.mean()), p=round((at_least + 1) / (draws + 1), 6)
    )


def confusion(truth: Answers, answers: Answers) -> list[list[int]]:
    """Return how often a row of one label (first index) was given another (second); one label per row."""
    size = truth.shape[1]
    pairs = truth.argmax(axis=1) * size + answers.argmax(axis=1)
    table: list[list[int]] = np.bincount(pairs, minlength=size * size).reshape(size, size).tolist()
    return table


def _round(value: float) -> float:
    return round(float(value), 6)
