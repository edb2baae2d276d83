"""Binding: the fields and values of a filter resolved against the columns of an index, once, before any row is read.

`bind` finds each field's column, turns each value into an Arrow scalar of the column's type, and refuses what does not
fit. `evaluate` then only computes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from indexer.filters.conditions import Between, Circle, Equals, Exists, FieldCondition, OneOf, Prefix, Within
from indexer.filters.fields import FieldPath, Types, WrongType, find_field
from indexer.filters.filter import Filter
from indexer.filters.values import EXPECTED, JsonValue, bound_scalar, is_comparable, kind_of, to_scalar

Predicate = Callable[[pa.ChunkedArray], pa.ChunkedArray]
"""From an array of values to an equally long array of truth values; null where the truth is not known."""
COMPARE = {"gte": pc.greater_equal, "gt": pc.greater, "lte": pc.less_equal, "lt": pc.less}
COMPARABLE = {pa.float16(): pa.float32(), pa.string_view(): pa.string()}
"""Types that Arrow cannot compare → types that hold the same values."""


@dataclass(frozen=True)
class BoundTree:
    """A filter with bound conditions: all of ``must``, one of ``should`` where there are any, none of ``must_not``."""

    must: tuple[BoundNode, ...]
    should: tuple[BoundNode, ...]
    must_not: tuple[BoundNode, ...]


@dataclass(frozen=True)
class BoundCondition:
    """A predicate on a field: true of a document if it is true of any of its values; ``negated`` inverts the result."""

    field: FieldPath
    predicate: Predicate
    negated: bool = False


@dataclass(frozen=True)
class BoundCircle:
    """A circle on the earth, and the two fields with the degrees of a document's place."""

    latitude: FieldPath
    longitude: FieldPath
    circle: Circle


BoundNode = BoundTree | BoundCondition | BoundCircle


def bind(node: Filter | FieldCondition | Within, types: Types) -> BoundNode:
    """Resolve a filter, or one condition, against the columns of an index.

    Raises:
        UnknownField: the index has no such field.
        WrongType: a field cannot be compared with the value that the filter gives.
    """
    if isinstance(node, Filter):
        return BoundTree(
            tuple(bind(child, types) for child in node.must),
            tuple(bind(child, types) for child in node.should),
            tuple(bind(child, types) for child in node.must_not),
        )
    if isinstance(node, Within):
        return BoundCircle(_degrees(node.latitude, types), _degrees(node.longitude, types), node.within)
    field = find_field(node.field, types)
    if isinstance(node, Exists):
        return BoundCondition(field, _exists, negated=not node.exists)
    return BoundCondition(field, bind_values(node, field, types))


def bind_values(condition: FieldCondition, field: FieldPath, types: Types) -> Predicate:
    """Return the predicate of a condition on the values of its ``field``.

    Raises:
        WrongType: the field cannot be compared with the value; the message lists the fields of ``types``.
    """
    kind = comparable(field.type)
    if pa.types.is_null(kind):
        return _never
    match condition:
        case Equals(eq=value):
            _check(condition.field, field, [value], types)
            return partial(_is_one_of, options=[to_scalar(value, kind)])
        case OneOf(in_=values):
            _check(condition.field, field, values, types)
            return partial(_is_one_of, options=[to_scalar(value, kind) for value in values])
        case Between():
            _check(condition.field, field, list(condition.bounds.values()), types)
            if kind_of(kind) == "boolean":
                raise WrongType(condition.field, field.type, EXPECTED["boolean"], types)
            limits = {
                name: bound_scalar(value, kind, up=name in {"gte", "lt"}) for name, value in condition.bounds.items()
            }
            return partial(_is_between, limits=limits)
        case Prefix(prefix=prefix):
            if kind_of(kind) != "text":
                raise WrongType(condition.field, field.type, "only texts have a prefix", types)
            return partial(pc.starts_with, pattern=prefix)
    raise TypeError(f"no such condition: {condition!r}")


def comparable(kind: pa.DataType) -> pa.DataType:
    """Return the type as which values of a type are compared."""
    if pa.types.is_decimal32(kind) or pa.types.is_decimal64(kind):
        return pa.decimal128(kind.precision, kind.scale)
    return COMPARABLE.get(kind, kind)


def missing(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return for each of ``values`` whether it is missing: null or, of a number, NaN."""
    return pc.is_null(values, nan_is_null=True)


def _check(name: str, field: FieldPath, values: list[JsonValue], types: Types) -> None:
    type_ = comparable(field.type)
    kind = kind_of(type_)
    if kind is None:
        hint = "; or name one of its fields" if pa.types.is_struct(field.type) else ""
        raise WrongType(name, field.type, f"its only condition is `exists`{hint}", types)
    for value in values:
        if not is_comparable(value, type_):
            raise WrongType(name, field.type, f"{EXPECTED[kind]}, not with {value!r}", types)


def _degrees(name: str, types: Types) -> FieldPath:
    field = find_field(name, types)
    if field.in_list or kind_of(comparable(field.type)) != "number":
        raise WrongType(name, field.type, "degrees are a column of numbers", types)
    return field


def _exists(values: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.invert(missing(values))


def _never(values: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.and_(pc.is_valid(values), False)


def _is_one_of(values: pa.ChunkedArray, options: list[pa.Scalar | None]) -> pa.ChunkedArray:
    scalars = [scalar for scalar in options if scalar is not None]
    if not scalars:
        return _never(values)
    if len(scalars) == 1:
        return pc.equal(values, scalars[0])
    return pc.is_in(values, value_set=pa.array(scalars, values.type))


def _is_between(values: pa.ChunkedArray, limits: dict[str, pa.Scalar | bool]) -> pa.ChunkedArray:
    truth = pc.is_valid(values)
    for name, limit in limits.items():
        if isinstance(limit, bool):  # the limit is below (True) or above (False) all values of the type
            if limit != name.startswith("g"):
                return _never(values)
        else:
            truth = pc.and_(truth, COMPARE[name](values, limit))
    return truth
