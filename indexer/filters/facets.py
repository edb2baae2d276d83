"""Facets: how the documents that pass a filter are spread over the values and ranges of a field."""

from __future__ import annotations

import threading
from typing import Annotated, Self
from weakref import WeakKeyDictionary

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import to_jsonable_python

from indexer.cache import Cache
from indexer.filters.bind import bind_values, comparable, missing
from indexer.filters.conditions import Between, Bound, Name
from indexer.filters.evaluate import leaves, to_mask
from indexer.filters.fields import FieldPath, WrongType, find
from indexer.filters.values import kind_of
from indexer.index.arrow import to_python
from indexer.index.document_mask import DocumentMask, Rows
from indexer.index.index import Index

MAX_VALUES = 100
MAX_RANGES = 50
MAX_CACHED = 50
# Of a set of documents, as long as it is remembered itself.
_caches: WeakKeyDictionary[DocumentMask, Cache[str, Facet]] = WeakKeyDictionary()
_lock = threading.Lock()
FacetValue = Annotated[
    str | bool | int | float | None,
    Field(description="as in the metadata; dates and times in ISO 8601; null for an infinite number"),
]


class FacetRange(BaseModel):
    """From a lower bound on, up to an upper one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gte: Bound = Field(default=None, description="at least; from the smallest value on where it is left out")
    lt: Bound = Field(default=None, description="less than; to the greatest value where it is left out")

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.gte is None and self.lt is None:
            raise ValueError("give gte, lt or both")
        return self


class FacetRequest(BaseModel):
    """What to count."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    field: Name = Field(description="a metadata column, `id`, or a field of a struct column as `column.field`")
    limit: int = Field(default=10, ge=0, le=MAX_VALUES, description="how many of the most frequent values to return")
    ranges: list[FacetRange] = Field(
        default=[], max_length=MAX_RANGES, description="ranges of numbers, dates, times or texts; they may overlap"
    )


class ValueCount(BaseModel):
    """A value and its documents."""

    value: FacetValue
    count: int = Field(description="number of documents that have it")


class RangeCount(BaseModel):
    """A range and its documents."""

    gte: FacetValue = Field(default=None, description="at least")
    lt: FacetValue = Field(default=None, description="less than")
    count: int = Field(description="number of documents with a value in it")


class Facet(BaseModel):
    """How documents are spread over a field. A document counts once for each of its values."""

    values: list[ValueCount] = Field(description="the most frequent values; equally frequent ones in their order")
    ranges: list[RangeCount] = Field(description="the ranges that were asked for, in their order")
    missing: int = Field(description="number of documents without a value")
    min: FacetValue = Field(default=None, description="smallest value of a number, date or time")
    max: FacetValue = Field(default=None, description="greatest value of a number, date or time")


def count_facet(asked: FacetRequest, index: Index, among: DocumentMask) -> Facet:
    """Count a field of the documents ``among`` which it is asked about, all of them and not a page.

    Raises:
        UnknownField: the index has no such field.
        WrongType: it cannot be counted, or not in these ranges.
    """
    with _lock:
        cache = _caches.setdefault(among, Cache(MAX_CACHED))
    return cache.get_or_compute(asked.model_dump_json(), lambda: _count(asked, index, among))


def _count(asked: FacetRequest, index: Index, among: DocumentMask) -> Facet:
    place = find(asked.field, index.columns)
    kind = kind_of(comparable(place.type))
    if kind is None and not pa.types.is_null(place.type):
        raise WrongType(asked.field, place.type, "texts, numbers, dates, times and booleans are counted", index.columns)
    ranges = [
        bind_values(Between(field=asked.field, **each.model_dump()), place, index.columns) for each in asked.ranges
    ]
    values, owners = _values(index.column(place.column), place, among)
    facet = Facet(
        values=_most_frequent(values, owners, asked.limit),
        ranges=[
            RangeCount(**each.model_dump(exclude_unset=True), count=_documents(owners[to_mask(inside(values))]))
            for each, inside in zip(asked.ranges, ranges, strict=True)
        ],
        missing=among.count - _documents(owners),
    )
    if kind in {"number", "moment", "time"} and len(values):
        bounds = pc.min_max(values)
        facet.min, facet.max = (_plain(bounds[name]) for name in ("min", "max"))
    return facet


def _values(column: pa.ChunkedArray, place: FieldPath, among: DocumentMask) -> tuple[pa.ChunkedArray, Rows]:
    """Return all values of the documents that are asked about, and for each the number of its document, ascending."""
    asked = column if among.count == len(among.mask) else column.filter(pa.array(among.mask))
    values, owners = leaves(asked, place.fields)
    owners = np.arange(len(asked)) if owners is None else owners
    there = ~to_mask(missing(values))
    return (values, owners) if there.all() else (values.filter(pa.array(there)), owners[there])


def _documents(owners: Rows) -> int:
    """Return how many different documents there are among ascending ones."""
    return int(np.count_nonzero(np.diff(owners, prepend=-1)))


def _most_frequent(values: pa.ChunkedArray, owners: Rows, limit: int) -> list[ValueCount]:
    if not limit or not len(values):
        return []
    if _documents(owners) < len(owners):  # a value that a document has twice is one document
        codes = values.dictionary_encode().combine_chunks()
        different = len(codes.dictionary)
        pairs = np.sort(owners * different + codes.indices.to_numpy())
        once = pairs[np.diff(pairs, prepend=-1) > 0]
        table = pa.table({"value": codes.dictionary, "count": np.bincount(once % different, minlength=different)})
    else:
        counted = pc.value_counts(values)
        table = pa.table({"value": counted.field("values"), "count": counted.field("counts")})
    order = [("count", "descending"), ("value", "ascending")]
    best = table.take(pc.select_k_unstable(table, min(limit, len(table)), order))
    return [ValueCount(value=_plain(value), count=count.as_py()) for value, count in zip(*best.columns, strict=True)]


def _plain(value: pa.Scalar) -> FacetValue:
    """Return a value as JSON has it, so that a filter takes it back."""
    if pa.types.is_decimal(value.type):
        return float(value.as_py())
    plain: FacetValue = to_jsonable_python(to_python(value), inf_nan_mode="null")
    return plain
