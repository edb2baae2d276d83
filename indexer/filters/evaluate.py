"""Conditions → masks: what Arrow computes over the memory-mapped columns of an index, one truth value for a document."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from indexer.filters.conditions import Between, Equals, Exists, FieldCondition, OneOf, Prefix, Within
from indexer.filters.fields import Place, WrongType, find, is_list
from indexer.filters.values import MEANT, Given, bound, exactly, fits, kind_of
from indexer.index.dense import Rows
from indexer.index.document_mask import Mask

if TYPE_CHECKING:
    from indexer.index.index import Index

Predicate = Callable[[pa.ChunkedArray], pa.ChunkedArray]
"""From values to whether something is true of each, as an array like theirs: null where it cannot be said."""
EARTH_RADIUS = 6371.0088
"""Kilometres: the mean radius of the International Union of Geodesy and Geophysics."""
COMPARE = {"gte": pc.greater_equal, "gt": pc.greater, "lte": pc.less_equal, "lt": pc.less}
COMPARABLE = {pa.float16(): pa.float32(), pa.string_view(): pa.string()}
"""Types that Arrow does not compare, and those that hold the same values."""


@dataclass(frozen=True)
class Columns:
    """The columns of an index as conditions see them."""

    index: Index

    def mask(self, condition: FieldCondition | Within) -> Mask:
        """Return of which documents a condition is true, shape (documents,).

        Raises:
            UnknownField: the index has no such field.
            WrongType: the field cannot be compared with that.
        """
        if isinstance(condition, Within):
            return self._within(condition)
        place = find(condition.field, self.index.columns)
        if isinstance(condition, Exists):
            mask = any_value(self.index.column(place.column), place, _exists)
            return mask if condition.exists else ~mask
        return any_value(self.index.column(place.column), place, self._predicate(condition, place))

    def between(self, condition: Between) -> Predicate:
        """Return what `leaves` of a field are asked for where they should lie within bounds.

        Raises:
            UnknownField: the index has no such field.
            WrongType: the field cannot be compared with that.
        """
        return self._predicate(condition, find(condition.field, self.index.columns))

    def _predicate(self, condition: FieldCondition, place: Place) -> Predicate:
        """Return what a condition asks of values."""
        kind = comparable(place.type)
        if pa.types.is_null(kind):
            return _nowhere
        match condition:
            case Equals(eq=value):
                self._check(condition.field, place, [value])
                return partial(_is_one_of, wanted=[exactly(value, kind)])
            case OneOf(in_=values):
                self._check(condition.field, place, values)
                return partial(_is_one_of, wanted=[exactly(value, kind) for value in values])
            case Between():
                self._check(condition.field, place, list(condition.bounds.values()))
                if kind_of(kind) == "boolean":
                    raise self._wrong(condition.field, place, MEANT["boolean"])
                limits = {
                    name: bound(value, kind, up=name in {"gte", "lt"}) for name, value in condition.bounds.items()
                }
                return partial(_is_between, limits=limits)
            case Prefix(prefix=beginning):
                if kind_of(kind) != "text":
                    raise self._wrong(condition.field, place, "only texts have a prefix")
                return partial(pc.starts_with, pattern=beginning)
        raise TypeError(f"no such condition: {condition!r}")

    def _check(self, field: str, place: Place, values: list[Given]) -> None:
        kind = kind_of(comparable(place.type))
        if kind is None:
            inside = ", ask for one of its fields" if pa.types.is_struct(place.type) else ""
            raise self._wrong(field, place, f"it can only be asked whether it exists{inside}")
        for value in values:
            if not fits(value, kind):
                raise self._wrong(field, place, f"{MEANT[kind]}, not with {value!r}")

    def _wrong(self, field: str, place: Place, remedy: str) -> WrongType:
        return WrongType(field, place.type, remedy, self.index.columns)

    def _within(self, condition: Within) -> Mask:
        latitudes, longitudes = self._degrees(condition.latitude), self._degrees(condition.longitude)
        centre = condition.within
        # A circle spans as many degrees of latitude as its radius is long; most places are outside of that.
        reach = np.degrees(centre.km / EARTH_RADIUS) + 1e-9
        near = np.flatnonzero(np.abs(latitudes - centre.lat) <= reach)
        mask = np.zeros(len(latitudes), dtype=np.bool_)
        mask[near] = haversine(latitudes[near], longitudes[near], centre.lat, centre.lon) <= centre.km
        return mask

    def _degrees(self, field: str) -> npt.NDArray[np.float64]:
        place = find(field, self.index.columns)
        if place.in_list or kind_of(comparable(place.type)) != "number":
            raise self._wrong(field, place, "degrees are a column of numbers")
        values, _ = leaves(self.index.column(place.column), place.below)
        degrees: npt.NDArray[np.float64] = values.cast(pa.float64()).fill_null(np.nan).to_numpy()
        return degrees


def haversine(
    latitudes: npt.NDArray[np.float64], longitudes: npt.NDArray[np.float64], lat: float, lon: float
) -> npt.NDArray[np.float64]:
    """Return the great-circle distance of places, in degrees and of shape (places,), to one place, in kilometres."""
    north, east = np.radians(latitudes - lat), np.radians(longitudes - lon)
    chord = np.sin(north / 2) ** 2 + np.cos(np.radians(latitudes)) * np.cos(np.radians(lat)) * np.sin(east / 2) ** 2
    distance: npt.NDArray[np.float64] = 2 * EARTH_RADIUS * np.arcsin(np.sqrt(np.clip(chord, 0, 1)))
    return distance


def any_value(column: pa.ChunkedArray, place: Place, predicate: Predicate) -> Mask:
    """Return for each document whether a predicate is true of its value or, where it has several, of any of them."""
    values, owners = leaves(column, place.below)
    truth = to_mask(predicate(values))
    if owners is None:
        return truth
    mask = np.zeros(len(column), dtype=np.bool_)
    mask[owners[truth]] = True
    return mask


def leaves(column: pa.ChunkedArray, below: tuple[str, ...]) -> tuple[pa.ChunkedArray, Rows | None]:
    """Return the values that lie under struct fields and in lists, as types that Arrow compares, and whose they are.

    Args:
        column: a value for each document.
        below: the names of the struct fields that lead to the values.

    Returns:
        The values, and for each the row of its document, ascending; None where each document has just one.
    """
    owners: Rows | None = None
    while below or is_list(column.type):
        if is_list(column.type):
            lengths = pc.list_value_length(column).fill_null(0).to_numpy()
            owners = np.repeat(np.arange(len(column)) if owners is None else owners, lengths)
            column = pc.list_flatten(column)
        else:
            column, below = pc.struct_field(column, [below[0]]), below[1:]
    kind = comparable(column.type)
    return (column if kind == column.type else column.cast(kind)), owners


def to_mask(truth: pa.ChunkedArray) -> Mask:
    """Return Arrow's truth values as a mask; what is neither true nor false is false."""
    truth = truth.fill_null(False)
    mask: Mask = truth.to_numpy()
    return mask


