"""JSON metadata converted to the types of an index's columns, or refused with the reason."""

from __future__ import annotations

import base64
import math
import re
from decimal import Decimal
from typing import Any, NamedTuple

import pyarrow as pa

from indexer.filters.values import NANOSECONDS, Kind, has_offset, kind_of, nanoseconds, to_scalar
from indexer.index.arrow import to_python

DURATION = re.compile(
    r"(?P<sign>[+-]?)P(?:(?P<years>\d+)Y)?(?:(?P<months>\d+)M)?(?:(?P<weeks>\d+)W)?(?:(?P<days>\d+)D)?"
    r"(?:T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+)(?:[.,](?P<fraction>\d{1,9}))?S)?)?",
    re.ASCII,
)
DAY = 86_400
UNIT_SECONDS = {
    "years": 365 * DAY,
    "months": 30 * DAY,
    "weeks": 7 * DAY,
    "days": DAY,
    "hours": 3600,
    "minutes": 60,
    "seconds": 1,
}
"""Parts of an ISO 8601 duration. Years and months are as long as they are in results."""


class MetadataError(ValueError):
    """A value that a column cannot hold."""


class FittedMetadata(NamedTuple):
    """Metadata converted to the types of columns.

    Attributes:
        types: of the columns.
        values: those that fit, by column, as `pyarrow.array` takes them.
        errors: by column, why the other values do not fit.
    """

    types: dict[str, pa.DataType]
    values: dict[str, Any]
    errors: dict[str, str]


def fit_metadata(metadata: dict[str, Any], types: dict[str, pa.DataType]) -> FittedMetadata:
    """Convert JSON metadata to the types of an index's columns.

    Args:
        metadata: as JSON has it.
        types: of the index's columns; a column without a value is null.
    """
    values: dict[str, Any] = {}
    errors: dict[str, str] = {}
    for name, value in metadata.items():
        if name not in types:
            known = ", ".join(types) or "none"
            errors[name] = f"the index has no such column (there are: {known})"
            continue
        try:
            fitted = fit(value, types[name])
            pa.array([fitted], types[name])  # what an overlay does with it, and what may still fail
            values[name] = fitted
        except (pa.ArrowException, ArithmeticError, ValueError, TypeError, RecursionError) as error:
            reason = str(error) if isinstance(error, MetadataError) else f"{value!r:.60} is no {types[name]}"
            errors[name] = f"{reason}; the column holds {types[name]}"
    return FittedMetadata(types, values, errors)


def column_types(schema: pa.Schema) -> dict[str, pa.DataType]:
    """Return names and types of the metadata columns of an index whose documents have this schema."""
    return {field.name: field.type for field in schema.field("metadata").type} if "metadata" in schema.names else {}


def fit(value: Any, kind: pa.DataType) -> Any:
    """Convert a JSON value to what `pyarrow.array` takes for the type ``kind``.

    Dates, times, durations, decimals and binary values are given as the texts that the service returns for them.

    Raises:
        MetadataError: the value does not fit the type.
        pa.ArrowException: the same, also as ArithmeticError, ValueError or TypeError.
    """
    if value is None:
        return None
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        if not isinstance(value, list):
            raise MetadataError(f"{value!r:.60} is no list")
        if pa.types.is_fixed_size_list(kind) and len(value) != kind.list_size:
            raise MetadataError(f"the list has {len(value)} values, and needs {kind.list_size}")
        return [fit(item, kind.value_type) for item in value]
    if pa.types.is_struct(kind):
        return _fit_struct(value, kind)
    if pa.types.is_map(kind):
        if not isinstance(value, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in value):
            raise MetadataError(f"{value!r:.60} is no list of pairs")
        if any(key is None for key, _ in value):
            raise MetadataError("a key is null")
        return [(fit(key, kind.key_type), fit(item, kind.item_type)) for key, item in value]
    if pa.types.is_dictionary(kind):
        return to_python(fit(value, kind.value_type))  # Arrow crashes on a scalar there
    return _fit_scalar(value, kind)


