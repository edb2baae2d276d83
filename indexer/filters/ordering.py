"""Ordering: documents of an index by sort keys. A page of a million documents is chosen by partition, not sorted whole.

Each key becomes one number a document: the place of its value among all values, or its distance. Documents without a
value get the greatest number in both directions. Equal documents keep the order in which they are given.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from indexer.filters.bind import comparable
from indexer.filters.encoded import EncodedColumn, encoded_column
from indexer.filters.evaluate import compile_filter, haversine
from indexer.filters.fields import FieldPath, Types, WrongType, find_field
from indexer.filters.filter import Filter
from indexer.filters.leaves import leaf_values
from indexer.filters.sort import SortByDistance, SortByField
from indexer.filters.values import kind_of
from indexer.index.document_mask import DocumentMask, Mask, Rows
from indexer.index.index import Index
from indexer.index.served import ServedIndex

Numbers = npt.NDArray[Any]
Degrees = npt.NDArray[np.float64]


class ArrangingIndex(ABC):
    """An index whose store reads the values of documents by itself."""

    @abstractmethod
    def rows_of(self, documents: Any) -> Rows:
        """Return the rows of a `Selection` of the store, ascending."""

    @abstractmethod
    def select(self, rows: Rows) -> Any:
        """Return the documents in ``rows`` as a `Selection` of the store."""

    @abstractmethod
    def passing(self, condition: Filter, rows: Rows) -> Mask:
        """Return for each document of ``rows`` whether it passes a filter."""

    @abstractmethod
    def values_of(self, field: str, rows: Rows) -> EncodedColumn:
        """Return the values of a field of single values, one for each document of ``rows``."""


def check_sort(key: SortByField | SortByDistance, types: Types) -> None:
    """Refuse a sort key that does not fit the columns of an index.

    Raises:
        UnknownField: the index has no such field.
        WrongType: the values of the field have no order, or a document may have several.
    """
    if isinstance(key, SortByDistance):
        for name in (key.latitude, key.longitude):
            path = find_field(name, types)
            if path.in_list or kind_of(comparable(path.type)) != "number":
                raise WrongType(name, path.type, "degrees are a column of numbers", types)
        return
    path = find_field(key.field, types)
    if path.in_list:
        raise WrongType(key.field, path.type, "sort by a field of single values, which a list is not", types)
    if kind_of(comparable(path.type)) is None and not pa.types.is_null(path.type):
        raise WrongType(key.field, path.type, "texts, numbers, dates, times and booleans are sorted", types)


def sorted_positions(
    sort: Sequence[SortByField | SortByDistance], index: ServedIndex, rows: Rows | None, count: int
) -> Rows:
    """Return the positions in ``rows`` of the first ``count`` documents by sort keys; equal ones stay in their order.

    Args:
        sort: at least one key; each fits the index, see `check_sort`.
        index: of the documents.
        rows: of the documents; None for all rows of an index in files.
        count: how many are returned, where there are as many.
    """
    return first_positions([_numbers(key, index, rows) for key in sort], count)


def rows_of(documents: Any, index: ServedIndex) -> Rows | None:
    """Return the rows of a `Selection` of an index, ascending; None for all rows of an index in files."""
    if isinstance(index, ArrangingIndex):
        return index.rows_of(documents)
    mask: DocumentMask = documents
    return None if mask.count == len(mask.mask) else mask.rows


def passing(condition: Filter, index: ServedIndex, rows: Rows) -> Mask:
    """Return for each document of ``rows`` whether it passes a filter.

    Raises:
        UnknownField: the index has no such field.
        WrongType: a field cannot be compared with the value that the filter gives.
    """
    if isinstance(index, ArrangingIndex):
        return index.passing(condition, rows)
    passes: Mask = compile_filter(condition, Index.of(index)).mask[rows]
    return passes


def first_positions(keys: Sequence[Numbers], count: int) -> Rows:
    """Return the positions of the ``count`` smallest by ``keys``, the first key first, then by position; in that order.

    All keys have the same shape, (values,). Only what can be among the first is sorted: a million numbers are parted in
    a tenth of the time of sorting them.
    """
    total = len(keys[0])
    chosen = np.arange(total) if count >= total else _smallest(keys, count)
    return chosen[np.lexsort([chosen, *(key[chosen] for key in reversed(keys))])]


def _smallest(keys: Sequence[Numbers], count: int) -> Rows:
    """Return the positions of the ``count`` smallest, fewer than there are, in any order."""
    parts: list[Rows] = []
    open_: Rows | None = None  # equal by all keys so far, and not all of them among the first
    for key in keys:
        if not count:
            break
        values = key if open_ is None else key[open_]
        limit = np.partition(values, count - 1)[count - 1]
        below, equal = np.flatnonzero(values < limit), np.flatnonzero(values == limit)
        if open_ is not None:
            below, equal = open_[below], open_[equal]
        parts.append(below)
        count -= len(below)
        open_ = equal
    return np.concatenate([*parts, *([] if open_ is None else [open_[:count]])])


def _numbers(key: SortByField | SortByDistance, index: ServedIndex, rows: Rows | None) -> Numbers:
    """Return the number of each document by which a key sorts, ascending."""
    if isinstance(key, SortByDistance):
        latitudes, longitudes = (_degrees(name, index, rows) for name in (key.latitude, key.longitude))
        distances = haversine(latitudes, longitudes, key.near.lat, key.near.lon)
        if key.order == "desc":
            distances = -distances
        return np.where(np.isnan(distances), np.inf, distances)
    descending = key.order == "desc"
    if key.field == "id":
        ranks = _id_ranks(index, rows)
        return -ranks if descending else ranks
    if isinstance(index, ArrangingIndex):
        return _stored(index, key.field, rows).places(None, descending=descending)
    return encoded_column(Index.of(index), find_field(key.field, index.columns)).places(rows, descending=descending)


def _stored(index: ArrangingIndex, field: str, rows: Rows | None) -> EncodedColumn:
    if rows is None:
        raise TypeError("the documents of another store are named by their rows")
    return index.values_of(field, rows)


def _id_ranks(index: ServedIndex, rows: Rows | None) -> Rows:
    return Index.of(index).id_rank if rows is None else index.id_ranks(rows)


def _degrees(name: str, index: ServedIndex, rows: Rows | None) -> Degrees:
    """Return the degrees of each document; NaN where it has none, or what is no place."""
    degrees = _stored_degrees(name, index, rows)
    return np.where(np.isfinite(degrees), degrees, np.nan)


def _stored_degrees(name: str, index: ServedIndex, rows: Rows | None) -> Degrees:
    if isinstance(index, ArrangingIndex):
        encoded = _stored(index, name, rows)
        values = np.append(encoded.values.cast(pa.float64()).to_numpy(), np.nan)
        stored: Degrees = values[encoded.codes.astype(np.int64) - 1]  # a missing value is 0, whose place is the last
        return stored
    path: FieldPath = find_field(name, index.columns)
    leaves, _ = leaf_values(Index.of(index).column(path.column), path.fields)
    degrees: Degrees = leaves.cast(pa.float64()).fill_null(np.nan).to_numpy()
    return degrees if rows is None else degrees[rows]