def comparable(kind: pa.DataType) -> pa.DataType:
    """Return the type that values of a type are compared as."""
    if pa.types.is_decimal32(kind) or pa.types.is_decimal64(kind):
        return pa.decimal128(kind.precision, kind.scale)
    return COMPARABLE.get(kind, kind)


def missing(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return for each of ``values`` whether it is none: null or, of a number, NaN."""
    return pc.is_null(values, nan_is_null=True)


def _exists(values: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.invert(missing(values))


def _nowhere(values: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.and_(pc.is_valid(values), False)


def _is_one_of(values: pa.ChunkedArray, wanted: list[pa.Scalar | None]) -> pa.ChunkedArray:
    there = [value for value in wanted if value is not None]
    if not there:
        return _nowhere(values)
    if len(there) == 1:
        return pc.equal(values, there[0])
    return pc.is_in(values, value_set=pa.array(there, values.type))


def _is_between(values: pa.ChunkedArray, limits: dict[str, pa.Scalar | bool]) -> pa.ChunkedArray:
    truth = pc.is_valid(values)
    for name, limit in limits.items():
        if isinstance(limit, bool):  # below (True) or above all values of the type
            if limit != name.startswith("g"):
                return _nowhere(values)
        else:
            truth = pc.and_(truth, COMPARE[name](values, limit))
    return truth
