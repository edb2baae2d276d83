"""Columns of a memory-mapped Arrow file: one row as Python has it, or a whole column as it lies there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc


class ArrowFile:
    """A memory-mapped Arrow IPC file whose batches, all but the last, have the same number of rows."""

    def __init__(self, path: Path) -> None:
        self._reader = pa.ipc.open_file(pa.memory_map(str(path)))
        self.schema: pa.Schema = self._reader.schema
        self._columns: dict[tuple[str, ...], pa.ChunkedArray] = {}
        self.batches = [self._reader.get_batch(number) for number in range(self._reader.num_record_batches)]
        # To look a column up by its name takes longer than to read a value of it.
        self._cells = {name: [cells(batch.column(name)) for batch in self.batches] for name in self.schema.names}

    def __len__(self) -> int:
        return sum(batch.num_rows for batch in self.batches)

    def row(self, row: int, columns: list[str]) -> dict[str, Any]:
        """Return the named columns of one row as Python values."""
        size = self.batches[0].num_rows
        batch, offset = divmod(row, size)
        return {column: self._cells[column][batch](offset) for column in columns}

    def rows(self, columns: list[str]) -> Iterator[dict[str, Any]]:
        """Yield the named columns of all rows as Python values, one batch in memory at a time."""
        for batch in self.batches:
            yield from batch.select(columns).to_pylist()

    def column(self, *path: str) -> pa.ChunkedArray:
        """Return a whole column, or a field of a struct column, as it lies in the mapped file: nothing is copied."""
        if path in self._columns:
            return self._columns[path]
        top, *below = path
        kind = self.schema.field(top).type
        chunks = [batch.column(top) for batch in self.batches]
        for name in below:
            kind = kind.field(name).type
            chunks = [pc.struct_field(chunk, [name]) for chunk in chunks]
        self._columns[path] = pa.chunked_array(chunks, kind)
        return self._columns[path]

    def numbers(self, column: str) -> npt.NDArray[np.int64]:
        """Return a whole column of integers, shape (rows,)."""
        parts = [batch.column(column).to_numpy() for batch in self.batches]
        return np.concatenate(parts).astype(np.int64) if parts else np.empty(0, dtype=np.int64)


def cells(column: pa.Array) -> Callable[[int], Any]:
    """Return a function that gives the value of a row as Python has it.

    Strings are taken from where they lie in the file, which takes a third of the time of Arrow's own way.
    """
    _, bounds, data = column.buffers() if pa.types.is_string(column.type) else (None, None, None)
    if bounds is None or data is None:
        return lambda row: to_python(column[row])
    ends, text = memoryview(bounds).cast("i")[column.offset :], memoryview(data)
    if not column.null_count:
        return lambda row: str(text[ends[row] : ends[row + 1]], "utf-8")
    null = column.is_null().to_numpy(zero_copy_only=False)
    return lambda row: None if null[row] else str(text[ends[row] : ends[row + 1]], "utf-8")


def to_python(scalar: pa.Scalar) -> Any:
    """Return an Arrow value as Python has it; as text where Python has no such value (nanoseconds, the year 10000)."""
    try:
        return scalar.as_py()
    except (ValueError, OverflowError):
        if pa.types.is_struct(scalar.type):
            return {field.name: to_python(scalar[field.name]) for field in scalar.type}
        if pa.types.is_list(scalar.type) or pa.types.is_large_list(scalar.type):
            return [to_python(value) for value in scalar.values]
        return scalar.cast(pa.string()).as_py()


class SortedStrings:
    """A column of strings as a sequence of their UTF-8 bytes, which sort as the index was sorted."""

    def __init__(self, file: ArrowFile, name: str) -> None:
        self._file = file
        self._name = name

    def __len__(self) -> int:
        return len(self._file)

    def __getitem__(self, row: int) -> bytes:
        value: str = self._file.row(row, [self._name])[self._name]
        return value.encode()
