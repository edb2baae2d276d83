"""Codes of passages: what a dense index compares first, as a flat scan, an inverted file or a graph.

Each class finds the rows whose codes are nearest to a query. A filter may leave few documents, or those that are far from
the query, and still every one of them has to be found:

- `Scan` compares the codes of all allowed passages.
- `Lists` looks into lists in the order of their distance until these hold enough *allowed* passages. Where a filter
  excludes what is near the query, it finds nothing, and the full vectors are compared.
- `Graph` is not followed under a filter, which would cut its paths; it scans the codes instead.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import faiss
import numpy as np
import numpy.typing as npt

from indexer.errors import UserError
from indexer.index.approximate.kinds import DenseKind, count_lists
from indexer.index.dense import DenseIndex
from indexer.index.document_mask import DocumentMask, Rows
from indexer.inference.encoder import Vectors

FILE = "codes.faiss"
QUERY_BITS = 8
"""Bits of a component of the query where it is compared with codes of one bit."""
LINKS = 32
"""Links of a passage in the graph of `hnsw`."""
BUILD_CANDIDATES = 80
"""Candidates among which `hnsw` chooses the links of a passage."""
MAX_SLACK = 3
"""At most so many times as many allowed passages are compared under a filter as passages without one."""
EXACT_PER_LIST = 8
"""Full vectors that are compared in the time that a list takes under a filter: some 3 microseconds."""
LEAST_COMPARED = 4
"""Allowed passages that are compared under a filter for each that is asked for, at least."""
FAR_SHARE = 0.5
"""A filter excludes what is near a query where the nearest lists hold less than this part of the allowed passages that they
would hold if these were spread evenly."""


class Codes(Protocol):
    """Codes that can be searched; safe to use from several threads."""

    @property
    def parameter(self) -> str | None:
        """FAISS's name of the effort of a search; None where a search compares all codes."""

    @property
    def nested(self) -> bool:
        """Whether the passages that a search finds are the first of those that a search for more finds."""

    @property
    def index(self) -> faiss.Index:
        """The FAISS index."""

    @property
    def lists(self) -> int:
        """Number of lists into which the passages are divided; 0 for none."""

    def centres(self) -> Vectors | None:
        """Return the centres of the lists, shape (lists, dimension); None where there are no lists."""

    def efforts(self) -> list[int]:
        """Return the efforts to choose from, ascending."""

    def compared(self, effort: int) -> float:
        """Return how many codes a search of this effort compares, roughly."""

    def find(
        self, query: Vectors, count: int, effort: int, allowed: DocumentMask | None = None, *, least: int = 0
    ) -> Rows:
        """Return the ``count`` rows nearest to a unit vector of shape (dimension,); fewer where it does not find them.

        With ``least``, more effort is taken where fewer than these are found.
        """


class Scan:
    """Codes that are all compared."""

    parameter = None
    nested = True
    lists = 0

    def __init__(self, index: faiss.Index) -> None:
        self.index = index

    def centres(self) -> None:
        """Return None: there are no lists."""

    def efforts(self) -> list[int]:
        """Return the one effort."""
        return [1]

    def compared(self, effort: int) -> float:  # noqa: ARG002 - there is only one
        """Return the number of codes."""
        return float(self.index.ntotal)

    def find(
        self,
        query: Vectors,
        count: int,
        effort: int,  # noqa: ARG002
        allowed: DocumentMask | None = None,
        *,
        least: int = 0,  # noqa: ARG002
    ) -> Rows:
        """Return the rows with the ``count`` nearest codes."""
        selector = _selector(allowed)
        parameters = None if selector is None else faiss.SearchParameters(sel=selector)  # type: ignore[call-arg]
        return _search(self.index, query, count, parameters)


