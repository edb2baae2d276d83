"""Values of whole Parquet columns: conversion to the types of an index, and the rows with a value that no answer holds.

Parquet writers put any bytes into a column of text, and any number into a column of dates. Each column is checked as a
whole by Arrow; single rows are looked at only where that check fails.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Reasons = dict[int, str]
"""Position of a row in a batch → why its value cannot be used."""
Rows = npt.NDArray[np.int64]
UUID_BYTES = 16
EXACT_FLOATS = 2**53
"""Whole numbers up to this are exact as floats."""
MAX_YEAR = 32_000
"""Arrow writes years up to 32,767, before and after Christ; a zone may shift a moment by a day."""
_DAY_SECONDS = 86_400
_MAX_SECONDS = round(MAX_YEAR * 365.2425) * _DAY_SECONDS
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_OFFSET = re.compile(r"[+-]([01]\d|2[0-3]):[0-5]\d")
_PRINTABLE = re.compile(rb"[\x20-\x7e]+")


def stored_type(kind: pa.DataType) -> pa.DataType:
    """Return the type in which an index keeps values of ``kind``.

    Dictionaries, views and extension types become the types of their values; UUIDs become text. Moments in a zone that
    this machine does not know are kept in UTC.
    """
    t = pa.types
    if isinstance(kind, pa.BaseExtensionType):
        kind = pa.string() if is_uuid(kind) else stored_type(kind.storage_type)
    elif t.is_dictionary(kind) or t.is_run_end_encoded(kind):
        kind = stored_type(kind.value_type)
    elif t.is_string_view(kind) or t.is_binary_view(kind):
        kind = pa.string() if t.is_string_view(kind) else pa.binary()
    elif t.is_timestamp(kind) and kind.tz is not None and not is_known_zone(kind.tz):
        kind = pa.timestamp(kind.unit, "UTC")
    elif t.is_struct(kind):
        kind = pa.struct([_stored_field(field) for field in kind])
    elif t.is_map(kind):
        kind = pa.map_(_stored_field(kind.key_field), _stored_field(kind.item_field))
    elif t.is_fixed_size_list(kind):
        kind = pa.list_(_stored_field(kind.value_field), kind.list_size)
    elif t.is_large_list(kind) or t.is_large_list_view(kind):
        kind = pa.large_list(_stored_field(kind.value_field))
    elif t.is_list(kind) or t.is_list_view(kind):
        kind = pa.list_(_stored_field(kind.value_field))
    return kind


def _stored_field(field: pa.Field) -> pa.Field:
    """Return a member of a list, map or struct with its stored type; there, UUIDs stay binary."""
    return field.with_type(stored_type(field.type.storage_type if is_uuid(field.type) else field.type))


def is_uuid(kind: pa.DataType) -> bool:
    """Say whether ``kind`` is Arrow's type of UUIDs."""
    return isinstance(kind, pa.UuidType)


def is_known_zone(zone: str) -> bool:
    """Say whether this machine can give times in ``zone``, the name of a zone or an offset such as +02:00."""
    if _OFFSET.fullmatch(zone):
        return True
    try:
        datetime.now(UTC).astimezone(ZoneInfo(zone))
    except (OSError, ValueError, LookupError):  # ZoneInfoNotFoundError is a LookupError
        return False
    return True


def contains(kind: pa.DataType, matches: Callable[[pa.DataType], bool]) -> bool:
    """Say whether ``kind``, or a type within it, ``matches``."""
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return contains(kind.value_type, matches)
    return matches(kind) or any(contains(kind.field(position).type, matches) for position in range(kind.num_fields))


def repeated_member(kind: pa.DataType) -> str | None:
    """Return a name that two members of one struct have, anywhere in ``kind``; None where there is none."""
    fields = [kind.field(position) for position in range(kind.num_fields)]
    names = [field.name for field in fields] if pa.types.is_struct(kind) else []
    for name in names:
        if names.count(name) > 1:
            return str(name)
    return next((name for field in fields if (name := repeated_member(field.type)) is not None), None)


def to_text(name: str, column: pa.Array) -> tuple[pa.Array, Reasons]:
    """Convert a column of ids, titles or texts to strings; say which rows cannot be converted.

    Args:
        name: of the column.
        column: of text, whole numbers, UUIDs, or binary values that hold text in UTF-8. Decimals and floats must be whole.
    """
    kind, reasons = column.type, Reasons()
    if isinstance(kind, pa.BaseExtensionType):
        column, kind = column.storage, kind.storage_type
    if pa.types.is_dictionary(kind):
        return to_text(name, column.dictionary.take(column.indices))
    if pa.types.is_fixed_size_binary(kind):
        texts = pa.array([_bytes_text(value) for value in column.to_pylist()], pa.binary()).view(pa.string())
    elif pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        values = column.to_pylist()
        for row, value in enumerate(values):
            if value is not None and not _is_whole(value):
                reasons[row], values[row] = f"column {name!r} holds {value}, not a whole number{_up_to(value)}", None
        texts = pa.array([None if value is None else str(int(value)) for value in values], pa.string())
    elif pa.types.is_binary(kind):
        texts = column.view(pa.string())
    elif pa.types.is_large_binary(kind):
        texts = column.view(pa.large_string()).cast(pa.string())
    elif pa.types.is_binary_view(kind):
        texts = column.cast(pa.binary()).view(pa.string())
    else:
        texts = column.cast(pa.string())
    return texts, reasons | dict.fromkeys(_not_utf8(texts).tolist(), f"invalid UTF-8 in column {name!r}")


