"""Encoded columns: the values of a column as small numbers, by which facets and filters of a million documents take milliseconds.

A column is encoded when it is first needed, and kept with the opened index. Of live documents over it, only their own values
are encoded. Counting by numbers needs no bitmap for each value: `docs/decisions/filters.md` has the comparison.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from indexer.cache import Cache
from indexer.filters.bind import Predicate, missing
from indexer.filters.fields import FieldPath
from indexer.filters.leaves import leaf_values, to_mask
from indexer.index.arrow import ArrowTable
from indexer.index.document_mask import DocumentMask, Mask, Rows, passages_of
from indexer.index.index import Index

CACHED_BYTES = 256 << 20
"""Memory for the encoded columns of an opened index. They tell nothing about what was asked but the name of a field."""
SAMPLED = 4_096
"""Rows from all over a column that tell whether its values repeat."""
COMPARED = 8
"""Up to so many values are looked for one by one."""
FEW = 16
"""Where at most one in so many documents is asked about, their values are found document by document."""
Codes = npt.NDArray[np.unsignedinteger[Any]]
Counts = npt.NDArray[np.int64]

_caches: WeakKeyDictionary[ArrowTable, Cache[FieldPath, EncodedColumn]] = WeakKeyDictionary()
_repeating: WeakKeyDictionary[ArrowTable, dict[FieldPath, bool]] = WeakKeyDictionary()
_lock = threading.Lock()


@dataclass(frozen=True)
class EncodedColumn:
    """The values of a field in all documents.

    Attributes:
        values: the different values; nulls and NaN are none.
        codes: of each value of the documents, in their order: 1 plus its place in ``values``, or 0 for a missing one. Of a
            field with several values a document, a document's equal values are one, and missing ones are left out.
        first: where each document's values begin in ``codes``, and one past the last; None where each has one code.
        rank: place of each of ``values`` in their order; None where they are in order.
    """

    values: pa.Array
    codes: Codes
    first: Rows | None
    rank: npt.NDArray[np.int64] | None = None

    @classmethod
    def of(cls, column: pa.ChunkedArray, path: FieldPath) -> Self:
        """Encode the field ``path`` of a column with a value for each document."""
        values, owners = leaf_values(column, path.fields)
        return cls.encode(values, owners, len(column))

    @classmethod
    def encode(cls, values: pa.ChunkedArray, owners: Rows | None, documents: int) -> Self:
        """Encode values of documents.

        Args:
            values: as `leaf_values` returns them.
            owners: for each value the number of its document, ascending; None where each document has exactly one.
            documents: number of documents.
        """
        if pa.types.is_dictionary(values.type):
            values = values.cast(values.type.value_type)
        if pa.types.is_floating(values.type):
            values = pc.add(values, pa.scalar(0.0, values.type))  # -0.0 equals 0.0, and is counted with it
        present = ~to_mask(missing(values))
        known = values.combine_chunks() if present.all() else values.filter(pa.array(present)).combine_chunks()
        encoded = known.dictionary_encode()
        different = len(encoded.dictionary)
        order = np.arange(0) if not different else pc.array_sort_indices(encoded.dictionary).to_numpy()
        code_of = np.empty(different, dtype=np.int64)
        code_of[order] = np.arange(1, different + 1)
        codes = np.zeros(len(values), dtype=np.int64)
        codes[present] = code_of[encoded.indices.to_numpy()]
        first = None
        if owners is not None:
            first, codes = _distinct(owners[present], codes[present], documents, different + 1)
        return cls(encoded.dictionary.take(pa.array(order)), codes.astype(np.min_scalar_type(different + 1)), first)

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""
        parts = (self.values, self.codes, self.first, self.rank)
        return sum(int(part.nbytes) for part in parts if part is not None)

    def extended(self, column: pa.ChunkedArray, path: FieldPath) -> EncodedColumn:
        """Return the column with the values of more documents."""
        more = EncodedColumn.of(column, path)
        places = pc.index_in(more.values, value_set=self.values)
        new = more.values.filter(pc.is_null(places))
        code_of = np.zeros(len(more.values) + 1, dtype=np.int64)
        code_of[1:] = places.fill_null(-1).to_numpy() + 1
        code_of[1:][code_of[1:] == 0] = len(self.values) + 1 + np.arange(len(new))
        codes = np.concatenate([self.codes, code_of[more.codes]])
        first = self.first
        if first is not None and more.first is not None:
            first = np.concatenate([first[:-1], more.first + first[-1]])
        values = pa.concat_arrays([self.values, new])
        codes = codes.astype(np.min_scalar_type(len(values) + 1))
        rank = self.rank
        if len(new):
            rank = np.empty(len(values), dtype=np.int64)
            rank[pc.array_sort_indices(values).to_numpy()] = np.arange(len(values))
        return replace(self, values=values, codes=codes, first=first, rank=rank)

    def counts(self, documents: DocumentMask) -> tuple[Counts, int]:
        """Return how many of the documents have each of ``values``, and how many have none."""
        if documents.count == len(documents.mask):
            counts, rows = self._total, None
        else:
            rows = documents.rows
            counts = np.bincount(self.codes[self._places(documents, rows)], minlength=len(self.values) + 1)
        if self.first is None:
            return counts[1:], int(counts[0])
        lengths = self._lengths if rows is None else self._lengths[rows]
        return counts[1:], int(np.count_nonzero(lengths == 0))

    def count_any(self, truth: Mask, documents: DocumentMask) -> int:
        """Return how many of the documents have any of those of ``values`` of which ``truth``, shape (values,), is true."""
        if self.first is None:
            return int(self.counts(documents)[0][truth].sum())
        return int(np.count_nonzero(self.mask(truth) & documents.mask))

    def mask(self, truth: Mask) -> Mask:
        """Return for each document whether it has any of those of ``values`` of which ``truth`` is true."""
        passing = self._passing(truth)
        if self.first is None:
            return passing
        mask = np.zeros(len(self.first) - 1, dtype=np.bool_)
        mask[self._owners[passing]] = True
        return mask

    def _passing(self, truth: Mask) -> Mask:
        """Return for each of ``codes`` whether ``truth`` is true of its value."""
        found = np.flatnonzero(truth) + 1
        if len(found) > COMPARED:
            passing: Mask = np.concatenate([[False], truth])[self.codes]
            return passing
        passing = np.zeros(len(self.codes), dtype=np.bool_)
        for code in found:  # each comparison takes a twentieth of the time of a look-up
            passing |= self.codes == code
        return passing

    def places(self, rows: Rows | None, *, descending: bool = False) -> Codes:
        """Return the place of the value of each document in the order of all values, missing ones last.

        Args:
            rows: of the documents; None for all. Each has one code.
            descending: whether the greatest value is in the first place; missing ones are last all the same.
        """
        count = len(self.values)
        places = np.arange(count) if self.rank is None else self.rank
        place_of = np.concatenate([[count], count - 1 - places if descending else places])
        table: Codes = place_of.astype(self.codes.dtype)
        return table[self.codes if rows is None else self.codes[rows]]

    def in_order(self, codes: Rows) -> Rows:
        """Return the place in the order of all values of each of ``values`` at these places."""
        return codes if self.rank is None else self.rank[codes]

    def _places(self, documents: DocumentMask, rows: Rows) -> Rows:
        """Return where in ``codes`` the values of documents are."""
        if self.first is None:
            return rows
        if len(rows) * FEW < len(documents.mask):
            return passages_of(rows, self.first)
        return np.flatnonzero(documents.mask[self._owners])

    @cached_property
    def _total(self) -> Counts:
        return np.bincount(self.codes, minlength=len(self.values) + 1)

    @cached_property
    def _lengths(self) -> Rows:
        return np.diff(self.first) if self.first is not None else np.ones(len(self.codes), dtype=np.int64)

    @cached_property
    def _owners(self) -> npt.NDArray[np.int32]:
        return np.repeat(np.arange(len(self._lengths), dtype=np.int32), self._lengths)


def encoded_column(index: Index, path: FieldPath) -> EncodedColumn:
    """Return a field of all documents of an index, encoded; live documents and replaced ones are among them."""
    table, column = index.contents.documents, index.column(path.column)
    built = len(table.origin)
    base = _cached(table.origin, path, lambda: EncodedColumn.of(column.slice(0, built), path))
    if table is table.origin:
        return base
    return _cached(table, path, lambda: base.extended(column.slice(built), path))


def compares_codes(index: Index, path: FieldPath) -> bool:
    """Return whether a condition is best evaluated by `matching`: on lists, and on columns in which many values are equal.

    Comparing a million values takes 4 to 6 ms, by codes less than one. A column whose values are nearly all different would
    not gain, and its dictionary would be as large as the column.
    """
    if pa.types.is_nested(path.type):  # of structs it can only be asked whether there are any
        return False
    if path.in_list:
        return True
    origin = index.contents.documents.origin
    with _lock:
        known = _repeating.setdefault(origin, {})
    if path not in known:
        rows = np.linspace(0, max(len(origin) - 1, 0), min(len(origin), SAMPLED)).astype(np.int64)
        values, _ = leaf_values(index.column(path.column).take(pa.array(rows)), path.fields)
        known[path] = bool(len(values.unique()) * 2 <= len(values))
    return known[path]


def matching(index: Index, path: FieldPath, predicate: Predicate) -> Mask:
    """Return for each document of an index whether a predicate is true of any of its values."""
    column = encoded_column(index, path)
    return column.mask(to_mask(predicate(pa.chunked_array([column.values]))))


def _distinct(owners: Rows, codes: Rows, documents: int, different: int) -> tuple[Rows, Rows]:
    """Return where each document's codes begin, and the codes, each once for a document; ``owners`` are ascending."""
    pairs = owners * different + codes
    if len(pairs) and not (np.diff(pairs) > 0).all():
        pairs = np.sort(pairs)
        pairs = pairs[np.diff(pairs, prepend=-1) > 0]  # NumPy's `unique` hashes them, which takes forty times as long
        owners, codes = np.divmod(pairs, different)
    return np.searchsorted(owners, np.arange(documents + 1)), codes


def _cached(table: ArrowTable, path: FieldPath, make: Callable[[], EncodedColumn]) -> EncodedColumn:
    with _lock:
        cache = _caches.setdefault(table, Cache(CACHED_BYTES, lambda _, column: column.nbytes))
    return cache.get_or_compute(path, make)
