"""Values of whole columns that no answer can hold: bytes that are not UTF-8, and times beyond the years that are written.

Each column is checked as a whole by Arrow; single rows are looked at only where that check fails.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Rows = npt.NDArray[np.int64]
MAX_YEAR = 32_000
"""Arrow writes years up to 32,767, before and after Christ; a zone may shift a moment by a day."""
_DAY_SECONDS = 86_400
_MAX_SECONDS = round(MAX_YEAR * 365.2425) * _DAY_SECONDS
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def find_unservable(column: pa.Array) -> Iterator[tuple[Rows, str]]:
    """Yield the rows with a value that no answer can hold, and what is wrong with it; also within lists and structs."""
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        yield find_not_utf8(column), "invalid UTF-8"
    elif pa.types.is_timestamp(kind):
        yield _outside(column, _MAX_SECONDS * _PER_SECOND[kind.unit]), "a time beyond the year 32000"
    elif pa.types.is_date32(kind):
        yield _outside(column, _MAX_SECONDS // _DAY_SECONDS), "a date beyond the year 32000"
    elif pa.types.is_date64(kind):
        yield _outside(column, _MAX_SECONDS * 1000), "a date beyond the year 32000"
    elif pa.types.is_time(kind):
        yield _outside(column, _DAY_SECONDS * _PER_SECOND[kind.unit] - 1, low=0), "a time of day beyond 24 hours"
    elif pa.types.is_struct(kind):
        for member in column.flatten():
            yield from find_unservable(member)
    elif pa.types.is_map(kind):
        offsets = column.offsets.to_numpy()
        owners = np.repeat(np.arange(len(column)), np.diff(offsets))
        for member in (column.keys, column.items):
            yield from _owned(member.slice(offsets[0], offsets[-1] - offsets[0]), owners)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        yield from _owned(pc.list_flatten(column), pc.list_parent_indices(column).to_numpy())


def _owned(values: pa.Array, owners: Rows) -> Iterator[tuple[Rows, str]]:
    """Yield what `find_unservable` finds in ``values``, with the rows of their ``owners``."""
    for rows, problem in find_unservable(values):
        yield owners[rows], problem


def _outside(column: pa.Array, high: int, *, low: int | None = None) -> Rows:
    """Return the rows whose value, as a number of units, is beyond ``high``, or below ``low`` (default: -``high``)."""
    numbers = column.view(pa.int32() if column.type.bit_width == 32 else pa.int64()).cast(pa.int64())
    low, high = max(-high if low is None else low, -(2**63) + 1), min(high, 2**63 - 1)
    beyond = pc.or_(pc.less(numbers, low), pc.greater(numbers, high)).fill_null(False)
    return np.flatnonzero(beyond.to_numpy(zero_copy_only=False))


def find_not_utf8(texts: pa.Array) -> Rows:
    """Return the rows that are not UTF-8: Parquet writers may put any bytes into a text column."""
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        raw = texts.view(pa.large_binary() if pa.types.is_large_string(texts.type) else pa.binary()).to_pylist()
        return np.array([row for row, value in enumerate(raw) if not _is_utf8(value or b"")], np.int64)
    return np.empty(0, np.int64)


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True
