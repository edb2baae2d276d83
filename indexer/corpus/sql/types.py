"""From the Python values that database drivers return to Arrow: types that hold for every row, not only for the first.

Drivers agree on Python's types and on little else; SQLite has no column types at all. So the values decide.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from functools import reduce
from types import NoneType
from typing import Any

import pyarrow as pa

_INTEGER_DIGITS, _FRACTION_DIGITS = 18, 20  # together what decimal128 holds, so that two of them always have a third
_JSON = (bool, int, float, list, tuple, dict)
_SIMPLE: dict[type, pa.DataType] = {
    NoneType: pa.null(),
    bool: pa.bool_(),
    float: pa.float64(),
    bytes: pa.binary(),
    bytearray: pa.binary(),
    memoryview: pa.binary(),
    date: pa.date32(),
}
_NUMBERS = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)


def type_of(values: Sequence[Any]) -> pa.DataType:
    """Return the narrowest type that holds ``values``: null where all are None, text where they have none in common.

    Decimals keep their digits, up to 18 before and 20 after the point; longer ones and whole numbers beyond 64 bits are
    text. Times with a zone, intervals, UUIDs, ranges and addresses are text; a JSON object is its JSON text.
    """
    kinds = set(map(type, values))
    return reduce(merge, (_type_of(kind, values) for kind in kinds), pa.null())


def merge(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    """Return a type that holds the values of both: text where nothing narrower does."""
    if one == other or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    if pa.types.is_decimal(one) and pa.types.is_decimal(other):
        return max(one, other, key=lambda kind: kind.scale)
    if all(any(is_kind(kind) for is_kind in _NUMBERS) for kind in (one, other)):
        return pa.float64()
    if pa.types.is_list(one) and pa.types.is_list(other):
        return pa.list_(merge(one.value_type, other.value_type))
    return pa.string()


def settle(kind: pa.DataType) -> pa.DataType:
    """Return the type to store: text where no value has said anything yet."""
    if pa.types.is_list(kind):
        return pa.list_(settle(kind.value_type))
    return pa.string() if pa.types.is_null(kind) else kind


def array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """Convert values to ``kind``, which must hold them."""
    convert = _converter(kind)
    if convert and not (kind == pa.string() and set(map(type, values)) <= {str, NoneType}):
        values = [None if value is None else convert(value) for value in values]
    return pa.array(values, kind)


def _type_of(kind: type, values: Sequence[Any]) -> pa.DataType:
    """Return the type for those of ``values`` whose Python type is ``kind``."""
    if simple := _SIMPLE.get(kind):
        return simple
    learn = _LEARNED.get(kind)
    return learn([value for value in values if type(value) is kind]) if learn else pa.string()


def _integer(values: list[int]) -> pa.DataType:
    return pa.int64() if min(values) >= -(2**63) and max(values) < 2**63 else pa.string()


def _instant(values: list[datetime]) -> pa.DataType:
    zones = {value.tzinfo is not None for value in values}
    return pa.string() if len(zones) > 1 else pa.timestamp("us", "UTC" if zones == {True} else None)


def _time(values: list[time]) -> pa.DataType:
    return pa.string() if any(value.tzinfo for value in values) else pa.time64("us")


def _list(values: list[Sequence[Any]]) -> pa.DataType:
    return pa.list_(type_of([member for value in values for member in value]))


def _decimals(values: list[Decimal]) -> pa.DataType:
    shapes = {(len(digits), exponent) for _, digits, exponent in map(Decimal.as_tuple, values)}
    return reduce(merge, (_decimal(*shape) for shape in shapes))


def _decimal(digits: int, exponent: int | str) -> pa.DataType:
    if isinstance(exponent, str):  # NaN and Infinity
        return pa.float64()
    fraction = max(-exponent, 0)
    if fraction > _FRACTION_DIGITS or digits + exponent > _INTEGER_DIGITS:
        return pa.string()
    return pa.decimal128(_INTEGER_DIGITS + _FRACTION_DIGITS, fraction)


_LEARNED: dict[type, Callable[[list[Any]], pa.DataType]] = {
    int: _integer,
    Decimal: _decimals,
    datetime: _instant,
    time: _time,
    list: _list,
    tuple: _list,
}


def _converter(kind: pa.DataType) -> Callable[[Any], Any] | None:
    """Return what has to be done to a value that is not None before Arrow takes it as ``kind``."""
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
        return "\\x" + bytes(value).hex()  # as PostgreSQL shows them
    if isinstance(value, _JSON):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)
