"""What a database answered, kept as a Parquet file for as long as it is needed.

A corpus is read twice and its checksum decides whether there is anything to do; a table can change between two queries.
So the answer is read once and written to a file below the data directory, from where it is read like any other Parquet
file. The same rows in the same order give the same bytes.
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
from indexer.corpus import parquet as parquetfiles
from indexer.corpus.parquet import GroupWriter
from indexer.corpus.sql.types import array, merge, settle, type_of
from indexer.errors import UserError

ROWS_PER_BATCH = 1024


def claim_folder(owner: object, data: Path | None = None) -> Path:
    """Return a new folder below ``data`` (default: ``$DOWSE_DATA``) that is removed when ``owner`` is no longer used.

    What killed processes have left there is removed first: a folder whose lock nobody holds.

    Raises:
        UserError: the data directory cannot be written to.
    """
    root = (data or data_dir()) / ".spool"
    try:
        root.mkdir(parents=True, exist_ok=True)
        with (root / ".gate").open("a", encoding="utf-8") as gate:
            fcntl.flock(gate, fcntl.LOCK_EX)  # nobody takes a folder for abandoned before its maker has locked it
            for each in root.iterdir():
                if each.is_dir() and not _in_use(each):
                    shutil.rmtree(each, ignore_errors=True)
            folder = Path(tempfile.mkdtemp(dir=root))
            lock = (folder / ".lock").open("w", encoding="utf-8")
            fcntl.flock(lock, fcntl.LOCK_EX)
    except OSError as error:
        raise UserError(f"{root}: not writable ({error.strerror}); set DOWSE_DATA to a folder that is") from error
    weakref.finalize(owner, _remove, folder, lock)  # also at the end of the process
    return folder


def _in_use(folder: Path) -> bool:
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
    """Writes rows of Python values to the Parquet file ``path``; their types become known on the way.

    Rows are written with the types of all rows so far. Where a row needs a wider type, the file is closed and another
    begun; `close` puts such pieces together, with types that hold all rows. Memory is bounded by one row group.
    Use as a context manager: an exception leaves pieces behind, and no file under the final name.
    """

    def __init__(self, path: Path, names: list[str]) -> None:
        self._path = path
        self._names = names
        self._seen: list[pa.DataType] = [pa.null()] * len(names)
        self._pieces: list[Path] = []
        self._writer: GroupWriter | None = None

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
        self._seen = [merge(seen, type_of(column)) for seen, column in zip(self._seen, columns, strict=True)]
        schema = self._schema()
        if self._writer and self._writer.schema != schema:
            self._writer.close()
            self._writer = None
        if not self._writer:
            self._pieces.append(self._path.with_suffix(f".piece-{len(self._pieces)}"))
            self._writer = GroupWriter(self._pieces[-1], schema)
        self._writer.add(_batch(columns, schema))

    def close(self) -> None:
        """Complete the file; without any row, it has the columns and no row."""
        if not self._writer:
            self.add([])
        if self._writer:
            self._writer.close()
        if len(self._pieces) == 1:
            self._pieces[0].replace(self._path)
            return
        whole = self._path.with_suffix(".whole")
        joined = GroupWriter(whole, self._schema())
        for batch in self._rows():
            joined.add(batch)
        joined.close()
        whole.replace(self._path)

    def _schema(self) -> pa.Schema:
        return pa.schema([(name, settle(kind)) for name, kind in zip(self._names, self._seen, strict=True)])

    def _rows(self) -> Iterator[pa.RecordBatch]:
        schema = self._schema()
        for piece in self._pieces:
            for batch in parquetfiles.batches(piece, None, ROWS_PER_BATCH):
                arrays = [
                    column if column.type == field.type else array(column.to_pylist(), field.type)
                    for column, field in zip(batch.columns, schema, strict=True)
                ]
                yield pa.RecordBatch.from_arrays(arrays, schema=schema)
            piece.unlink()


def _batch(columns: Sequence[Sequence[Any]], schema: pa.Schema) -> pa.RecordBatch:
    arrays = [array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
