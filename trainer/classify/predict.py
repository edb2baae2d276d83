"""Use a classifier on files: write the labels and probabilities of texts, or measure it on labelled texts."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from indexer.artifacts.manifest import describe_input
from indexer.build.metadata.labels import decode_labels, label_types
from indexer.corpus.corpus import Corpus
from indexer.corpus.settings import RowSettings, select
from indexer.errors import UserError
from indexer.inference.classifier import Classifier, find_classifier
from indexer.progress import Bar, say, stage
from trainer.classify.data import LabelledRows, Side, Split, assign_sides, read_rows, select_rows
from trainer.classify.report import ClassifyReport, measure, read_report, summarise
from trainer.classify.report_page import write_classify_report
from trainer.classify.settings import ClassifyEvaluateSettings, ClassifyPredictSettings
from trainer.classify.train import read_record
from trainer.files import atomic_write
from trainer.training.output import Record

BATCH_ROWS = 1024
FORMATS = (".parquet", ".csv")
ALL_SIDES = "all"


def predict(source: str, settings: ClassifyPredictSettings, data: Path | None = None) -> int:
    """Classify the texts of ``source``, write ``settings.out``, and return the number of texts.

    The columns are id, text, label and label_probability. With several labels per text the last two hold lists, in a
    CSV file joined by the separator. Texts are processed in batches of bounded size, and the file appears under its
    name when it is complete.

    Raises:
        UserError: there is no such classifier, the texts are not readable, or the file cannot be written.
    """
    if settings.out.suffix not in FORMATS:
        raise UserError(f"--out {settings.out}: give a name that ends in {' or '.join(FORMATS)}")
    classifier = Classifier.open(find_classifier(settings.model, data))
    corpus = Corpus.check(source, **select(settings, RowSettings), title_column="none")
    with (
        atomic_write(settings.out) as part,
        _writer(part, settings, _schema(classifier, settings)) as writer,
        Bar("classify", corpus.documents, "texts") as bar,
    ):
        for batch in corpus.batches(BATCH_ROWS):
            probabilities = classifier.predict(batch.column("text").to_pylist())
            label, label_probability = decode_labels(classifier, probabilities)
            columns = {
                "id": batch.column("id"),
                "text": batch.column("text"),
                "label": label,
                "label_probability": label_probability,
            }
            if settings.all_probabilities:
                for index, name in enumerate(classifier.labels):
                    columns[f"probability_{name}"] = pa.array(probabilities[:, index], pa.float32())
            writer.add(columns)
            bar.advance(batch.num_rows)
    return corpus.documents


def evaluate(source: Path, settings: ClassifyEvaluateSettings, out: Path, data: Path | None = None) -> ClassifyReport:
    """Classify labelled texts, compare the answers with the labels, and write the report into ``out``.

    A file that the classifier was trained on is split as in the training: its test rows were not trained on.

    Raises:
        UserError: there is no such classifier, or the file does not suit it.
    """
    folder = find_classifier(settings.model, data)
    classifier = Classifier.open(folder)
    record, training_report = read_record(folder), read_report(folder)
    if not source.is_file():
        raise UserError(f"{source}: no such file; give a Parquet, CSV or JSON lines file with texts and labels")
    rows = read_rows(str(source), settings)
    if rows.multi_label != classifier.contract.multi_label:
        number = "several labels" if classifier.contract.multi_label else "one label"
        raise UserError(
            f"{source}: {classifier.name} gives {number} per text; see --label-separator and --label-column"
        )
    sides, notes = _find_sides(source, rows, settings, record)
    split = _select_side(rows, sides, settings.side, classifier.labels)
    with stage(f"classify {len(split.texts):,} texts"):
        logits = classifier.logits(split.texts)
    report = ClassifyReport(
        name=classifier.name,
        source=source.name,
        side=settings.side,
        kind=training_report.kind,
        base=training_report.base,
        rows={settings.side: len(split.texts)},
        settings={key: value for key, value in record.settings.items() if value is not None},
        seconds=None,
        notes=[*rows.notes, *notes],
        **measure(classifier.contract, logits, split, split.truth),
    )
    write_classify_report(report, out)
    say(summarise(report))
    return report


def _schema(classifier: Classifier, settings: ClassifyPredictSettings) -> pa.Schema:
    label, probability = label_types(classifier)
    fields = [("id", pa.string()), ("text", pa.string()), ("label", label), ("label_probability", probability)]
    if settings.all_probabilities:
        fields += [(f"probability_{name}", pa.float32()) for name in classifier.labels]
    return pa.schema(fields)


class _Writer(Protocol):
    def add(self, columns: dict[str, pa.Array]) -> None:
        """Append rows."""


@contextmanager
def _writer(path: Path, settings: ClassifyPredictSettings, schema: pa.Schema) -> Iterator[_Writer]:
    """Open the file for writing; it is closed, and then complete, at the end of the block."""
    if settings.out.suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            yield _Csv(file, schema, settings.label_separator)
    else:
        with pq.ParquetWriter(path, schema, compression="zstd") as table:
            yield _Parquet(table, schema)


class _Parquet:
    """Rows as Parquet."""

    def __init__(self, table: pq.ParquetWriter, schema: pa.Schema) -> None:
        self._table = table
        self._schema = schema

    def add(self, columns: dict[str, pa.Array]) -> None:
        self._table.write_batch(pa.record_batch(list(columns.values()), schema=self._schema))


class _Csv:
    """Rows as CSV; a list is written with the separator between its values."""

    def __init__(self, file: TextIO, schema: pa.Schema, separator: str) -> None:
        self._rows = csv.writer(file)
        self._rows.writerow(schema.names)
        self._separator = separator

    def add(self, columns: dict[str, pa.Array]) -> None:
        values = [column.to_pylist() for column in columns.values()]
        self._rows.writerows([self._cell(value) for value in row] for row in zip(*values, strict=True))

    def _cell(self, value: Any) -> str:
        if isinstance(value, list):
            return self._separator.join(map(self._cell, value))
        return f"{value:.6g}" if isinstance(value, float) else str(value)


def _find_sides(
    source: Path, rows: LabelledRows, settings: ClassifyEvaluateSettings, record: Record
) -> tuple[list[Side] | None, list[str]]:
    """Return the side of every row, and notes for the report.

    The sides are those of the training where the classifier was trained on this file, else those in the file, else
    None.
    """
    trained_on = describe_input(source, "").sha256 in {entry.sha256 for entry in record.inputs}
    if not trained_on:
        return rows.sides, []
    training = record.settings
    for name in ("limit", "split_column", "label_column", "text_column"):
        if training.get(name) != getattr(settings, name):
            raise UserError(
                f"{source}: the classifier was trained on this file with --{name.replace('_', '-')} "
                f"{training.get(name)}; give the same, to leave out the rows that it was trained on"
            )
    notes = ["training rows are among the measured rows"] if settings.side in {"train", ALL_SIDES} else []
    return assign_sides(rows, dev=training["dev"], test=training["test"], seed=training["seed"]), notes


def _select_side(rows: LabelledRows, sides: list[Side] | None, side: str, labels: list[str]) -> Split:
    indices = [row for row in range(len(rows.texts)) if sides is None or side in {ALL_SIDES, sides[row]}]
    if not indices:
        raise UserError(f"--side {side}: no row of the file is on that side; give another, or all")
    return select_rows(rows, indices, labels)
