"""Evaluation of bound conditions over the memory-mapped columns of an index: a truth value for each document."""

from __future__ import annotations

import sys
import threading
from abc import abstractmethod
from typing import Protocol, overload
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from indexer.cache import ENTRY_BYTES, OwnedCache
from indexer.filters.bind import BoundCircle, BoundCondition, BoundNode, BoundTree, Predicate, bind
from indexer.filters.conditions import Circle
from indexer.filters.encoded import compares_codes, matching
from indexer.filters.fields import FieldPath
from indexer.filters.filter import Filter
from indexer.filters.leaves import leaf_values, to_mask
from indexer.index.document_mask import DocumentMask, Mask
from indexer.index.index import Index
from indexer.index.restricted import RestrictedIndex
from indexer.index.served import Selection, ServedIndex

EARTH_RADIUS = 6371.0088
"""Kilometres: the mean radius of the International Union of Geodesy and Geophysics."""
CACHED_BYTES = 64 << 20
"""Memory for cached masks of repeated filters, for each opened index, all of its views together."""

# By what a view may see and by filter. A mask is of one owner and of one view: others have their own.
_caches: WeakKeyDictionary[ServedIndex, OwnedCache[tuple[int, str], DocumentMask]] = WeakKeyDictionary()
_lock = threading.Lock()


class Columns(Protocol):
    """The columns of an index, a value for each document."""

    @property
    def rows(self) -> int:
        """Number of documents."""

    def column(self, name: str) -> pa.ChunkedArray:
        """Return a column, in the order of the rows."""


class FilteringIndex(ServedIndex):
    """An index whose store evaluates filters by itself."""

    @abstractmethod
    def find(self, condition: Filter) -> Selection:
        """Return the documents that pass a filter."""

    @abstractmethod
    def restricted(self, condition: Filter) -> ServedIndex:
        """Return a view in which only the documents that pass a filter exist."""


@overload
def compile_filter(condition: Filter, index: Index) -> DocumentMask: ...


@overload
def compile_filter(condition: Filter, index: ServedIndex) -> Selection: ...


def compile_filter(condition: Filter, index: ServedIndex) -> Selection:
    """Return the documents of ``index`` that pass a filter; those of recent filters are cached.

    Raises:
        UnknownField: the index has no such field.
        WrongType: a field cannot be compared with the value that the filter gives.
    """
    if isinstance(index, FilteringIndex):
        return index.find(condition)
    # Only views of keys are many for one index; another snapshot of live documents is an index of its own.
    view, root = (index.visible.serial, index.root) if isinstance(index, RestrictedIndex) else (0, index)
    key = view, condition.model_dump_json(by_alias=True, exclude_defaults=True)
    files = Index.of(index)
    return _cache(root).get_or_compute(key, lambda: find_documents(condition, files))


def find_documents(condition: Filter, index: Index) -> DocumentMask:
    """Return what `compile_filter` returns; nothing is cached."""
    return index.allowed(evaluate(bind(condition, index.columns), index))


def restrict(condition: Filter, index: ServedIndex) -> ServedIndex:
    """Return a view of ``index`` in which only the documents that pass a filter exist.

    Raises:
        UnknownField: the index has no such field.
        WrongType: a field cannot be compared with the value that the filter gives.
    """
    if isinstance(index, FilteringIndex):
        return index.restricted(condition)
    files = Index.of(index)
    return RestrictedIndex(files, find_documents(condition, files))


def release_masks(index: ServedIndex) -> None:
    """Drop what is cached of an index that is no longer asked, though it lives on beneath its successor."""
    with _lock:
        _caches.pop(index.root, None)


def evaluate(node: BoundNode, columns: Columns) -> Mask:
    """Return for each document whether a bound filter is true of it, shape (documents,)."""
    match node:
        case BoundTree(must=must, should=should, must_not=must_not):
            mask = np.ones(columns.rows, dtype=np.bool_)
            for child in must:
                mask &= evaluate(child, columns)
            if should:
                mask &= np.logical_or.reduce([evaluate(child, columns) for child in should])
            for child in must_not:
                mask &= ~evaluate(child, columns)
            return mask
        case BoundCondition(field=field, predicate=predicate, negated=negated):
            if isinstance(columns, Index) and compares_codes(columns, field):
                mask = matching(columns, field, predicate)
            else:
                mask = any_value(columns.column(field.column), field, predicate)
            return ~mask if negated else mask
        case BoundCircle(latitude=latitude, longitude=longitude, circle=circle):
            return in_circle(_degrees(latitude, columns), _degrees(longitude, columns), circle)


def any_value(column: pa.ChunkedArray, field: FieldPath, predicate: Predicate) -> Mask:
    """Return for each document whether a predicate is true of its value or, where it has several, of any of them."""
    values, owners = leaf_values(column, field.fields)
    truth = to_mask(predicate(values))
    if owners is None:
        return truth
    mask = np.zeros(len(column), dtype=np.bool_)
    mask[owners[truth]] = True
    return mask


def in_circle(latitudes: npt.NDArray[np.float64], longitudes: npt.NDArray[np.float64], circle: Circle) -> Mask:
    """Return which places, in degrees and of shape (documents,), are in a circle; NaN is in none."""
    # Cheap first: a place farther north or south than the radius, in degrees of latitude, is outside; most places are.
    reach = np.degrees(circle.km / EARTH_RADIUS) + 1e-9
    near = np.flatnonzero(np.abs(latitudes - circle.lat) <= reach)
    mask = np.zeros(len(latitudes), dtype=np.bool_)
    mask[near] = haversine(latitudes[near], longitudes[near], circle.lat, circle.lon) <= circle.km
    return mask


def haversine(
    latitudes: npt.NDArray[np.float64], longitudes: npt.NDArray[np.float64], lat: float, lon: float
) -> npt.NDArray[np.float64]:
    """Return the great-circle distance of places, in degrees and of shape (places,), to one place, in kilometres."""
    north, east = np.radians(latitudes - lat), np.radians(longitudes - lon)
    chord = np.sin(north / 2) ** 2 + np.cos(np.radians(latitudes)) * np.cos(np.radians(lat)) * np.sin(east / 2) ** 2
    distance: npt.NDArray[np.float64] = 2 * EARTH_RADIUS * np.arcsin(np.sqrt(np.clip(chord, 0, 1)))
    return distance


def _degrees(field: FieldPath, columns: Columns) -> npt.NDArray[np.float64]:
    values, _ = leaf_values(columns.column(field.column), field.fields)
    degrees: npt.NDArray[np.float64] = values.cast(pa.float64()).fill_null(np.nan).to_numpy()
    return degrees


def _cache(index: ServedIndex) -> OwnedCache[tuple[int, str], DocumentMask]:
    with _lock:
        return _caches.setdefault(index, OwnedCache(CACHED_BYTES, _entry_bytes))


def _entry_bytes(key: tuple[int, str], mask: DocumentMask) -> int:
    return sys.getsizeof(key[1]) + mask.nbytes + ENTRY_BYTES
