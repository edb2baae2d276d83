"""Facets: counts of the values and ranges of a field over the documents that pass a filter."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from decimal import Decimal
from typing import Annotated, Any, NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import to_jsonable_python

from indexer.cache import ENTRY_BYTES, OwnedCache
from indexer.filters.bind import bind_values, comparable, missing
from indexer.filters.conditions import Between, Bound, Name
from indexer.filters.evaluate import leaf_values, to_mask
from indexer.filters.fields import FieldPath, Types, WrongType, find_field
from indexer.filters.values import kind_of
from indexer.index.arrow import to_python
from indexer.index.document_mask import DocumentMask, Rows
from indexer.index.index import Index
from indexer.index.served import ServedIndex

MAX_VALUES = 100
MAX_RANGES = 50
CACHED_BYTES = 16 << 20
"""Memory for cached facets, of all filters and indexes together."""


def _entry_bytes(key: tuple[int, str], facet: bytes) -> int:
    return sys.getsizeof(key[1]) + sys.getsizeof(facet) + ENTRY_BYTES


# By mask and request; as JSON, whose size is known, unlike that of thousands of objects.
_cache: OwnedCache[tuple[int, str], bytes] = OwnedCache(CACHED_BYTES, _entry_bytes)
FacetValue = Annotated[
    str | bool | int | float | None,
    Field(
        description="as in the metadata; dates and times in ISO 8601; a decimal is a number, or a text where a "
        "double-precision number would change it; null for an infinite number"
    ),
]


class FacetRange(BaseModel):
    """A range of values: the lower bound is in it, the upper bound is not."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gte: Bound = Field(default=None, description="at least; without it, the range begins at the smallest value")
    lt: Bound = Field(default=None, description="less than; without it, the range ends at the greatest value")

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.gte is None and self.lt is None:
            raise ValueError("give gte, lt or both")
        return self


