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

from indexer.corpus import parquet as parquetfiles

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
    """A file and the name by which the user knows it."""

    path: Path
    name: str


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
    file: SourceFile, roles: Roles, types: Types | None, *, offset: int, limit: int | None
) -> Iterator[Chunk]:
    """Yield the first ``limit`` rows of a Parquet file.

    Without ``types`` only the columns of ``roles`` are read; with them all others become ``metadata``. Where there is
    no id column, the id is the number of the row in the corpus; ``offset`` rows of the corpus come before this file.
    """
    present = parquetfiles.read_columns(file.path)
    names = [name for name in dict.fromkeys(roles) if name in present] if types is None else None
    rows_read = 0
    for full_batch in parquetfiles.read_batches(file.path, names, CHUNK_ROWS):
        batch = full_batch if limit is None else full_batch.slice(0, limit - rows_read)
        if not batch.num_rows:
            return

        def column(name: str | None, kind: pa.DataType, batch: pa.RecordBatch = batch) -> pa.Array:
            return batch.column(name).cast(kind) if name in present else pa.nulls(batch.num_rows, kind)

        numbers = np.arange(rows_read + 1, rows_read + 1 + batch.num_rows)
        ids = column(roles.id, pa.string()) if roles.id else pa.array(numbers + offset).cast(pa.string())
        arrays = [ids, column(roles.title, pa.string()), column(roles.text, pa.string())]
        not_utf8 = {row: name for array, name in zip(arrays, roles, strict=True) for row in _find_not_utf8(array)}
        if types:
            arrays.append(_make_struct({name: column(name, kind) for name, kind in types.items()}))
        good = np.setdiff1d(np.arange(batch.num_rows), list(not_utf8))
        rejects = [
            Reject(file.name, int(numbers[row]), None, f"invalid UTF-8 in column {name!r}")
            for row, name in not_utf8.items()
        ]
        result = _make_batch(arrays)
        yield Chunk(file, numbers[good], result.take(pa.array(good)) if rejects else result, rejects)
        rows_read += batch.num_rows


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
            document_id = str(value) if type(value) in (int, str) else None
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
            arrays.append(_make_struct(columns))
        yield Chunk(file, np.array(numbers, np.int64), _make_batch(arrays), rejects)


def _make_batch(arrays: list[pa.Array]) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(arrays, names=["id", "title", "text", "metadata"][: len(arrays)])


def _make_struct(columns: dict[str, pa.Array]) -> pa.StructArray:
    fields = [pa.field(name, column.type) for name, column in columns.items()]
    return pa.StructArray.from_arrays(list(columns.values()), fields=fields)


def _describe_wrong_type(record: dict[str, Any], roles: Roles) -> str | None:
    """Return which of the columns id, title and text has a value of a wrong type, or None."""
    for column in roles:
        value = record.get(column) if column else None
        if value is None or isinstance(value, str) or (column == roles.id and type(value) is int):
            continue
        expected = "text or a whole number" if column == roles.id else "text"
        return f"column {column!r} holds {_JSON_TYPES[type(value)]}, not {expected}"
    return None


def _find_not_utf8(texts: pa.StringArray) -> list[int]:
    """Return the positions of values that are not UTF-8: Parquet writers may put any bytes into a text column."""
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        return [row for row, raw in enumerate(texts.cast(pa.binary()).to_pylist()) if not _is_utf8(raw or b"")]
    return []


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True
