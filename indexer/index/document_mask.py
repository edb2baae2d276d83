"""Document mask: which documents a search may return, the same set for both legs."""

from __future__ import annotations

import weakref
from functools import cached_property
from itertools import count
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]
"""Row numbers of documents or passages."""
Mask = npt.NDArray[np.bool_]
"""A truth value for each document of an index, shape (documents,)."""
FEW = 16
"""A set is small where it has at most one in so many of the documents: then their passages are found one by one."""
_serials = count(1)


class DocumentMask:
    """A set of documents of one index. Immutable; counts, rows and bits are computed on demand.

    Args:
        mask: for each document whether it may be returned, shape (documents,).
        first_passage: row of the first passage of each document, and one past the last, shape (documents + 1,).

    Attributes:
        serial: a number that no other mask of this process has; what is cached of a mask is found by it.
    """

    def __init__(self, mask: Mask, first_passage: Rows) -> None:
        if len(mask) + 1 != len(first_passage):
            raise ValueError(f"a mask of {len(mask)} documents for an index of {len(first_passage) - 1}")
        self.mask = mask
        self.mask.flags.writeable = False
        self._first_passage = first_passage
        self.serial = next(_serials)

    def __and__(self, other: DocumentMask) -> DocumentMask:
        """Return the documents that are in both sets of the same index."""
        return DocumentMask(self.mask & other.mask, self._first_passage)

    @cached_property
    def count(self) -> int:
        """Number of documents."""
        return int(np.count_nonzero(self.mask))

    @property
    def nbytes(self) -> int:
        """Memory of the mask: a byte for each document and a bit for each passage of the *index*, however few it has."""
        return self.mask.nbytes + int(self._first_passage[-1]) // 8 + 1

    @property
    def rows(self) -> Rows:
        """Rows of the documents, ascending, shape (count,)."""
        return np.flatnonzero(self.mask)

    @cached_property
    def passage_count(self) -> int:
        """Number of passages of the documents."""
        if self._few:
            return int(_layout(self._first_passage).lengths[self.rows].sum())
        return int(np.bitwise_count(self.passage_bits).sum())

    @property
    def passages(self) -> Rows:
        """Rows of the passages of the documents, ascending, shape (passage_count,)."""
        if self._few:
            return passages_of(self.rows, self._first_passage)
        return np.flatnonzero(np.unpackbits(self.passage_bits, count=int(self._first_passage[-1]), bitorder="little"))

    @cached_property
    def passage_bits(self) -> npt.NDArray[np.uint8]:
        """One bit for each passage of the index, eight to a byte, the lowest bit first, as FAISS takes them."""
        if self._few:  # a tenth of the time of a look-up for each passage
            passages = np.zeros(int(self._first_passage[-1]), dtype=np.bool_)
            passages[self.passages] = True
        else:
            passages = self.mask[_layout(self._first_passage).documents]
        return np.packbits(passages, bitorder="little")

    @property
    def _few(self) -> bool:
        return self.count * FEW < len(self.mask)


class _Layout(NamedTuple):
    """Number of passages of each document, shape (documents,), and document of each passage, shape (passages,)."""

    lengths: npt.NDArray[np.int32]
    documents: npt.NDArray[np.int32]


_layouts: dict[int, tuple[weakref.ref[Rows], _Layout]] = {}


def _layout(first_passage: Rows) -> _Layout:
    """Return the layout of an index's passages; it is kept as long as the array, for all filters of the index."""
    number = id(first_passage)
    known = _layouts.get(number)
    if known is not None and known[0]() is first_passage:
        return known[1]
    lengths = np.diff(first_passage).astype(np.int32)
    layout = _Layout(lengths, np.repeat(np.arange(len(lengths), dtype=np.int32), lengths))
    _layouts[number] = weakref.ref(first_passage, lambda _: _layouts.pop(number, None)), layout
    return layout


def passages_of(documents: Rows, first_passage: Rows) -> Rows:
    """Return the rows of the passages of ``documents``, in their order."""
    starts = first_passage[documents]
    lengths = first_passage[documents + 1] - starts
    offsets = np.cumsum(lengths) - lengths  # of each document's first passage in the result
    rows: Rows = np.repeat(starts - offsets, lengths) + np.arange(lengths.sum())
    return rows
