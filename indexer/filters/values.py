"""Conversion of JSON values to Arrow scalars of a column's type, without rounding errors.

JSON has texts, numbers, true and false; a column has whole numbers of eight types, decimals, dates and times. Values of
most of these types are on a grid: one, a cent, a microsecond apart. A bound between two of them is moved to the next
one that means the same: with a column of cents, `price < 9.999` becomes `price < 10.00`. No column is ever cast.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from decimal import Decimal
from fractions import Fraction
from typing import Literal

import pyarrow as pa

from indexer.corpus.values.servable import MAX_YEAR

Kind = Literal["text", "boolean", "number", "moment", "time"]
"""What values are compared with; a moment is a date or a date with a time, a time is a time of day."""
JsonValue = bool | int | float | str

EXPECTED: dict[Kind, str] = {
    "text": "compare it with a text",
    "boolean": "ask whether it is true or false with eq",
    "number": "compare it with a number",
    "moment": "compare it with a date or time as ISO 8601 writes it, such as 2026-11-21 or 2026-11-21T18:30:00Z",
    "time": "compare it with a time of day such as 18:30",
}
NANOSECONDS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
"""Nanoseconds in each unit of Arrow's times."""
DAY = 86_400 * 10**9
"""Nanoseconds."""
CYCLE_DAYS = 146_097
"""Days of 400 years."""
_DECIMAL = re.compile(r"-?\d{1,76}(\.\d{1,76})?", re.ASCII)
_CLOCK = r"(?P<clock>\d\d:\d\d(:\d\d)?)((?<=:\d\d:\d\d)[.,](?P<fraction>\d{1,9}))?"
ISO: dict[Kind, re.Pattern[str]] = {
    "moment": re.compile(
        rf"(?P<year>-?\d{{4,5}})(?P<day>-\d\d-\d\d)([T ]{_CLOCK}(?P<offset>Z|[+-]\d\d:?\d\d)?)?", re.ASCII
    ),
    "time": re.compile(_CLOCK, re.ASCII),
}


def kind_of(type_: pa.DataType) -> Kind | None:
    """Return what values of an Arrow type are compared with; None where only their existence can be tested."""
    t = pa.types
    if t.is_string(type_) or t.is_large_string(type_):
        return "text"
    if t.is_boolean(type_):
        return "boolean"
    if t.is_integer(type_) or t.is_floating(type_) or t.is_decimal(type_):
        return "number"
    if t.is_timestamp(type_) or t.is_date(type_):
        return "moment"
    if t.is_time(type_):
        return "time"
    return None


def is_comparable(value: JsonValue, type_: pa.DataType) -> bool:
    """Say whether a value can be compared with values of a type; decimals also with their texts, which are exact."""
    if pa.types.is_decimal(type_) and isinstance(value, str):
        return _DECIMAL.fullmatch(value) is not None
    kind = kind_of(type_)
    if kind in ISO:
        return isinstance(value, str) and nanoseconds(value, kind) is not None
    if kind == "boolean" or isinstance(value, bool):  # a subclass of int in Python
        return kind == "boolean" and isinstance(value, bool)
    return isinstance(value, str) == (kind == "text")


def to_scalar(value: JsonValue, type_: pa.DataType) -> pa.Scalar | None:
    """Return a value as a scalar of ``type_``; None where no value of the type equals it."""
    if pa.types.is_floating(type_):
        return pa.scalar(_double(value), type_)
    if kind_of(type_) in {"text", "boolean"}:
        return pa.scalar(value, type_)
    steps = _steps(value, type_)
    low, high = _limits(type_)
    return _from_steps(int(steps), type_) if steps.denominator == 1 and low <= steps <= high else None


def bound_scalar(value: JsonValue, type_: pa.DataType, *, up: bool) -> pa.Scalar | bool:
    """Return a bound as a scalar of ``type_``, moved to the next value of the type: ``up`` or down.

    Returns:
        The scalar; or, for a bound outside the type, True if it is below all values of the type, False if it is above.
    """
    if pa.types.is_floating(type_):
        return pa.scalar(_double(value), type_)
    if kind_of(type_) == "text":
        return pa.scalar(value, type_)
    exact = _steps(value, type_)
    steps = math.ceil(exact) if up else math.floor(exact)
    low, high = _limits(type_)
    if low <= steps <= high:
        return _from_steps(steps, type_)
    return steps < low


def nanoseconds(text: str, kind: Kind) -> int | None:
    """Return the nanoseconds of an ISO 8601 text since 1970 or, of a time of day, since midnight; None for other texts.

    A moment without an offset is in UTC; a date stands for its midnight. Years are those of an index: before 1 (0000 is
    the year before) and after 9999 as well.
    """
    match = ISO[kind].fullmatch(text)
    if not match:
        return None
    names = ("year", "day", "clock", "fraction", "offset")
    year, day, clock, fraction, offset = (match.groupdict().get(name) for name in names)
    if abs(int(year or 0)) > MAX_YEAR:
        return None
    # Python has the years 1 to 9999 only; the calendar repeats itself after 400 years.
    cycles, place = divmod(int(year or 1970) - 2000, 400)
    try:
        moment = dt.datetime.fromisoformat(f"{2000 + place}{day or '-01-01'}T{clock or '00:00'}{offset or 'Z'}")
    except ValueError:
        return None
    since = moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    days = since.days + cycles * CYCLE_DAYS
    return (days * 86_400 + since.seconds) * 10**9 + int((fraction or "").ljust(9, "0"))


def has_offset(text: str) -> bool:
    """Say whether an ISO 8601 text of a moment states its offset from UTC."""
    match = ISO["moment"].fullmatch(text)
    return bool(match and match["offset"])


def _double(value: JsonValue) -> float:
    try:
        return float(value)
    except OverflowError:  # a whole number beyond the range of doubles
        return math.inf if Fraction(value) > 0 else -math.inf


def _steps(value: JsonValue, type_: pa.DataType) -> Fraction:
    """Return a value in steps of the type's grid."""
    kind = kind_of(type_)
    if kind in ISO:
        return Fraction(nanoseconds(str(value), kind) or 0, _step(type_))
    if pa.types.is_decimal(type_):
        return Fraction(str(value)) * Fraction(10) ** int(type_.scale)
    return Fraction(value)


def _step(type_: pa.DataType) -> int:
    return DAY if pa.types.is_date(type_) else NANOSECONDS[type_.unit]


def _limits(type_: pa.DataType) -> tuple[int, int]:
    """Return the smallest and the largest value of a type, in steps of its grid."""
    if pa.types.is_decimal(type_):
        return -(10**type_.precision) + 1, 10**type_.precision - 1
    if pa.types.is_date64(type_):
        return -(2**63) // 86_400_000 + 1, 2**63 // 86_400_000 - 1
    bits = type_.bit_width
    unsigned = pa.types.is_unsigned_integer(type_)
    return (0, 2**bits - 1) if unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def _from_steps(steps: int, type_: pa.DataType) -> pa.Scalar:
    if pa.types.is_decimal(type_):
        digits = tuple(map(int, str(abs(steps))))
        return pa.scalar(Decimal((int(steps < 0), digits, -type_.scale)), type_)
    if pa.types.is_integer(type_):
        return pa.scalar(steps, type_)
    if pa.types.is_date64(type_):
        return pa.scalar(steps * 86_400_000, pa.int64()).cast(type_)
    return pa.scalar(steps, pa.int32() if type_.bit_width == 32 else pa.int64()).cast(type_)