class FacetRequest(BaseModel):
    """A field, and which of its values and ranges to count."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    field: Name = Field(description="a metadata column, `id`, or a field of a struct column as `column.field`")
    limit: int = Field(default=10, ge=0, le=MAX_VALUES, description="how many of the most frequent values to return")
    ranges: list[FacetRange] = Field(
        default=[], max_length=MAX_RANGES, description="ranges of numbers, dates, times or texts; they may overlap"
    )


class ValueCount(BaseModel):
    """A value and how many documents have it."""

    value: FacetValue
    count: int = Field(description="number of documents that have it")


class RangeCount(BaseModel):
    """A range and how many documents have a value in it."""

    gte: FacetValue = Field(default=None, description="at least")
    lt: FacetValue = Field(default=None, description="less than")
    count: int = Field(description="number of documents with a value in it")


class Facet(BaseModel):
    """Counts of the values of a field. A document counts once for each of its values."""

    values: list[ValueCount] = Field(description="the most frequent values; equally frequent ones in their order")
    ranges: list[RangeCount] = Field(description="the ranges of the request, in their order")
    missing: int = Field(description="number of documents without a value")
    min: FacetValue = Field(default=None, description="smallest value of a number, date or time")
    max: FacetValue = Field(default=None, description="greatest value of a number, date or time")


class FacetValues(NamedTuple):
    """Values of a field, and for each the number of its document among those that are counted, ascending."""

    values: pa.ChunkedArray
    owners: Rows


class CountingIndex(ABC):
    """An index whose store counts values by itself."""

    @abstractmethod
    def count_values(self, request: FacetRequest, documents: Any) -> Facet:
        """Count the values of a field over documents, a `Selection` of the store."""


def count_facet(request: FacetRequest, index: ServedIndex, documents: Any) -> Facet:
    """Count the values of a field over all ``documents`` that pass a filter, not over one page of them.

    ``documents`` are a `Selection` of the index's store, as `compile_filter` returns it.

    Raises:
        UnknownField: the index has no such field.
        WrongType: the field cannot be counted, or not in these ranges.
    """
    if isinstance(index, CountingIndex):
        return index.count_values(request, documents)
    key = documents.serial, request.model_dump_json()
    if (cached := _cache.get(key)) is not None:
        return Facet.model_validate_json(cached)
    facet = _count(request, Index.of(index), documents)
    _cache.put(key, facet.model_dump_json(exclude_unset=True).encode())
    return facet


def find_countable(request: FacetRequest, types: Types) -> FieldPath:
    """Return where the values of the field of a request are found.

    Raises:
        UnknownField: the index has no such field.
        WrongType: the field cannot be counted.
    """
    path = find_field(request.field, types)
    if kind_of(comparable(path.type)) is None and not pa.types.is_null(path.type):
        raise WrongType(request.field, path.type, "texts, numbers, dates, times and booleans are counted", types)
    return path


def count_values(request: FacetRequest, path: FieldPath, types: Types, found: FacetValues, documents: int) -> Facet:
    """Count values of a field that are not missing.

    Args:
        request: what to count.
        path: of the field.
        types: names and types of the columns of the index.
        found: the values, and for each the number of its document, ascending.
        documents: number of documents, with those that have no value.

    Raises:
        WrongType: the field cannot be counted in the ranges of the request.
    """
    values, owners = found
    predicates = [
        bind_values(Between(field=request.field, **bounds.model_dump()), path, types) for bounds in request.ranges
    ]
    facet = Facet(
        values=_most_frequent(values, owners, request.limit),
        ranges=[
            RangeCount(**bounds.model_dump(exclude_unset=True), count=_count_distinct(owners[to_mask(inside(values))]))
            for bounds, inside in zip(request.ranges, predicates, strict=True)
        ],
        missing=documents - _count_distinct(owners),
    )
    if kind_of(comparable(path.type)) in {"number", "moment", "time"} and len(values):
        extremes = pc.min_max(values)
        facet.min, facet.max = (_to_json(extremes[name]) for name in ("min", "max"))
    return facet


def _count(request: FacetRequest, index: Index, documents: DocumentMask) -> Facet:
    path = find_countable(request, index.columns)
    found = _values(index.column(path.column), path, documents)
    return count_values(request, path, index.columns, found, documents.count)


def _values(column: pa.ChunkedArray, path: FieldPath, documents: DocumentMask) -> FacetValues:
    """Return all values of ``documents``, and for each the number of its document among them, ascending."""
    column = column if documents.count == len(documents.mask) else column.filter(pa.array(documents.mask))
    values, owners = leaf_values(column, path.fields)
    if pa.types.is_floating(values.type):
        values = pc.add(values, pa.scalar(0.0, values.type))  # -0.0 equals 0.0, and is counted with it
    owners = np.arange(len(column)) if owners is None else owners
    present = ~to_mask(missing(values))
    return (
        FacetValues(values, owners) if present.all() else FacetValues(values.filter(pa.array(present)), owners[present])
    )


def _count_distinct(owners: Rows) -> int:
    """Return how many different documents are in an ascending array of them."""
    return int(np.count_nonzero(np.diff(owners, prepend=-1)))


def _most_frequent(values: pa.ChunkedArray, owners: Rows, limit: int) -> list[ValueCount]:
    if not limit or not len(values):
        return []
    if _count_distinct(owners) < len(owners):  # a document counts once for a value that it has twice
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
    return [ValueCount(value=_to_json(value), count=count.as_py()) for value, count in zip(*best.columns, strict=True)]


def _to_json(value: pa.Scalar) -> FacetValue:
    """Return a value for JSON, in the form in which a filter accepts it."""
    if pa.types.is_decimal(value.type):
        exact: Decimal = value.as_py()
        number = float(exact)
        return number if Decimal(repr(number)) == exact else f"{exact:f}"
    json_value: FacetValue = to_jsonable_python(to_python(value), inf_nan_mode="null")
    return json_value
