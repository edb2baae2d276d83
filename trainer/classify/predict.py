"""Give texts their labels: a file of texts in, a file with labels and probabilities out."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from indexer.artifacts.manifest import describe_input
from indexer.build.labels import label_types, labels_of
from indexer.corpus.corpus import Corpus
from indexer.corpus.settings import RowSettings, select
from indexer.errors import UserError
from indexer.inference.classifier import Classifier, find_classifier
from indexer.progress import Bar, say, stage
from trainer.classify.data import Part, Rows, Side, divide, part_of, read_rows
from trainer.classify.report import ClassifyReport, measure, read_report, summary
from trainer.classify.report_page import write_classify_report
from trainer.classify.settings import ClassifyEvaluateSettings, ClassifyPredictSettings
from trainer.classify.train import read_record
from trainer.files import whole
from trainer.training.output import Record

ROWS = 1024
FORMATS = (".parquet", ".csv")


class _Writer(Protocol):
    def add(self, columns: dict[str, pa.Array]) -> None:
        """Append rows."""


def predict(source: str, settings: ClassifyPredictSettings, data: Path | None = None) -> int:
    """Classify the texts of ``source``, write ``settings.out``, and return how many there are.

    The columns are id, text, label and label_probability; with several labels per text the last two hold lists, which a
    CSV file has with the separator between them. Texts come and go in blocks of bounded size, and the file appears under
    its name when it is complete.

    Raises:
        UserError: there is no such classifier, the texts are not readable, or the file cannot be written.
    """
    if settings.out.suffix not in FORMATS:
        raise UserError(f"--out {settings.out}: give a name that ends in {' or '.join(FORMATS)}")
    classifier = Classifier.open(find_classifier(settings.model, data))
    corpus = Corpus.check(source, **select(settings, RowSettings), title_column="none")
    with (
        whole(settings.out) as part,
        _writer(part, settings, _schema(classifier, settings)) as writer,
        Bar("classify", corpus.documents, "texts") as bar,
    ):
        for batch in corpus.batches(ROWS):
            probabilities = classifier.predict(batch.column("text").to_pylist())
            label, sure = labels_of(classifier, probabilities)
            columns = {
                "id": batch.column("id"),
                "text": batch.column("text"),
                "label": label,
                "label_probability": sure,
            }
            if settings.all_probabilities:
                for at, name in enumerate(classifier.labels):
                    columns[f"probability_{name}"] = pa.array(probabilities[:, at], pa.float32())
            writer.add(columns)
            bar.advance(batch.num_rows)
    return corpus.documents


def _schema(classifier: Classifier, settings: ClassifyPredictSettings) -> pa.Schema:
    label, sure = label_types(classifier)
    fields = [("id", pa.string()), ("text", pa.string()), ("label", label), ("label_probability", sure)]
    if settings.all_probabilities:
        fields += [(f"probability_{name}", pa.float32()) for name in classifier.labels]
    return pa.schema(fields)


@contextmanager
def _writer(path: Path, settings: ClassifyPredictSettings, schema: pa.Schema) -> Iterator[_Writer]:
    """Open the file for writing; it is closed, and so complete, when the block has ended."""
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
