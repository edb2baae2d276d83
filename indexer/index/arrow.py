"""Memory-mapped Arrow tables: rows as Python values, or whole columns without a copy."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property, lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

CellReader = Callable[[int], Any]
"""From the number of a row to its value, in one column of one batch."""
ZERO = timedelta()
_NUMBERS: dict[pa.DataType, Any] = {pa.int8(): "b", pa.int16(): "h", pa.int32(): "i", pa.int64(): "q", pa.uint8(): "B", pa.uint16(): "H",
            pa.uint32(): "I", pa.uint64(): "Q", pa.float32(): "f", pa.float64(): "d"}  # fmt: skip
"""Type of numbers → its code in `memoryview.cast`."""
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


class ArrowTable:
    """Record batches of one schema, read row by row or column by column.

    Args:
        schema: of every batch.
        batches: the rows, in order.
    """

    def __init__(self, schema: pa.Schema, batches: Sequence[pa.RecordBatch]) -> None:
        # Made once, since looking a column up by its name takes longer than reading a value of it.
        readers = {name: [cell_reader(batch.column(name)) for batch in batches] for name in schema.names}
        self._fill(schema, batches, readers)

    def _fill(self, schema: pa.Schema, batches: Sequence[pa.RecordBatch], readers: dict[str, list[CellReader]]) -> None:
        self.schema = schema
        self.names: list[str] = schema.names
        self.batches = list(batches)
        self._readers = readers
        self.starts: list[int] = list(accumulate((batch.num_rows for batch in self.batches), initial=0))
        """Row of the first value of each batch, and one past the last."""
        self._columns: dict[tuple[str, ...], pa.ChunkedArray] = {}
        self._origin: ArrowTable | None = None

    @classmethod
    def open(cls, path: Path) -> Self:
        """Map an Arrow IPC file into memory; of a folder, its files in the order of their names."""
        paths = sorted(path.iterdir()) if path.is_dir() else [path]
        readers = [pa.ipc.open_file(pa.memory_map(str(each))) for each in paths]
        batches = [reader.get_batch(number) for reader in readers for number in range(reader.num_record_batches)]
        return cls(readers[0].schema, batches)

    def with_batch(self, batch: pa.RecordBatch) -> Self:
        """Return a table with the rows of ``batch`` appended; no row is copied."""
        if not batch.num_rows:
            return self
        table = type(self).__new__(type(self))
        readers = {name: [*known, cell_reader(batch.column(name))] for name, known in self._readers.items()}
        table._fill(self.schema, [*self.batches, batch], readers)  # noqa: SLF001 - of the same class
        table._origin = self.origin  # noqa: SLF001 - as above
        return table

    @property
    def origin(self) -> ArrowTable:
        """The table to which rows were appended; itself where none were."""
        return self._origin or self

    def __len__(self) -> int:
        return self.starts[-1]

    def row(self, row: int, columns: Sequence[str]) -> dict[str, Any]:
        """Return the named columns of one row as Python values."""
        batch = bisect_right(self.starts, row) - 1
        offset = row - self.starts[batch]
        return {column: self._readers[column][batch](offset) for column in columns}

    def rows(self, columns: list[str]) -> Iterator[dict[str, Any]]:
        """Yield the named columns of all rows as Python values, one batch in memory at a time."""
        for batch in self.batches:
            yield from batch.select(columns).to_pylist()

    def column(self, *path: str) -> pa.ChunkedArray:
        """Return a whole column, or a field of a struct column, without copying it out of the mapped file.

        Args:
            path: name of the column, then the names of the struct fields that lead to the values.
        """
        if path in self._columns:
            return self._columns[path]
        name, *fields = path
        kind = self.schema.field(name).type
        chunks = [batch.column(name) for batch in self.batches]
        for field in fields:
            kind = kind.field(field).type
            chunks = [pc.struct_field(chunk, [field]) for chunk in chunks]
        self._columns[path] = pa.chunked_array(chunks, kind)
        return self._columns[path]

    def numbers(self, column: str) -> npt.NDArray[np.int64]:
        """Return a whole column of integers, shape (rows,)."""
        parts = [batch.column(column).to_numpy() for batch in self.batches]
        return np.concatenate(parts).astype(np.int64) if parts else np.empty(0, dtype=np.int64)


def fixed_bytes(column: pa.FixedSizeBinaryArray) -> npt.NDArray[np.void]:
    """Return a column of byte strings of one length as an array, without copying it."""
    width = column.type.byte_width
    values = np.frombuffer(column.buffers()[1], dtype=f"V{width}")
    return values[column.offset : column.offset + len(column)]


def cell_reader(column: pa.Array) -> CellReader:
    """Return a function from the number of a row to its value as a Python object.

    Strings, also those in structs, are decoded straight from the mapped buffer, which takes a third of the time of Arrow's
    own conversion.
    """
    if pa.types.is_struct(column.type) and not column.null_count:
        fields = [(field.name, cell_reader(column.field(place))) for place, field in enumerate(column.type)]
        return lambda row: {name: read(row) for name, read in fields}
    if (code := _NUMBERS.get(column.type)) and len(column) and not column.null_count:
        numbers = memoryview(column.buffers()[1]).cast(code)[column.offset :]
        return lambda row: numbers[row]
    if (buffers := _string_buffers(column)) is None:
        # Looking up whether a type is plain takes as long as reading a value.
        return (lambda row: column[row].as_py()) if _is_plain(column.type) else (lambda row: to_python(column[row]))
    ends, text = buffers
    if not column.null_count:
        return lambda row: str(text[ends[row] : ends[row + 1]], "utf-8")
    null = column.is_null().to_numpy(zero_copy_only=False)
    return lambda row: None if null[row] else str(text[ends[row] : ends[row + 1]], "utf-8")


def bytes_reader(column: pa.Array) -> Callable[[int], bytes]:
    """Return a function from the number of a row to the UTF-8 of its string, for a column without nulls."""
    if (buffers := _string_buffers(column)) is None:
        return lambda row: str(column[row].as_py()).encode()
    ends, text = buffers
    return lambda row: bytes(text[ends[row] : ends[row + 1]])


def _string_buffers(column: pa.Array) -> tuple[memoryview, memoryview] | None:
    """Return the bounds of a column's strings, from its first row on, and their UTF-8; None where it has no strings."""
    width: Any = "i" if pa.types.is_string(column.type) else "q" if pa.types.is_large_string(column.type) else None
    _, bounds, data = column.buffers() if width else (None, None, None)
    if width is None or bounds is None or data is None:
        return None
    return memoryview(bounds).cast(width)[column.offset :], memoryview(data)


