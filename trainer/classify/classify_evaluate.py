"""Measure a trained or published classifier on labelled texts, and write the report."""

from __future__ import annotations

from pathlib import Path

from indexer.artifacts.manifest import describe_input
from indexer.errors import UserError
from indexer.inference.classifier import Classifier, find_classifier
from indexer.progress import say, stage
from trainer.classify.classify_rows import Rows, Side, read_rows
from trainer.classify.data import Part, divide, part_of
from trainer.classify.report import ClassifyReport, measure, read_report, summary, write_classify_report
from trainer.classify.settings import ClassifyEvaluateSettings
from trainer.classify.train import read_record
from trainer.training.output import Record

ALL = "all"


def evaluate(source: Path, settings: ClassifyEvaluateSettings, out: Path, data: Path | None = None) -> ClassifyReport:
    """Ask a classifier about labelled texts, compare its answers with the labels, and write the report into ``out``.

    A file that the classifier was trained on is divided as it was then, so that test rows are rows that it has not learned.

    Raises:
        UserError: there is no such classifier, or the file does not suit it.
    """
    folder = find_classifier(settings.model, data)
    classifier = Classifier.open(folder)
    record, trained = read_record(folder), read_report(folder)
    if not source.is_file():
        raise UserError(f"{source}: no such file; give a Parquet, CSV or JSON lines file with texts and labels")
    rows = read_rows(str(source), settings)
    if rows.multi_label != classifier.contract.multi_label:
        wanted = "several labels" if classifier.contract.multi_label else "one label"
        raise UserError(
            f"{source}: {classifier.name} gives {wanted} per text; see --label-separator and --label-column"
        )
    sides, notes = _sides(source, rows, settings, record)
    asked = _take(rows, sides, settings.side, classifier.labels)
    with stage(f"classify {len(asked.texts):,} texts"):
        logits = classifier.logits(asked.texts)
    report = ClassifyReport(
        name=classifier.name,
        source=source.name,
        side=settings.side,
        kind=trained.kind,
        base=trained.base,
        rows={settings.side: len(asked.texts)},
        settings={key: value for key, value in record.settings.items() if value is not None},
        seconds=None,
        notes=[*rows.notes, *notes],
        **measure(classifier.contract, logits, asked, asked.truth),
    )
    write_classify_report(report, out)
    say(summary(report))
    return report


def _sides(
    source: Path, rows: Rows, settings: ClassifyEvaluateSettings, record: Record
) -> tuple[list[Side] | None, list[str]]:
    """Return the side of every row, or None where the file is new to the classifier and does not say."""
    same = describe_input(source, "").sha256 in {each.sha256 for each in record.inputs}
    if not same:
        return rows.sides, []
    told = record.settings
    for name in ("limit", "split_column", "label_column", "text_column"):
        if told.get(name) != getattr(settings, name):
            raise UserError(
                f"{source}: the classifier was trained on this file with --{name.replace('_', '-')} {told.get(name)}; "
                "give the same, so that no row is asked that was learned"
            )
    notes = ["rows of the training are among those that were asked"] if settings.side in {"train", ALL} else []
    return divide(rows, dev=told["dev"], test=told["test"], seed=told["seed"]), notes


def _take(rows: Rows, sides: list[Side] | None, side: str, labels: list[str]) -> Part:
    places = [place for place in range(len(rows.texts)) if sides is None or side in {ALL, sides[place]}]
    if not places:
        raise UserError(f"--side {side}: no row of the file is on that side; give another, or all")
    return part_of(rows, places, labels)
