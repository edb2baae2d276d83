"""Report of a classifier, `report/report.json`: its fields, and how they are measured. `report.html` shows them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from indexer.errors import UserError
from indexer.inference.classifier import ClassifierContract, Numbers
from trainer.classify.calibration import collect_decisions
from trainer.classify.data import Split
from trainer.classify.head import GridPoint
from trainer.classify.metrics import (
    Answers,
    LabelMetrics,
    Metrics,
    Uncertainty,
    compute_label_metrics,
    compute_metrics,
    count_confusion,
    estimate_uncertainty,
    predict_majority,
)
from trainer.evaluate.reliability import Calibration, measure_calibration
from trainer.evaluate.report import JSON_FILE, Curves

MAX_MISTAKES = 12
MAX_TEXT = 300  # characters


class Mistake(BaseModel):
    """A row whose answer differs from its label in the file; either may be wrong."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str = Field(description="the beginning of the text")
    truth: list[str] = Field(description="its labels in the file")
    answer: list[str] = Field(description="the labels that the classifier gave")
    probability: float = Field(description="the probability of the wrong decision")


class ClassifyReport(BaseModel):
    """Everything that was measured of a classifier."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = Field(default=1, description="number of this format")
    created: str = Field(description="ISO 8601, UTC")
    name: str = Field(description="the classifier")
    source: str = Field(description="the file that was read")
    side: str = Field(description="the rows that were measured: test, …")
    kind: str = Field(description="`fine-tuned` or `frozen encoder`")
    base: str = Field(description="the model that training started from")
    labels: list[str] = Field(description="the labels")
    multi_label: bool = Field(description="whether several labels, or none, may apply to a text")
    rows: dict[str, int] = Field(description="number of rows by side")
    figures: Metrics = Field(description="on the measured rows")
    doubt: Uncertainty = Field(description="interval of macro-F1, and macro-F1 of chance")
    learned: bool = Field(description="whether the answers are better than chance, at the 1 % level")
    majority: Metrics = Field(description="of the majority baseline: `majority_answer` for every row")
    majority_answer: list[str] = Field(
        description="the most frequent label; where several labels may apply, all labels"
    )
    unseen: Metrics | None = Field(
        description="on the measured rows whose text was not trained on; null where that is all of them, or none"
    )
    unseen_rows: int = Field(description="number of rows whose text was not trained on")
    per_label: list[LabelMetrics] = Field(description="each label alone")
    thresholds: list[float] = Field(
        description="several labels: smallest probability of each label to apply; else empty"
    )
    confusion: list[list[int]] = Field(description="rows by true label, then by answer; empty with several labels")
    calibration_before: Calibration = Field(description="of the raw probabilities")
    calibration_after: Calibration = Field(description="of the calibrated probabilities, which the classifier returns")
    temperature: float | None = Field(description="divisor of the logits; null with several labels")
    curves: Curves = Field(default=Curves(), description="loss and macro-F1 on dev by step; empty for a frozen encoder")
    tried: list[GridPoint] = Field(
        default=[], description="macro-F1 of the cross-validation by C; empty for fine-tuning"
    )
    mistakes: list[Mistake] = Field(description="the wrong answers with the highest probability")
    settings: dict[str, Any] = Field(description="the settings of the training")
    seconds: float | None = Field(description="seconds that the training took")
    notes: list[str] = Field(description="reasons to be careful with the figures")


def measure(contract: ClassifierContract, logits: Numbers, split: Split, training_truth: Answers) -> dict[str, Any]:
    """Return the measured fields of a report.

    Args:
        contract: of the calibrated classifier.
        logits: of the measured rows, shape (rows, labels).
        split: the measured rows.
        training_truth: the labels of the training rows, which decide the most frequent label.
    """
    multi = contract.multi_label
    raw = contract.model_copy(update={"temperature": 1.0, "scale": [], "bias": []}).probabilities(logits)
    probabilities = contract.probabilities(logits)
    answers = contract.applies(probabilities)
    uncertainty = estimate_uncertainty(split.truth, answers)
    majority_answers, majority_labels = predict_majority(split.truth, training_truth, multi_label=multi)
    unseen = ~split.seen
    partly = bool(split.seen.any() and unseen.any())
    return {
        "figures": compute_metrics(split.truth, answers),
        "doubt": uncertainty,
        "learned": uncertainty.learned,
        "majority": compute_metrics(split.truth, majority_answers),
        "majority_answer": [contract.labels[index] for index in majority_labels],
        "unseen": compute_metrics(split.truth[unseen], answers[unseen]) if partly else None,
        "unseen_rows": int(unseen.sum()),
        "per_label": compute_label_metrics(contract.labels, split.truth, answers),
        "thresholds": contract.thresholds,
        "confusion": [] if multi else count_confusion(split.truth, answers),
        "calibration_before": measure_calibration(collect_decisions(raw, split.truth, multi_label=multi)),
        "calibration_after": measure_calibration(collect_decisions(probabilities, split.truth, multi_label=multi)),
        "temperature": None if multi else contract.temperature,
        "mistakes": find_mistakes(contract.labels, probabilities, answers, split),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "labels": contract.labels,
        "multi_label": multi,
    }


def find_mistakes(labels: list[str], probabilities: Numbers, answers: Answers, split: Split) -> list[Mistake]:
    """Return the wrong answers with the highest probability; often the label in the file is wrong there."""
    wrong = split.truth != answers
    # Probability of the wrong decision: of a label that was given, or of one that was not given.
    confidence = np.where(wrong, np.where(answers, probabilities, 1 - probabilities), -1.0).max(axis=1)
    mistakes = []
    for row in np.argsort(-confidence, kind="stable")[:MAX_MISTAKES]:
        if confidence[row] < 0:
            break
        mistakes.append(
            Mistake(
                text=" ".join(split.texts[row].split())[:MAX_TEXT],
                truth=[label for label, applies in zip(labels, split.truth[row], strict=True) if applies],
                answer=[label for label, applies in zip(labels, answers[row], strict=True) if applies],
                probability=round(float(confidence[row]), 6),
            )
        )
    return mistakes


def summarise(report: ClassifyReport) -> str:
    """Return the result in one line."""
    metrics, uncertainty = report.figures, report.doubt
    line = (
        f"{report.side}: macro-F1 {metrics.macro_f1:.4f} [{uncertainty.low:.4f}, {uncertainty.high:.4f}], "
        f"accuracy {metrics.accuracy:.4f}; "
        f"without reading {report.majority.macro_f1:.4f}; calibration error {report.calibration_before.ece:.4f} → "
        f"{report.calibration_after.ece:.4f}"
    )
    return line if report.learned else f"{line}; NO BETTER THAN CHANCE (p = {uncertainty.p:.2g}): nothing was learned"


def read_report(directory: Path) -> ClassifyReport:
    """Return the report of a trained classifier; raise `UserError` where it has none."""
    path = directory / "report" / JSON_FILE
    try:
        return ClassifyReport.model_validate_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: missing or not readable; train the classifier again") from error
