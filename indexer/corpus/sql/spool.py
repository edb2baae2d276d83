"""Spool of a database: the rows of a statement, kept as a Parquet file as long as they are used.

A corpus is read twice and its checksum decides whether anything has to be built; a table can change between two queries.
So the rows are read once and written to a file below the data directory, which is read like any other Parquet file.
The same rows in the same order give the same bytes.
"""

from __future__ import annotations

import fcntl
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

import pyarrow as pa

from indexer.artifacts.store import data_dir
from indexer.corpus.formats import parquet as parquetfiles
from indexer.corpus.formats.parquet import RowGroupWriter
from indexer.corpus.sql.types import infer_type, merge_types, storage_type, to_array
from indexer.errors import UserError

ROWS_PER_BATCH = 1024


def claim_folder(owner: object, data: Path | None = None) -> Path:
    """Return a new folder below ``data`` (default: ``$DOWSE_DATA``) that is removed when ``owner`` is no longer used.

    Folders that killed processes have left are removed first. A folder is left over if no process holds its lock.

    Raises:
        UserError: the data directory cannot be written to.
    """
    root = (data or data_dir()) / ".spool"
    try:
        root.mkdir(parents=True, exist_ok=True)
        with (root / ".gate").open("a", encoding="utf-8") as gate:
            fcntl.flock(gate, fcntl.LOCK_EX)  # else a new folder would look abandoned until it is locked
            for abandoned in root.iterdir():
                if abandoned.is_dir() and not _is_in_use(abandoned):
                    shutil.rmtree(abandoned, ignore_errors=True)
            folder = Path(tempfile.mkdtemp(dir=root))
            lock = (folder / ".lock").open("w", encoding="utf-8")
            fcntl.flock(lock, fcntl.LOCK_EX)
    except OSError as error:
        raise UserError(f"{root}: not writable ({error.strerror}); set DOWSE_DATA to a folder that is") from error
    weakref.finalize(owner, _remove, folder, lock)  # also at the end of the process
    return folder


def _is_in_use(folder: Path) -> bool:
    try:
        with (folder / ".lock").open("a", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def _remove(folder: Path, lock: TextIO) -> None:
    lock.close()
    shutil.rmtree(folder, ignore_errors=True)


class RowWriter:
    """Writer of rows of Python values to the Parquet file ``path``; the types are inferred from the rows.

    Rows are written with the types of all rows so far. Where a row needs a wider type, the file is closed and another
    one begun; `close` joins these pieces, with types that hold all rows. Memory is bounded by one row group. Use as a
    context manager: after an exception pieces may be left, but no file under the final name.
    """

    def __init__(self, path: Path, names: list[str]) -> None:
        self._path = path
        self._names = names
        self._types: list[pa.DataType] = [pa.null()] * len(names)
        self._pieces: list[Path] = []
        self._writer: RowGroupWriter | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        elif self._writer:
            self._writer.close()

    def add(self, rows: Sequence[Sequence[Any]]) -> None:
        """Append rows, each with one value for every name."""
        columns = list(zip(*rows, strict=True)) if rows else [()] * len(self._names)
        self._types = [merge_types(kind, infer_type(column)) for kind, column in zip(self._types, columns, strict=True)]
        schema = self._schema()
        if self._writer and self._writer.schema != schema:
            self._writer.close()
            self._writer = None
        if not self._writer:
            self._pieces.append(self._path.with_suffix(f".piece-{len(self._pieces)}"))
            self._writer = RowGroupWriter(self._pieces[-1], schema)
        self._writer.add(_make_batch(columns, schema))

    def close(self) -> None:
        """Complete the file; without rows it has only the columns."""
        if not self._writer:
            self.add([])
        if self._writer:
            self._writer.close()
        if len(self._pieces) == 1:
            self._pieces[0].replace(self._path)
            return
        joined = self._path.with_suffix(".whole")
        writer = RowGroupWriter(joined, self._schema())
        for batch in self._convert_pieces():
            writer.add(batch)
        writer.close()
        joined.replace(self._path)

    def _schema(self) -> pa.Schema:
        return pa.schema([(name, storage_type(kind)) for name, kind in zip(self._names, self._types, strict=True)])

    def _convert_pieces(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows of all pieces with the final types, and delete each piece after it."""
        schema = self._schema()
        for piece in self._pieces:
            for batch in parquetfiles.read_batches(piece, None, ROWS_PER_BATCH):
                arrays = [
                    column if column.type == field.type else to_array(column.to_pylist(), field.type)
                    for column, field in zip(batch.columns, schema, strict=True)
                ]
                yield pa.RecordBatch.from_arrays(arrays, schema=schema)
            piece.unlink()


def _make_batch(columns: Sequence[Sequence[Any]], schema: pa.Schema) -> pa.RecordBatch:
    arrays = [to_array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