def is_scalar(kind: pa.DataType) -> bool:
    """Say whether values of an Arrow type are single ones, by what the type is and not by how its name begins."""
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return is_scalar(kind.value_type)
    if isinstance(kind, pa.BaseExtensionType):
        return is_scalar(kind.storage_type)
    return not pa.types.is_nested(kind)


def to_python(scalar: pa.Scalar) -> Any:
    """Return an Arrow value as a Python object, or as text where Python has none (nanoseconds, the year 10000)."""
    kind = scalar.type
    if _is_plain(kind) or not scalar.is_valid:
        return scalar.as_py()
    if pa.types.is_dictionary(kind):
        return to_python(scalar.value)
    if pa.types.is_struct(kind):
        return {field.name: to_python(scalar[field.name]) for field in kind}
    if pa.types.is_map(kind):
        keys, items = (scalar.values.field(position) for position in (0, 1))  # their names are the writer's
        return [(to_python(key), to_python(item)) for key, item in zip(keys, items, strict=True)]
    if kind.num_fields:
        return [to_python(value) for value in scalar.values]
    return _temporal_to_python(scalar)


@lru_cache(maxsize=1024)
def _is_plain(kind: pa.DataType) -> bool:
    """Say whether Python has an object for every value of a type: there are neither dates nor times in it."""
    if pa.types.is_dictionary(kind):
        return _is_plain(kind.value_type)
    if kind.num_fields:
        return all(_is_plain(kind.field(position).type) for position in range(kind.num_fields))
    return not pa.types.is_temporal(kind)


def _temporal_to_python(scalar: pa.Scalar) -> Any:
    """Return a date, time or duration; Python's own have no nanoseconds, and the years 1 to 9999 only.

    Moments are in the zone of their column where its offset is in whole minutes, as ISO 8601 has it; else in UTC. Before
    zones had standard times, that of Berlin was 53:28 minutes.
    """
    kind = scalar.type
    try:
        if getattr(kind, "unit", None) == "ns":  # pandas, where it is imported, would drop them later
            if scalar.value % 1000:
                return _temporal_text(scalar)
            coarser = {pa.time64("ns"): pa.time64("us"), pa.duration("ns"): pa.duration("us")}
            scalar = scalar.cast(coarser.get(kind) or pa.timestamp("us", kind.tz))
        value = scalar.as_py()
        return value if _in_whole_minutes(value) else value.astimezone(UTC)
    except (ValueError, OverflowError, LookupError):
        return _temporal_text(scalar)


def _in_whole_minutes(value: Any) -> bool:
    """Say whether a moment has an offset from UTC in whole minutes, or none."""
    return not isinstance(value, datetime) or not value.tzinfo or not (value.utcoffset() or ZERO).seconds % 60


def _temporal_text(scalar: pa.Scalar) -> str:
    kind = scalar.type
    if pa.types.is_duration(kind):
        whole, part = divmod(abs(scalar.value), _PER_SECOND[kind.unit])
        fraction = f".{part:0{len(str(_PER_SECOND[kind.unit])) - 1}}".rstrip("0") if part else ""
        return f"{'-' if scalar.value < 0 else ''}PT{whole}{fraction}S"
    if pa.types.is_timestamp(kind) and kind.tz:
        try:
            whole_minutes = _in_whole_minutes(scalar.cast(pa.timestamp("us", kind.tz), safe=False).as_py())
        except (ValueError, OverflowError, LookupError):  # a year, or a zone, that Python does not know
            whole_minutes = False
        if not whole_minutes:
            scalar = scalar.cast(pa.timestamp(kind.unit, "UTC"))
    text: str = scalar.cast(pa.string()).as_py()
    return text


FENCE = 64
"""Rows between two strings that are kept in memory."""


class SortedStrings:
    """A column of strings as a sequence of UTF-8 bytes, which sort as the ids of an index do: for binary search."""

    def __init__(self, table: ArrowTable, name: str) -> None:
        self._starts = table.starts
        self._readers = [bytes_reader(batch.column(name)) for batch in table.batches]

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, row: int) -> bytes:
        batch = bisect_right(self._starts, row) - 1
        return self._readers[batch](row - self._starts[batch])

    def find(self, key: bytes) -> int:
        """Return the row of the first string that is ``key`` or sorts behind it; the number of rows where none does."""
        fence = bisect_left(self._fences, key)  # most of the search: it reads none of the mapped file
        first, end = fence * FENCE - FENCE + 1, min(fence * FENCE, len(self))
        return bisect_left(self, key, max(first, 0), end)

    @cached_property
    def _fences(self) -> list[bytes]:
        """Every `FENCE`-th string, from the first one on."""
        return [self[row] for row in range(0, len(self), FENCE)]