def to_metadata(name: str, column: pa.Array, kind: pa.DataType) -> tuple[pa.Array, Reasons]:
    """Convert a metadata column to ``kind``; say which rows have a value that ``kind``, or an answer, cannot hold.

    The values of these rows are null.
    """
    if is_uuid(column.type):
        return to_text(name, column)
    if isinstance(column.type, pa.BaseExtensionType):
        column = column.storage
    if pa.types.is_dictionary(column.type):
        column = column.dictionary.take(column.indices)  # decoding would refuse all rows for one
    reasons = Reasons()
    try:
        values = _cast(column, kind)
    except pa.ArrowInvalid:
        for row in range(len(column)):
            try:
                _cast(column.slice(row, 1), kind)
            except pa.ArrowInvalid as error:
                if "UTF8" in str(error):
                    reasons[row] = f"invalid UTF-8 in column {name!r}"
                    continue
                reasons[row] = (
                    f"column {name!r} holds {_show(column[row])}, which {kind}, the type of all files together, "
                    "cannot hold; give the column one type in all files"
                )
        rest = _without(column, reasons)
        values = pa.nulls(len(rest), kind) if rest.null_count == len(rest) else _cast(rest, kind)
    found = {row: f"{problem} in column {name!r}" for rows, problem in _unservable(values) for row in rows.tolist()}
    return _without(values, found), reasons | found


def _cast(column: pa.Array, kind: pa.DataType) -> pa.Array:
    """Convert a column; lists of nulls without a type are made anew, since Arrow gives them too few elements."""
    if column.type == kind:
        return column
    if (pa.types.is_list(kind) or pa.types.is_large_list(kind)) and pa.types.is_null(column.type.value_type):
        values, mask = pa.nulls(len(column.values), kind.value_type), column.is_null() if column.null_count else None
        return type(column).from_arrays(column.offsets, values, mask=mask).cast(kind)
    return column.cast(kind)


def _show(value: pa.Scalar) -> str:
    """Return a value for a message."""
    try:
        return f"{value.as_py()!s:.60}"
    except (ValueError, OverflowError, LookupError):
        return f"a value of {value.type}"


def _without(column: pa.Array, rows: Iterable[int]) -> pa.Array:
    """Return a column with null in place of the values in ``rows``."""
    absent = set(rows)
    if not absent:
        return column
    return column.take(pa.array([None if row in absent else row for row in range(len(column))], pa.int64()))


def _unservable(column: pa.Array) -> Iterator[tuple[Rows, str]]:
    """Yield the rows with a value that no answer can hold, and what is wrong with it; also within lists and structs."""
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        yield _not_utf8(column), "invalid UTF-8"
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
            yield from _unservable(member)
    elif pa.types.is_map(kind):
        offsets = column.offsets.to_numpy()
        owners = np.repeat(np.arange(len(column)), np.diff(offsets))
        for member in (column.keys, column.items):
            yield from _owned(member.slice(offsets[0], offsets[-1] - offsets[0]), owners)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        yield from _owned(pc.list_flatten(column), pc.list_parent_indices(column).to_numpy())


def _owned(values: pa.Array, owners: Rows) -> Iterator[tuple[Rows, str]]:
    """Yield what `_unservable` finds in ``values``, with the rows of their ``owners``."""
    for rows, problem in _unservable(values):
        yield owners[rows], problem


def _outside(column: pa.Array, high: int, *, low: int | None = None) -> Rows:
    """Return the rows whose value, as a number of units, is beyond ``high``, or below ``low`` (default: -``high``)."""
    numbers = column.view(pa.int32() if column.type.bit_width == 32 else pa.int64()).cast(pa.int64())
    low, high = max(-high if low is None else low, -(2**63) + 1), min(high, 2**63 - 1)
    beyond = pc.or_(pc.less(numbers, low), pc.greater(numbers, high)).fill_null(False)
    return np.flatnonzero(beyond.to_numpy(zero_copy_only=False))


def _not_utf8(texts: pa.Array) -> Rows:
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


def _bytes_text(value: bytes | None) -> bytes | None:
    """Return binary values of one length as text: 16 bytes are a UUID, unless all of them are printable ASCII."""
    if value is None or len(value) != UUID_BYTES or _PRINTABLE.fullmatch(value):
        return value
    return str(UUID(bytes=value)).encode()


def _up_to(value: float | Decimal) -> str:
    """Return up to where floats are exact, for a message about a whole number beyond."""
    return f" up to {EXACT_FLOATS}; write it as text" if isinstance(value, float) and value.is_integer() else ""


def _is_whole(value: float | Decimal) -> bool:
    """Say whether an id is a whole number, and exact: floats are, up to 2**53."""
    if not math.isfinite(value) or value != int(value):
        return False
    return isinstance(value, Decimal) or abs(value) <= EXACT_FLOATS
