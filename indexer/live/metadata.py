"""JSON metadata converted to the types of an index's columns, or refused with the reason."""

from __future__ import annotations

import base64
from decimal import Decimal
from typing import Any, NamedTuple

import pyarrow as pa

from indexer.filters.values import Kind, has_offset, kind_of, nanoseconds, to_scalar


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
            values[name] = fit(value, types[name])
        except (pa.ArrowException, ArithmeticError, ValueError, TypeError) as error:
            reason = str(error) if isinstance(error, MetadataError) else f"{value!r:.60} is no {types[name]}"
            errors[name] = f"{reason}; the column holds {types[name]}"
    return FittedMetadata(types, values, errors)


def column_types(schema: pa.Schema) -> dict[str, pa.DataType]:
    """Return names and types of the metadata columns of an index whose documents have this schema."""
    return {field.name: field.type for field in schema.field("metadata").type} if "metadata" in schema.names else {}


def fit(value: Any, kind: pa.DataType) -> Any:
    """Convert a JSON value to what `pyarrow.array` takes for the type ``kind``.

    Dates, times, decimals and binary values are given as the texts that the service returns for them.

    Raises:
        MetadataError: the value does not fit the type.
        pa.ArrowException: the same, also as ArithmeticError, ValueError or TypeError.
    """
    if value is None:
        return None
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        if not isinstance(value, list):
            raise MetadataError(f"{value!r:.60} is no list")
        return [fit(item, kind.value_type) for item in value]
    if pa.types.is_struct(kind):
        return _fit_struct(value, kind)
    if pa.types.is_map(kind):
        if not isinstance(value, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in value):
            raise MetadataError(f"{value!r:.60} is no list of pairs")
        return [(fit(key, kind.key_type), fit(item, kind.item_type)) for key, item in value]
    if pa.types.is_dictionary(kind):
        return fit(value, kind.value_type).as_py()  # Arrow crashes on a scalar there
    return _fit_scalar(value, kind)


def _fit_struct(value: Any, kind: pa.StructType) -> dict[str, Any]:
    fields = {field.name: field.type for field in kind}
    if not isinstance(value, dict):
        raise MetadataError(f"{value!r:.60} is no object")
    if unknown := [name for name in value if name not in fields]:
        raise MetadataError(f"there is no field {unknown[0]!r}")
    return {name: fit(value.get(name), type_) for name, type_ in fields.items()}


def _fit_scalar(value: Any, kind: pa.DataType) -> pa.Scalar:
    if isinstance(value, (list, dict)):
        raise MetadataError(f"{value!r:.60} is no single value")
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return pa.scalar(base64.b64decode(value, altchars=b"-_", validate=True), kind)
    if (temporal := kind_of(kind)) in ("moment", "time"):
        return _fit_time(value, temporal, kind)
    if pa.types.is_temporal(kind):  # durations and intervals
        if not isinstance(value, str):
            raise MetadataError(f"{value!r:.60} is no ISO 8601 text")
        return pa.scalar(value).cast(kind)
    if pa.types.is_decimal(kind) and not isinstance(value, bool):
        return pa.scalar(Decimal(str(value)), kind)
    if pa.types.is_integer(kind) and isinstance(value, float) and value % 1:  # Arrow would round it down
        raise MetadataError(f"{value!r} is no whole number")
    return pa.scalar(value, kind)


def _fit_time(value: Any, kind: Kind, type_: pa.DataType) -> pa.Scalar:
    """Convert a date, moment or time of day; a filter accepts what is accepted here."""
    if not isinstance(value, str) or nanoseconds(value, kind) is None:
        raise MetadataError(f"{value!r:.60} is no ISO 8601 text")
    if has_offset(value) != bool(pa.types.is_timestamp(type_) and type_.tz):
        raise MetadataError(f"{value!r:.60} {'has an' if has_offset(value) else 'lacks the'} offset from UTC")
    if (scalar := to_scalar(value, type_)) is None:
        raise MetadataError(f"{value!r:.60} is too precise for the type, or beyond its range")
    return scalar