def _fit_struct(value: Any, kind: pa.StructType) -> dict[str, Any]:
    fields = {field.name: field.type for field in kind}
    if not isinstance(value, dict):
        raise MetadataError(f"{value!r:.60} is no object")
    if unknown := [name for name in value if name not in fields]:
        raise MetadataError(f"there is no field {unknown[0]!r}")
    return {name: fit(value.get(name), type_) for name, type_ in fields.items()}


def _fit_scalar(value: Any, kind: pa.DataType) -> pa.Scalar:
    if pa.types.is_interval(kind):
        return _fit_interval(value, kind)
    if isinstance(value, (list, dict)):
        raise MetadataError(f"{value!r:.60} is no single value")
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return pa.scalar(base64.b64decode(value, altchars=b"-_", validate=True), kind)
    if (temporal := kind_of(kind)) in ("moment", "time"):
        return _fit_time(value, temporal, kind)
    if pa.types.is_duration(kind):
        return _fit_duration(value, kind)
    return _fit_number_or_text(value, kind)


def _fit_interval(value: Any, kind: pa.DataType) -> pa.Scalar:
    """Convert months, days and nanoseconds."""
    if not isinstance(value, list) or len(value) != 3 or not all(type(part) is int for part in value):
        raise MetadataError(f"{value!r:.60} is no list of months, days and nanoseconds")
    return pa.scalar(pa.MonthDayNano(value), kind)


def _fit_number_or_text(value: Any, kind: pa.DataType) -> pa.Scalar:
    """Convert a value of JSON's own types; Arrow would round a fraction down to a whole number."""
    if pa.types.is_floating(kind):
        return _fit_float(value, kind)
    if pa.types.is_decimal(kind) and not isinstance(value, bool):
        return pa.scalar(Decimal(str(value)), kind)
    if pa.types.is_integer(kind) and isinstance(value, float) and value % 1:
        raise MetadataError(f"{value!r} is no whole number")
    return pa.scalar(value, kind)


def _fit_float(value: Any, kind: pa.DataType) -> pa.Scalar:
    """Convert a number; the column's precision may round it, and its range must hold it."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise MetadataError(f"{value!r:.60} is no number")
    scalar = pa.scalar(value, kind)
    number = scalar.as_py()
    if not math.isfinite(number):
        raise MetadataError(f"{value!r:.60} is beyond the range of the type")
    if value and not number:
        raise MetadataError(f"{value!r:.60} is too small for the type, which would hold 0")
    return scalar


def _fit_duration(value: Any, kind: pa.DataType) -> pa.Scalar:
    """Convert a duration such as ``PT3S`` or ``-P1DT0.5S``; a year has 365 days and a month 30, as in results."""
    match = DURATION.fullmatch(value) if isinstance(value, str) else None
    if not match or value[-1] in "PT":
        raise MetadataError(f"{value!r:.60} is no ISO 8601 duration such as PT3S or P1DT12H")
    seconds = sum(int(match[name] or 0) * length for name, length in UNIT_SECONDS.items())
    whole = seconds * 10**9 + int((match["fraction"] or "").ljust(9, "0"))
    steps, rest = divmod(whole, NANOSECONDS[kind.unit])
    if rest or steps >= 2**63:
        raise MetadataError(f"{value!r:.60} is too precise for the type, or beyond its range")
    return pa.scalar(-steps if match["sign"] == "-" else steps, pa.int64()).cast(kind)


def _fit_time(value: Any, kind: Kind, type_: pa.DataType) -> pa.Scalar:
    """Convert a date, moment or time of day; a filter accepts what is accepted here."""
    if not isinstance(value, str) or nanoseconds(value, kind) is None:
        raise MetadataError(f"{value!r:.60} is no ISO 8601 text")
    if has_offset(value) != bool(pa.types.is_timestamp(type_) and type_.tz):
        raise MetadataError(f"{value!r:.60} {'has an' if has_offset(value) else 'lacks the'} offset from UTC")
    if (scalar := to_scalar(value, type_)) is None:
        raise MetadataError(f"{value!r:.60} is too precise for the type, or beyond its range")
    return scalar
