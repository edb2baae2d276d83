"""Arrow types of the Python values that database drivers return: types that hold for every row, not only for the first.

The types are inferred from the values: drivers agree on little but Python's types, and SQLite has no column types.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from functools import reduce
from types import NoneType
from typing import Any

import pyarrow as pa

_INTEGER_DIGITS, _FRACTION_DIGITS = 18, 20  # together all digits of decimal128: two decimals always have a common type
_LONG_DECIMAL = _INTEGER_DIGITS + _FRACTION_DIGITS
_SHORT_DECIMAL = _LONG_DECIMAL - 1
"""Precision that stands for decimals of so few digits that floats hold them too; others become text beside a float."""
_EXACT = pa.int32()
"""Stands for whole numbers that floats hold too; those of `pa.int64()` become text beside a float."""
_JSON = (bool, int, float, list, tuple, dict)
_FIXED: dict[type, pa.DataType] = {
    NoneType: pa.null(),
    bool: pa.bool_(),
    float: pa.float64(),
    bytes: pa.binary(),
    bytearray: pa.binary(),
    memoryview: pa.binary(),
    date: pa.date32(),
}
_NUMBERS = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)


def infer_type(values: Sequence[Any]) -> pa.DataType:
    """Return the narrowest type that holds ``values``: null where all are None, text where there is no common type.

    Decimals keep their digits, up to 18 before and 20 after the point; longer ones and whole numbers beyond 64 bits are
    text. Times with a zone, intervals, UUIDs, ranges and addresses are text; a JSON object is its JSON text.
    """
    kinds = set(map(type, values))
    return reduce(merge_types, (_infer_one_kind(kind, values) for kind in kinds), pa.null())


def merge_types(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    """Return a type that holds the values of both: text where nothing narrower does."""
    if one == other or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    if all(any(is_kind(kind) for is_kind in _NUMBERS) for kind in (one, other)):
        return _merge_numbers(one, other)
    if pa.types.is_list(one) and pa.types.is_list(other):
        return pa.list_(merge_types(one.value_type, other.value_type))
    return pa.string()


def _merge_numbers(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    """Return a type that holds the numbers of both as they are: text for long numbers beside floats."""
    if pa.types.is_decimal(one) and pa.types.is_decimal(other):
        return pa.decimal128(max(one.precision, other.precision), max(one.scale, other.scale))
    if {one, other} == {_EXACT, pa.int64()}:
        return pa.int64()
    return pa.float64() if all(map(_fits_float, (one, other))) else pa.string()


def _fits_float(kind: pa.DataType) -> bool:
    """Say whether floats hold all numbers of an inferred type."""
    return bool(kind.precision == _SHORT_DECIMAL if pa.types.is_decimal(kind) else kind != pa.int64())


def storage_type(kind: pa.DataType) -> pa.DataType:
    """Return the type to store: whole numbers of 64 bits, and text in place of null, which means that no value was seen."""
    if pa.types.is_list(kind):
        return pa.list_(storage_type(kind.value_type))
    if pa.types.is_decimal(kind):
        return pa.decimal128(_LONG_DECIMAL, kind.scale)
    return pa.string() if pa.types.is_null(kind) else pa.int64() if kind == _EXACT else kind


def to_array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """Convert values to ``kind``, which must hold them."""
    convert = _converter(kind)
    if convert and not (kind == pa.string() and set(map(type, values)) <= {str, NoneType}):
        values = [None if value is None else convert(value) for value in values]
    try:
        return pa.array(values, kind)
    except UnicodeEncodeError:  # bytes that are not UTF-8, as lone surrogates: a reject when the rows are checked
        if kind != pa.string():
            raise
        raw = [None if value is None else value.encode("utf-8", "surrogateescape") for value in values]
        return pa.array(raw, pa.binary()).view(pa.string())


def _infer_one_kind(kind: type, values: Sequence[Any]) -> pa.DataType:
    """Return the type for those of ``values`` whose Python type is ``kind``."""
    if simple := _FIXED.get(kind):
        return simple
    infer = _INFER.get(kind)
    return infer([value for value in values if type(value) is kind]) if infer else pa.string()


def _infer_integer(values: list[int]) -> pa.DataType:
    if min(values) < -(2**63) or max(values) >= 2**63:
        return pa.string()
    return _EXACT if all(int(float(value)) == value for value in values) else pa.int64()


def _infer_timestamp(values: list[datetime]) -> pa.DataType:
    zones = {value.tzinfo is not None for value in values}
    return pa.string() if len(zones) > 1 else pa.timestamp("us", "UTC" if zones == {True} else None)


def _infer_time(values: list[time]) -> pa.DataType:
    return pa.string() if any(value.tzinfo for value in values) else pa.time64("us")


def _infer_list(values: list[Sequence[Any]]) -> pa.DataType:
    return pa.list_(infer_type([member for value in values for member in value]))


def _infer_decimal(values: list[Decimal]) -> pa.DataType:
    shapes = {(len(digits), exponent) for _, digits, exponent in map(Decimal.as_tuple, values)}
    return reduce(merge_types, (_decimal_type(*shape) for shape in shapes))


def _decimal_type(digits: int, exponent: int | str) -> pa.DataType:
    if isinstance(exponent, str):  # NaN and Infinity
        return pa.float64()
    fraction = max(-exponent, 0)
    if fraction > _FRACTION_DIGITS or digits + exponent > _INTEGER_DIGITS:
        return pa.string()
    return pa.decimal128(_SHORT_DECIMAL if digits <= sys.float_info.dig else _LONG_DECIMAL, fraction)


_INFER: dict[type, Callable[[list[Any]], pa.DataType]] = {
    int: _infer_integer,
    Decimal: _infer_decimal,
    datetime: _infer_timestamp,
    time: _infer_time,
    list: _infer_list,
    tuple: _infer_list,
}


def _converter(kind: pa.DataType) -> Callable[[Any], Any] | None:
    """Return the function that converts a value other than None to one that Arrow takes as ``kind``; None for no change."""
    if pa.types.is_string(kind):
        return _text
    if pa.types.is_floating(kind):
        return float
    if pa.types.is_binary(kind):
        return bytes
    if pa.types.is_list(kind) and (inner := _converter(kind.value_type)):
        return lambda value: [None if member is None else inner(member) for member in value]
    return None


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).decode("utf-8", "surrogateescape")  # text that SQLite holds as a BLOB
    if isinstance(value, _JSON):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)
