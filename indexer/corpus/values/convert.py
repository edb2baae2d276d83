"""Values of whole Parquet columns: conversion to the types of an index, and the rows with a value that no answer holds.

Parquet writers put any bytes into a column of text, and any number into a column of dates. Columns are converted as a
whole by Arrow; single rows are looked at only where that fails.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from decimal import Decimal
from uuid import UUID

import pyarrow as pa

from indexer.corpus.values.servable import find_not_utf8, find_unservable
from indexer.corpus.values.stored_types import is_uuid

Reasons = dict[int, str]
"""Position of a row in a batch → why its value cannot be used."""
UUID_BYTES = 16
EXACT_FLOATS = 2**53
"""Whole numbers up to this are exact as floats."""
_PRINTABLE = re.compile(rb"[\x20-\x7e]+")


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
    is_binary = pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)
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
    remedy = ", which is binary; write it as text" if is_binary else ""
    return texts, reasons | dict.fromkeys(find_not_utf8(texts).tolist(), f"invalid UTF-8 in column {name!r}{remedy}")


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
    found = {row: f"{problem} in column {name!r}" for rows, problem in find_unservable(values) for row in rows.tolist()}
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
