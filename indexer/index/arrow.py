"""Memory-mapped Arrow tables: rows as Python values, or whole columns without a copy."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
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
        self.batches = list(batches)
        self._readers = readers
        self._starts: list[int] = list(accumulate((batch.num_rows for batch in self.batches), initial=0))
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
        return self._starts[-1]

    def row(self, row: int, columns: Sequence[str]) -> dict[str, Any]:
        """Return the named columns of one row as Python values."""
        batch = bisect_right(self._starts, row) - 1
        offset = row - self._starts[batch]
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

    Strings are decoded straight from the mapped buffer, which takes a third of the time of Arrow's own conversion.
    """
    _, bounds, data = column.buffers() if pa.types.is_string(column.type) else (None, None, None)
    if bounds is None or data is None:
        return lambda row: to_python(column[row])
    ends, text = memoryview(bounds).cast("i")[column.offset :], memoryview(data)
    if not column.null_count:
        return lambda row: str(text[ends[row] : ends[row + 1]], "utf-8")
    null = column.is_null().to_numpy(zero_copy_only=False)
    return lambda row: None if null[row] else str(text[ends[row] : ends[row + 1]], "utf-8")


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


class SortedStrings:
    """A column of strings as a sequence of UTF-8 bytes, which sort as the ids of an index do: for binary search."""

    def __init__(self, table: ArrowTable, name: str) -> None:
        self._table = table
        self._name = name

    def __len__(self) -> int:
        return len(self._table)

    def __getitem__(self, row: int) -> bytes:
        value: str = self._table.row(row, [self._name])[self._name]
        return value.encode()
