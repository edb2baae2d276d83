"""From the rows of one file to chunks of bounded size: rows that can be read, and rejects for those that cannot."""

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
_KINDS = {bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object"}


@dataclass(frozen=True)
class Reject:
    """One row that cannot be a document, and why."""

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
    """What the readers of CSV and JSON lines have in common."""

    def columns(self, path: Path) -> Types:
        """Return the columns of a file with their types, as far as they are known before all rows are read."""

    def records(self, path: Path) -> Iterator[tuple[int, dict[str, Any] | str]]:
        """Yield number and values of each row; a string says why a row is not readable."""

    def observe(self, name: str, values: Sequence[Any]) -> None:
        """Learn the type of column ``name`` from some of its values."""

    def types(self) -> Types:
        """Return the types that hold all values observed."""

    def array(self, values: Sequence[Any], kind: pa.DataType) -> pa.Array:
        """Convert some values of one column."""


def parquet_chunks(
    file: SourceFile, roles: Roles, types: Types | None, *, before: int, limit: int | None
) -> Iterator[Chunk]:
    """Yield the first ``limit`` rows of a Parquet file.

    Without ``types`` only the columns of ``roles`` are read; with them all others become ``metadata``. Where there is
    no id column, the id is the number of the row in the corpus, ``before`` rows of which come before this file.
    """
    present = parquetfiles.columns(file.path)
    needed = [name for name in dict.fromkeys(roles) if name in present] if types is None else None
    row = 0
    for read in parquetfiles.batches(file.path, needed, CHUNK_ROWS):
        batch = read if limit is None else read.slice(0, limit - row)
        if not batch.num_rows:
            return

        def column(name: str | None, kind: pa.DataType, batch: pa.RecordBatch = batch) -> pa.Array:
            return batch.column(name).cast(kind) if name in present else pa.nulls(batch.num_rows, kind)

        numbers = np.arange(row + 1, row + 1 + batch.num_rows)
        ids = column(roles.id, pa.string()) if roles.id else pa.array(numbers + before).cast(pa.string())
        arrays = [ids, column(roles.title, pa.string()), column(roles.text, pa.string())]
        wrong = {at: name for array, name in zip(arrays, roles, strict=True) for at in _not_utf8(array)}
        if types:
            arrays.append(_struct({name: column(name, kind) for name, kind in types.items()}))
        good = np.setdiff1d(np.arange(batch.num_rows), list(wrong))
        bad = [Reject(file.name, int(numbers[at]), None, f"invalid UTF-8 in column {wrong[at]!r}") for at in wrong]
        yield Chunk(file, numbers[good], _batch(arrays).take(pa.array(good)) if bad else _batch(arrays), bad)
        row += batch.num_rows


def text_chunks(
    reader: TextReader, file: SourceFile, roles: Roles, types: Types | None, *, before: int, limit: int | None
) -> Iterator[Chunk]:
    """Yield the first ``limit`` rows of a CSV or JSON-lines file; arguments as for `parquet_chunks`.

    Without ``types`` the reader observes every metadata column and so learns its type.
    """
    records = enumerate(islice(reader.records(file.path), limit), before + 1)
    while some := list(islice(records, CHUNK_ROWS)):
        rows: list[dict[str, Any]] = []
        ids, numbers, bad = [], [], []
        for ordinal, (number, record) in some:
            if isinstance(record, str):
                bad.append(Reject(file.name, number, None, record))
                continue
            key = record.get(roles.id) if roles.id else ordinal
            key = str(key) if type(key) in (int, str) else None
            if wrong := _wrong_type(record, roles):
                bad.append(Reject(file.name, number, key, wrong))
                continue
            rows.append(record)
            ids.append(key)
            numbers.append(number)
        title, text = ([row.get(name) if name else None for row in rows] for name in (roles.title, roles.text))
        arrays = [pa.array(values, pa.string()) for values in (ids, title, text)]
        if types is None:
            for name in dict.fromkeys(name for row in rows for name in row if name not in roles):
                reader.observe(name, [row.get(name) for row in rows])
        elif types:
            columns = {name: reader.array([row.get(name) for row in rows], kind) for name, kind in types.items()}
            arrays.append(_struct(columns))
        yield Chunk(file, np.array(numbers, np.int64), _batch(arrays), bad)


def _batch(arrays: list[pa.Array]) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(arrays, names=["id", "title", "text", "metadata"][: len(arrays)])


def _struct(columns: dict[str, pa.Array]) -> pa.StructArray:
    fields = [pa.field(name, column.type) for name, column in columns.items()]
    return pa.StructArray.from_arrays(list(columns.values()), fields=fields)


def _wrong_type(record: dict[str, Any], roles: Roles) -> str | None:
    for column in roles:
        value = record.get(column) if column else None
        if value is None or isinstance(value, str) or (column == roles.id and type(value) is int):
            continue
        wanted = "text or a whole number" if column == roles.id else "text"
        return f"column {column!r} holds {_KINDS[type(value)]}, not {wanted}"
    return None


def _not_utf8(texts: pa.StringArray) -> list[int]:
    """Return the positions of values that are not UTF-8: Parquet writers may put any bytes into a text column."""
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        return [at for at, raw in enumerate(texts.cast(pa.binary()).to_pylist()) if not _decodes(raw or b"")]
    return []


def _decodes(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True
