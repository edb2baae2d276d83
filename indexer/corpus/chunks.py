"""Chunks: the rows of one corpus file in pieces of bounded size, with a reject for each row that cannot be read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from indexer.corpus.formats import parquet as parquetfiles
from indexer.corpus.values.convert import EXACT_FLOATS, Reasons, to_metadata, to_text
from indexer.errors import UserError

CHUNK_ROWS = 1024
Types = dict[str, pa.DataType]
"""Arrow types by column name."""
_JSON_TYPES = {bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object"}


@dataclass(frozen=True)
class Reject:
    """A row that cannot be a document, and the reason."""

    file: str
    row: int
    id: str | None
    reason: str


class Roles(NamedTuple):
    """The columns that hold id, title and text; None where the corpus has no such column."""

    id: str | None
    title: str | None
    text: str


class SourceFile(NamedTuple):
    """A file, the name by which the user knows it, and names and values of the folders ``name=value`` that lead to it."""

    path: Path
    name: str
    partitions: tuple[tuple[str, str | None], ...] = ()


class Chunk(NamedTuple):
    """Consecutive rows of one file.

    ``batch`` has the columns id, title and text as strings, and ``metadata`` where types were given. ``numbers`` are
    the 1-based numbers of its rows in the file: data rows of Parquet and CSV, lines of JSON lines. ``rejects`` are the
    rows that could not be read and are not in ``batch``.
    """

    file: SourceFile
    numbers: npt.NDArray[np.int64]
    batch: pa.RecordBatch
    rejects: list[Reject]


class TextReader(Protocol):
    """Interface of the readers of CSV and of JSON lines."""

    def read_columns(self, path: Path) -> Types:
        """Return the columns of a file with their types, as far as they are known before all rows are read."""

    def read_records(self, path: Path) -> Iterator[tuple[int, dict[str, Any] | str]]:
        """Yield number and values of each row; a string in place of the values says why the row is not readable."""

    def observe(self, name: str, values: Sequence[Any]) -> None:
        """Infer the type of column ``name`` from some of its values, together with those observed before."""

    def column_types(self) -> Types:
        """Return the types that hold all observed values."""

    def to_array(self, values: Sequence[Any], kind: pa.DataType) -> pa.Array:
        """Convert some values of one column."""


def parquet_chunks(
    file: SourceFile, roles: Roles, types: Types, *, metadata: bool, offset: int, limit: int | None
) -> Iterator[Chunk]:
    """Yield the first ``limit`` rows of a Parquet file; a row with a value that cannot be served is a reject.

    All columns are checked; with ``metadata`` those of ``types`` become metadata. Where there is no id column, the id is
    the number of the row in the corpus; ``offset`` rows of the corpus come before this file.
    """
    rows_read = 0
    for full_batch in parquetfiles.read_batches(file.path, None, CHUNK_ROWS):
        batch = full_batch if limit is None else full_batch.slice(0, limit - rows_read)
        if not batch.num_rows:
            return
        numbers = np.arange(rows_read + 1, rows_read + 1 + batch.num_rows)
        arrays, reasons = _role_arrays(batch, roles, numbers + offset)
        columns = {}
        for name, kind in types.items():
            column = batch.column(name) if name in batch.schema.names else pa.nulls(batch.num_rows, kind)
            columns[name], found = to_metadata(name, column, kind)
            _check_converted(file, name, columns[name])
            reasons = found | reasons
        rejects = [
            Reject(file.name, int(numbers[row]), _id_of(arrays[0], row), reason) for row, reason in reasons.items()
        ]
        if metadata and types:
            arrays.append(make_struct(columns))
        good = np.setdiff1d(np.arange(batch.num_rows), list(reasons))
        result = make_batch(arrays)
        yield Chunk(file, numbers[good], result.take(pa.array(good)) if rejects else result, rejects)
        rows_read += batch.num_rows


def _check_converted(file: SourceFile, name: str, column: pa.Array) -> None:
    """Raise `UserError` where Arrow has converted a column wrongly, as it does with nulls without a type deep in lists."""
    try:
        column.validate()
    except pa.ArrowInvalid as error:
        raise UserError(
            f"{file.name}: column {name!r} holds {column.type}, which cannot be read; leave it out, or write it with "
            "another type"
        ) from error


def _role_arrays(
    batch: pa.RecordBatch, roles: Roles, row_numbers: npt.NDArray[np.int64]
) -> tuple[list[pa.Array], Reasons]:
    """Return ids, titles and texts as strings, and the rows in which one of them cannot be read."""
    arrays, reasons = [], Reasons()
    for name in roles:
        if name is not None and name in batch.schema.names:
            texts, found = to_text(name, batch.column(name))
            reasons = found | reasons
        else:
            texts = pa.nulls(batch.num_rows, pa.string())
        arrays.append(texts)
    if not roles.id:
        arrays[0] = pa.array(row_numbers).cast(pa.string())
    return arrays, reasons


def _id_of(ids: pa.StringArray, row: int) -> str | None:
    """Return an id, or None where there is none or it is not UTF-8."""
    try:
        value: str | None = ids[row].as_py()
    except UnicodeDecodeError:
        return None
    return value


def text_chunks(
    reader: TextReader, file: SourceFile, roles: Roles, types: Types | None, *, offset: int, limit: int | None
) -> Iterator[Chunk]:
    """Yield the first ``limit`` rows of a CSV or JSON-lines file; arguments as for `parquet_chunks`.

    Without ``types`` the reader observes every metadata column to infer its type.
    """
    records = enumerate(islice(reader.read_records(file.path), limit), offset + 1)
    while chunk := list(islice(records, CHUNK_ROWS)):
        rows: list[dict[str, Any]] = []
        ids, numbers, rejects = [], [], []
        for corpus_row, (number, record) in chunk:
            if isinstance(record, str):
                rejects.append(Reject(file.name, number, None, record))
                continue
            value = record.get(roles.id) if roles.id else corpus_row
            document_id = _id_text(value)
            if reason := _describe_wrong_type(record, roles):
                rejects.append(Reject(file.name, number, document_id, reason))
                continue
            rows.append(record)
            ids.append(document_id)
            numbers.append(number)
        title, text = ([row.get(name) if name else None for row in rows] for name in (roles.title, roles.text))
        arrays = [pa.array(values, pa.string()) for values in (ids, title, text)]
        if types is None:
            for name in dict.fromkeys(name for row in rows for name in row if name not in roles):
                reader.observe(name, [row.get(name) for row in rows])
        elif types:
            columns = {name: reader.to_array([row.get(name) for row in rows], kind) for name, kind in types.items()}
            arrays.append(make_struct(columns))
        yield Chunk(file, np.array(numbers, np.int64), make_batch(arrays), rejects)


def make_batch(arrays: list[pa.Array]) -> pa.RecordBatch:
    """Return ids, titles, texts and perhaps metadata as a batch."""
    return pa.RecordBatch.from_arrays(arrays, names=["id", "title", "text", "metadata"][: len(arrays)])


def make_struct(columns: dict[str, pa.Array]) -> pa.StructArray:
    """Return metadata columns as one column."""
    fields = [pa.field(name, column.type) for name, column in columns.items()]
    return pa.StructArray.from_arrays(list(columns.values()), fields=fields)


def _id_text(value: Any) -> str | None:
    """Return the id that a value of CSV or JSON stands for: a text or a whole number; None where it is neither."""
    if type(value) is float and value.is_integer() and abs(value) <= EXACT_FLOATS:
        return str(int(value))
    return str(value) if type(value) in (int, str) else None


def _describe_wrong_type(record: dict[str, Any], roles: Roles) -> str | None:
    """Return which of the columns id, title and text has a value of a wrong type, or None."""
    for column in roles:
        value = record.get(column) if column else None
        if value is None or isinstance(value, str) or (column == roles.id and _id_text(value) is not None):
            continue
        expected = "text or a whole number" if column == roles.id else "text"
        return f"column {column!r} holds {_JSON_TYPES[type(value)]}, not {expected}"
    return None
