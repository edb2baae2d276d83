"""What a classifier's report holds: `report/report.json`, and what `report/report.html` shows of it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from indexer.errors import UserError
from indexer.inference.classifier import ClassifierContract, Numbers
from trainer.classify.calibration import Calibration, calibration, decisions
from trainer.classify.data import Part
from trainer.classify.head import Tried
from trainer.classify.metrics import (
    Answers,
    Figures,
    LabelFigures,
    Uncertainty,
    confusion,
    doubt,
    figures,
    majority,
    per_label,
)
from trainer.evaluate.report import JSON_FILE, Curves

MISTAKES = 12
TEXT_SHOWN = 300  # characters


class Mistake(BaseModel):
    """A row whose answer is wrong, or whose label is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str = Field(description="the beginning of the text")
    truth: list[str] = Field(description="its labels in the file")
    answer: list[str] = Field(description="the labels that it was given")
    probability: float = Field(description="the probability of what is wrong")


class ClassifyReport(BaseModel):
    """Everything that was measured."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = Field(default=1, description="number of this format")
    created: str = Field(description="ISO 8601, UTC")
    name: str = Field(description="the classifier")
    source: str = Field(description="the file that was read")
    side: str = Field(description="the rows that were asked: test, …")
    kind: str = Field(description="`fine-tuned` or `frozen encoder`")
    base: str = Field(description="the model that learning started from")
    labels: list[str] = Field(description="the labels")
    multi_label: bool = Field(description="whether several labels, or none, may apply to a text")
    rows: dict[str, int] = Field(description="number of rows by side")
    figures: Figures = Field(description="on the rows that were asked")
    doubt: Uncertainty = Field(description="interval of macro-F1, and what chance would give")
    learned: bool = Field(description="whether the answers are better than chance, at the 1 % level")
    majority: Figures = Field(description="of somebody who does not read: `majority_answer` for every row")
    majority_answer: list[str] = Field(description="the most frequent label; of several labels all")
    unseen: Figures | None = Field(
        description="on the asked rows whose text was not trained on; null where all are such"
    )
    unseen_rows: int = Field(description="how many those are")
    per_label: list[LabelFigures] = Field(description="each label alone")
    thresholds: list[float] = Field(description="several labels: probability from which on each applies; else empty")
    confusion: list[list[int]] = Field(description="rows by true label, then by answer; empty with several labels")
    calibration_before: Calibration = Field(description="of the raw probabilities")
    calibration_after: Calibration = Field(description="of the calibrated ones, which are given out")
    temperature: float | None = Field(description="what logits are divided by; null with several labels")
    curves: Curves = Field(default=Curves(), description="loss and macro-F1 on dev by step; empty for a frozen encoder")
    tried: list[Tried] = Field(default=[], description="macro-F1 of the cross-validation by C; empty for fine-tuning")
    mistakes: list[Mistake] = Field(description="the wrong answers that were surest")
    settings: dict[str, Any] = Field(description="the settings of the training")
    seconds: float | None = Field(description="seconds that learning took")
    notes: list[str] = Field(description="what a reader should beware of")


def measure(contract: ClassifierContract, logits: Numbers, asked: Part, learned_from: Answers) -> dict[str, Any]:
    """Return the measured fields of a report.

    Args:
        contract: of the calibrated classifier.
        logits: of the asked rows, shape (rows, labels).
        asked: the rows that are measured on.
        learned_from: the truth of the training rows, which say what the most frequent label is.
    """
    multi = contract.multi_label
    raw = contract.model_copy(update={"temperature": 1.0, "scale": [], "bias": []}).probabilities(logits)
    probabilities = contract.probabilities(logits)
    answers = contract.applies(probabilities)
    luck = doubt(asked.truth, answers)
    lazy, places = majority(asked.truth, learned_from, multi_label=multi)
    unseen = ~asked.seen
    partly = bool(asked.seen.any() and unseen.any())
    return {
        "figures": figures(asked.truth, answers),
        "doubt": luck,
        "learned": luck.learned,
        "majority": figures(asked.truth, lazy),
        "majority_answer": [contract.labels[at] for at in places],
        "unseen": figures(asked.truth[unseen], answers[unseen]) if partly else None,
        "unseen_rows": int(unseen.sum()),
        "per_label": per_label(contract.labels, asked.truth, answers),
        "thresholds": contract.thresholds,
        "confusion": [] if multi else confusion(asked.truth, answers),
        "calibration_before": calibration(decisions(raw, asked.truth, multi_label=multi)),
        "calibration_after": calibration(decisions(probabilities, asked.truth, multi_label=multi)),
        "temperature": None if multi else contract.temperature,
        "mistakes": mistakes(contract.labels, probabilities, answers, asked),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "labels": contract.labels,
        "multi_label": multi,
    }


def mistakes(labels: list[str], probabilities: Numbers, answers: Answers, asked: Part) -> list[Mistake]:
    """Return the wrong answers that the classifier is surest of: often the file is wrong there."""
    wrong = asked.truth != answers
    # How sure it is of a wrong decision: of a label that it gave, or of one that it withheld.
    sure = np.where(wrong, np.where(answers, probabilities, 1 - probabilities), -1.0).max(axis=1)
    found = []
    for row in np.argsort(-sure, kind="stable")[:MISTAKES]:
        if sure[row] < 0:
            break
        found.append(
            Mistake(
                text=" ".join(asked.texts[row].split())[:TEXT_SHOWN],
                truth=[label for label, there in zip(labels, asked.truth[row], strict=True) if there],
                answer=[label for label, there in zip(labels, answers[row], strict=True) if there],
                probability=round(float(sure[row]), 6),
            )
        )
    return found


def summary(report: ClassifyReport) -> str:
    """Return the result in one line."""
    own, luck = report.figures, report.doubt
    line = (
        f"{report.side}: macro-F1 {own.macro_f1:.4f} [{luck.low:.4f}, {luck.high:.4f}], accuracy {own.accuracy:.4f}; "
        f"without reading {report.majority.macro_f1:.4f}; calibration error {report.calibration_before.ece:.4f} → "
        f"{report.calibration_after.ece:.4f}"
    )
    return line if report.learned else f"{line}; NO BETTER THAN CHANCE (p = {luck.p:.2g}): nothing was learned"


def read_report(directory: Path) -> ClassifyReport:
    """Return the report of a trained classifier; raise `UserError` where it has none."""
    path = directory / "report" / JSON_FILE
    try:
        return ClassifyReport.model_validate_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: missing or not readable; train the classifier again") from error
