"""Give texts their labels: a file of texts in, a file with labels and probabilities out."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from indexer.build.labels import label_types, labels_of
from indexer.corpus.corpus import Corpus
from indexer.errors import UserError
from indexer.inference.classifier import Classifier, find_classifier
from indexer.progress import Bar
from trainer.classify.settings import ClassifyPredictSettings
from trainer.files import whole

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
    corpus = Corpus.check(
        source,
        id_column=settings.id_column,
        text_column=settings.text_column,
        title_column="none",
        limit=settings.limit,
        skip_bad_rows=settings.skip_bad_rows,
    )
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
