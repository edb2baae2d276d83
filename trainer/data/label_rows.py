"""Rows of a file of labels, in any format of a corpus; each value that is needed is checked to be there."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from indexer.corpus.files import FORMATS, format_of, suffix_of
from indexer.corpus.formats import parquet as parquetfiles
from indexer.corpus.formats.csv import CsvReader
from indexer.corpus.formats.jsonl import JsonReader
from indexer.corpus.values.convert import Reasons, to_text
from indexer.errors import UserError, first_line
from indexer.index.arrow import is_scalar
from trainer.data import trec

ALIASES = {
    "query-id": "query_id", "corpus-id": "doc_id", "score": "relevance", "_id": "id",
}  # fmt: skip
"""Names of columns in BEIR's files → those used here, where a file does not have these."""
TEXTS, VALUES = {"query_id", "doc_id", "id", "text"}, {"query_id", "doc_id", "id", "text", "relevance", "split"}
"""Columns that are read as text, and all columns that are read."""
ROWS_PER_BATCH = 65_536


def read_rows(path: Path, columns: list[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield number and values of each row; those of ``columns`` are checked to be present."""
    try:
        existing, rows = _read(path)
        renamed = {name: alias for name, alias in ALIASES.items() if name in existing and alias not in existing}
        names = [renamed.get(name, name) for name in existing]
        if missing := [name for name in columns if name not in names]:
            header = f", or write {', '.join(columns)} in the first line" if FORMATS[suffix_of(path)] == "CSV" else ""
            raise UserError(f"{path}: has no column {missing[0]!r} ({_listed(existing)}); rename the column{header}")
        for number, row in rows:
            if isinstance(row, str):
                raise UserError(f"{path} row {number}: {row}; repair the row")
            row = {renamed.get(name, name): value for name, value in row.items()}  # noqa: PLW2901 - the same row
            for name in columns:
                value = row.get(name)
                if value is None or not str(value).strip():
                    raise UserError(f"{path} row {number}: no {name}; fill it or leave the row out")
                if isinstance(value, (list, dict)):
                    raise UserError(f"{path} row {number}: {name} is {value!r:.60}; give one text or number")
            yield number, row
    except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
        raise UserError(f"{path}: not readable ({first_line(error)})") from error


def relevance_of(row: dict[str, Any], where: str) -> int:
    """Return the relevance of a row of qrels, 1 by default; ``where`` names the row in the error."""
    value = row.get("relevance", 1)
    try:
        relevance = int(float(value))  # pandas writes 1.0 where a column has gaps
        if relevance == float(value):
            return relevance
    except (TypeError, ValueError, OverflowError):
        pass
    raise UserError(f"{where}: the relevance is {value!r}; give a whole number, 0 for a document that is no answer")


def id_text(value: Any) -> str:
    """Return an id or a text; a whole number with a point is the id that it is in a corpus."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _listed(names: list[str]) -> str:
    """Return the names of columns for a message."""
    return f"there are {', '.join(names)}" if names else "it is empty"


def _read(path: Path) -> tuple[list[str], Iterable[tuple[int, dict[str, Any] | str]]]:
    """Return the names of the columns, and the numbered rows; a row that cannot be read is its reason."""
    if suffix_of(path) == ".parquet":
        return list(parquetfiles.read_columns(path)), _parquet_rows(path)
    if suffix_of(path) not in FORMATS or (format_of(path) == "CSV" and trec.is_trec(path)):
        return trec.COLUMNS, trec.read_trec(path)
    reader = CsvReader() if format_of(path) == "CSV" else JsonReader()
    return list(reader.read_columns(path)), reader.read_records(path)


def _parquet_rows(path: Path) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Yield the numbered rows of a Parquet file; ids and texts as in a corpus."""
    first = 1
    for batch in parquetfiles.read_batches(path, None, ROWS_PER_BATCH):
        columns, reasons = {}, Reasons()
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            if ALIASES.get(name, name) in TEXTS and is_scalar(column.type):
                columns[name], found = to_text(name, column)
                reasons = found | reasons
            elif ALIASES.get(name, name) in VALUES:
                columns[name] = column
        for row, reason in reasons.items():
            yield first + row, reason
        good = [row for row in range(batch.num_rows) if row not in reasons]
        values = [column.take(pa.array(good, pa.int64())).to_pylist() for column in columns.values()]
        for row, fields in zip(good, zip(*values, strict=True), strict=True):
            yield first + row, dict(zip(columns, fields, strict=True))
        first += batch.num_rows