class Lists:
    """Codes in lists around centres; a search compares those of the nearest ones."""

    parameter = "nprobe"
    nested = True

    def __init__(self, index: faiss.IndexIVF) -> None:
        self.index = index
        self.lists = int(index.nlist)
        self._counts: WeakKeyDictionary[DocumentMask, npt.NDArray[np.int64]] = WeakKeyDictionary()
        self._one_bit = isinstance(index, faiss.IndexIVFRaBitQ)
        self._quantizer, self._every_list = DenseIndex(faiss.downcast_index(index.quantizer)), np.arange(index.nlist)

    def centres(self) -> Vectors:
        """Return the centres of the lists, shape (lists, dimension)."""
        centres: Vectors = self.index.quantizer.reconstruct_n(0, self.lists)
        return centres

    def efforts(self) -> list[int]:
        """Return numbers of lists, each twice the one before."""
        return [1 << power for power in range(self.lists.bit_length()) if 1 << power < self.lists] + [self.lists]

    def compared(self, effort: int) -> float:
        """Return the number of codes in so many lists, on average."""
        return effort * self.index.ntotal / self.lists

    def find(
        self, query: Vectors, count: int, effort: int, allowed: DocumentMask | None = None, *, least: int = 0
    ) -> Rows:
        """Return the rows with the ``count`` nearest codes in ``effort`` lists, or in as many as a filter takes."""
        if allowed is None:
            rows = _search(self.index, query, count, self._parameters(effort, None))
            if len(rows) < least:
                enough = _lists_with(count, self._sizes[self._order(query)])
                rows = _search(self.index, query, count, self._parameters(enough, None))
            return rows
        lists = self._lists_under(allowed, query, count, effort, least)
        if lists is None:
            return np.empty(0, dtype=np.int64)
        return _search(self.index, query, count, self._parameters(lists, _selector(allowed)))

    def _lists_under(self, allowed: DocumentMask, query: Vectors, count: int, effort: int, least: int) -> int | None:
        """Return how many of the nearest lists hold enough allowed passages; None where exact search is better.

        It is where allowed passages are not near the query: then the nearest of them may be in any list, since all are
        about equally far. And it is where so many lists take longer.
        """
        order, counts = self._order(query), self._count_allowed(allowed)
        nearest = order[:effort]
        without_filter = int(self._sizes[nearest].sum())
        if counts[nearest].sum() < FAR_SHARE * without_filter * allowed.passage_count / self.index.ntotal:
            return None
        enough = max(count, LEAST_COMPARED * least, _slack(allowed.passage_count / self.index.ntotal) * without_filter)
        lists = max(effort, _lists_with(enough, counts[order]))
        return None if allowed.passage_count <= EXACT_PER_LIST * lists else lists

    def _parameters(self, lists: int, selector: faiss.IDSelector | None) -> faiss.SearchParameters:
        parameters = faiss.IVFRaBitQSearchParameters() if self._one_bit else faiss.SearchParametersIVF()
        parameters.nprobe = lists
        if self._one_bit:
            parameters.qb = QUERY_BITS  # type: ignore[attr-defined]
        if selector is not None:
            parameters.sel = selector
        return parameters

    def _order(self, query: Vectors) -> Rows:
        """Return all lists, the nearest first.

        FAISS's own search for all of them takes twice as long, and NumPy's product starts threads.
        """
        order: Rows = np.argsort(-self._quantizer.scores(query, self._every_list))
        return order

    @cached_property
    def _sizes(self) -> npt.NDArray[np.int64]:
        return np.bincount(self._list_of, minlength=self.lists)

    @cached_property
    def _list_of(self) -> npt.NDArray[np.int32]:
        """List of each passage, shape (passages,)."""
        lists = np.empty(self.index.ntotal, dtype=np.int32)
        inverted: Any = self.index.invlists
        for number in range(self.lists):
            if size := inverted.list_size(number):
                ids = inverted.get_ids(number)
                lists[faiss.rev_swig_ptr(ids, size)] = number
                inverted.release_ids(number, ids)
        return lists

    def _count_allowed(self, allowed: DocumentMask) -> npt.NDArray[np.int64]:
        """Return how many allowed passages each list holds; it is computed once for each mask."""
        counts = self._counts.get(allowed)
        if counts is None:
            counts = np.bincount(self._list_of[allowed.passages], minlength=self.lists)
            self._counts[allowed] = counts
        return counts


class Graph:
    """Codes in a graph, which a search follows from neighbour to neighbour."""

    parameter = "efSearch"
    nested = False
    lists = 0
    EFFORTS = (16, 32, 64, 128, 256, 512, 1024)

    def __init__(self, index: faiss.IndexHNSW) -> None:
        self.index = index
        self._storage = Scan(index.storage)

    def centres(self) -> None:
        """Return None: there are no lists."""

    def efforts(self) -> list[int]:
        """Return numbers of candidates that are kept while the graph is searched."""
        return list(self.EFFORTS)

    def compared(self, effort: int) -> float:
        """Return how many codes a search compares, roughly: half of a candidate's links, which are twice `LINKS`."""
        return float(effort * LINKS)

    def find(
        self, query: Vectors, count: int, effort: int, allowed: DocumentMask | None = None, *, least: int = 0
    ) -> Rows:
        """Return the rows with the ``count`` nearest codes."""
        if allowed is not None:
            return self._storage.find(query, count, effort, allowed, least=least)
        parameters = faiss.SearchParametersHNSW(efSearch=max(effort, count))  # type: ignore[attr-defined]
        return _search(self.index, query, count, parameters)


def make_codes(kind: DenseKind, dimension: int, passages: int, lists: int | None = None) -> faiss.Index:
    """Return an empty, untrained FAISS index of the codes of ``passages`` vectors, with so many ``lists`` or as fit them.

    ``int8`` scales each component to 256 steps. ``1bit`` keeps the sign of each component of the difference to the
    list's centre, and two numbers that correct the product (RaBitQ: Gao and Long, «RaBitQ», SIGMOD 2024).
    """
    metric = faiss.METRIC_INNER_PRODUCT
    match kind:
        case "flat-fp16":
            return faiss.IndexScalarQuantizer(dimension, faiss.ScalarQuantizer.QT_fp16, metric)
        case "flat-int8":
            return faiss.IndexScalarQuantizer(dimension, faiss.ScalarQuantizer.QT_8bit, metric)
        case "ivf-int8" | "ivf-1bit":
            codes = "SQ8" if kind == "ivf-int8" else "RaBitQ"
            return faiss.index_factory(dimension, f"IVF{lists or count_lists(passages)},{codes}", metric)
        case "hnsw":
            graph = faiss.IndexHNSWSQ(dimension, faiss.ScalarQuantizer.QT_8bit, LINKS, metric)  # type: ignore[arg-type]
            graph.hnsw.efConstruction = BUILD_CANDIDATES
            return graph
        case _:
            raise ValueError(f"{kind} has no codes")


def as_codes(index: faiss.Index) -> Codes:
    """Return a FAISS index of one of the kinds in a form that can be searched."""
    if isinstance(index, faiss.IndexIVF):
        return Lists(index)
    return Graph(index) if isinstance(index, faiss.IndexHNSW) else Scan(index)


def open_codes(path: Path) -> Codes:
    """Map a file of codes into memory.

    Raises:
        UserError: FAISS cannot read it.
    """
    try:
        return as_codes(faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC))
    except RuntimeError as error:
        raise UserError(
            f"{path}: not readable as codes of a dense index; build the index again with --force"
        ) from error


def _lists_with(passages: float, counts: Rows) -> int:
    """Return how many of the first lists hold ``passages`` where each holds ``counts``; all where they do not."""
    return min(len(counts), int(np.searchsorted(np.cumsum(counts), passages)) + 1)


def _slack(share: float) -> float:
    """Return times as many allowed passages to compare under a filter that allows this share of all passages.

    Where few are allowed, the nearest ten are farther from the query, and in more lists, but among fewer passages. These
    find .99 of them on a million vectors, under filters at random as under such as depend on the topic.
    """
    return min(MAX_SLACK, 0.2 + 20 * share)


def _selector(allowed: DocumentMask | None) -> faiss.IDSelector | None:
    return None if allowed is None else faiss.IDSelectorBitmap(allowed.passage_bits)  # type: ignore[arg-type, call-arg]


def _search(index: faiss.Index, query: Vectors, count: int, parameters: faiss.SearchParameters | None) -> Rows:
    """Return the rows that FAISS finds, on one thread: queries run in parallel, one on each core (see `DenseIndex`)."""
    faiss.omp_set_num_threads(1)
    _, rows = index.search(query[None, :], count, params=parameters)
    found: Rows = rows[0][rows[0] >= 0]
    return found
