"""Exact dense leg: a FAISS index over the full passage vectors, compared by inner product of unit vectors.

The vectors are memory-mapped. Other kinds of dense indexes find passages by codes (`indexer.index.approximate`), and
take scores and vectors from here.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Self

import faiss
import numpy as np

from indexer.cache import owner
from indexer.index.document_mask import DocumentMask, Rows
from indexer.inference.encoder import Vectors

FILE = "vectors.faiss"
"""The full vectors, in every kind of dense index."""
SPARE = 8
"""Passages fetched beyond those asked for. Of equal scores FAISS returns any; the first rows are to be returned."""
BRUTE_FORCE_SHARE = 0.2
"""Up to this share of all passages, those that a filter allows are compared one by one (docs/decisions/filters.md)."""
MOST_KEPT = 50_000
"""Up to so many passages the cosines of a query with all of them are kept until the thread's next query."""
BATCH_QUERIES = 4
"""From this many queries on FAISS multiplies matrices instead of comparing vector by vector; see `DenseIndex`."""


def unit(vectors: Vectors) -> Vectors:
    """Scale vectors, shape (…, dimension), to length one; a zero vector stays zero."""
    if vectors.ndim == 1:  # every query: a third of the time of the general case, and the same to the last bit
        query: Vectors = vectors / max(np.sqrt(np.add.reduce(vectors * vectors)), np.float32(1e-12))
        return query
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: Vectors = vectors / np.maximum(length, np.float32(1e-12))
    return scaled


def write_faiss(path: Path, index: faiss.Index) -> None:
    """Write a FAISS index through Python's file: FAISS by itself only prints a message when a full disk refuses a block.

    Raises:
        OSError: the disk is full, or cannot be written.
    """
    with path.open("wb") as file:
        faiss.write_index(index, faiss.PyCallbackIOWriter(file.write))  # type: ignore[attr-defined]


class DenseIndex:
    """Passage vectors that can be searched; safe to use from several threads.

    From a number of queries times dimensions on, which all indexes of a process share, FAISS multiplies matrices. By
    default that is 334 queries of 384 dimensions; with 4 it takes 3/5 of the time already, with 64 a tenth. One query
    stays below whatever its dimension is, since the number here never falls: its scores keep their last bit.
    """

    def __init__(self, index: faiss.Index) -> None:
        self._faiss = index
        self._rows = np.arange(int(index.ntotal)) if index.ntotal <= MOST_KEPT else None
        self._last = threading.local()  # whose and which vector was compared with all passages, and its cosines
        DenseIndex._batch_size = max(DenseIndex._batch_size, BATCH_QUERIES * int(index.d))
        faiss.cvar.distance_compute_blas_threshold = DenseIndex._batch_size

    _batch_size = 0

    @classmethod
    def of(cls, vectors: Vectors) -> Self:
        """Make an exact index in memory over ``vectors``, shape (rows, dimension)."""
        index = faiss.IndexFlatIP(vectors.shape[1])
        index.add(unit(np.ascontiguousarray(vectors, dtype=np.float32)))
        return cls(index)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Map the index file into memory."""
        return cls(faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC))

    def __len__(self) -> int:
        return int(self._faiss.ntotal)

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return int(self._faiss.d)

    @property
    def _index(self) -> faiss.Index:
        """The FAISS index, with OpenMP limited to one thread for the calling thread.

        Queries run in parallel, one on each core. OpenMP has a separate limit for every calling thread. By default each
        of them gets helper threads, which go on spinning after a search and take the cores from the encoder.
        """
        faiss.omp_set_num_threads(1)
        return self._faiss

    def search(self, vector: Vectors, count: int, allowed: DocumentMask | None = None) -> tuple[Vectors, Rows]:
        """Return cosine and row of the ``count`` nearest passages, best first; fewer where there are not so many.

        With ``allowed``, only passages of these documents are compared. Both methods are exact: few passages are
        compared one by one; for many, FAISS scans the index and skips those whose bit is not set.
        """
        if not len(self):  # FAISS refuses to search nothing
            return np.empty(0, dtype=np.float32), np.empty(0, dtype=np.int64)
        if allowed is None and self._rows is not None:
            return largest(count, self._all_scores(vector, self._rows))
        if allowed is None:
            scores, rows = self._index.search(unit(vector)[None, :], min(count + SPARE, len(self)))
            return best_first(count, scores[0], rows[0])
        count = min(count, allowed.passage_count)
        if not count:
            return np.empty(0, dtype=np.float32), np.empty(0, dtype=np.int64)
        if allowed.passage_count <= BRUTE_FORCE_SHARE * len(self):
            return self._brute_force(vector, count, allowed.passages)
        selector = faiss.IDSelectorBitmap(allowed.passage_bits)  # type: ignore[arg-type, call-arg]
        parameters = faiss.SearchParameters(sel=selector)  # type: ignore[call-arg]
        depth = min(count + SPARE, allowed.passage_count)
        scores, rows = self._index.search(unit(vector)[None, :], depth, params=parameters)
        return best_first(count, scores[0], rows[0])

    def search_many(self, vectors: Vectors, count: int) -> tuple[Vectors, Rows]:
        """Return what `search` returns for each of several vectors, shape (vectors, count), several times faster.

        FAISS compares many vectors by products of matrices, which add up in another order. So what is found is compared
        again as `search` does: a score does not depend on the other vectors.
        """
        if not len(self):
            return np.empty((len(vectors), 0), dtype=np.float32), np.empty((len(vectors), 0), dtype=np.int64)
        _, rows = self._index.search(unit(vectors), min(count + SPARE, len(self)))
        best = [
            best_first(count, self.scores(vector, found), found) for vector, found in zip(vectors, rows, strict=True)
        ]
        return np.stack([scores for scores, _ in best]), np.stack([found for _, found in best])

    def scores(self, vector: Vectors, rows: Rows) -> Vectors:
        """Return the cosine of ``vector`` to each passage of ``rows``, shape (len(rows),), as `search` computes it.

        Raises:
            IndexError: a row is beyond the passages of the index.
        """
        passages = np.ascontiguousarray(rows, dtype=np.int64)
        if not len(passages):
            return np.empty(0, dtype=np.float32)
        if passages.min() < 0 or passages.max() >= len(self):  # FAISS would read other memory
            raise IndexError(f"passages {passages.min()} to {passages.max()} of {len(self)}")
        if getattr(self._last, "key", None) == (owner.get(), vector.tobytes()):
            known: Vectors = self._last.scores[passages]
            return known
        return self._compare(vector, passages)

    def _all_scores(self, vector: Vectors, rows: Rows) -> Vectors:
        """Return the cosine of ``vector`` to every passage, and keep it for `scores`, which will be asked for some."""
        self._last.key, self._last.scores = (owner.get(), vector.tobytes()), self._compare(vector, rows)
        scores: Vectors = self._last.scores
        return scores

    def _compare(self, vector: Vectors, passages: Rows) -> Vectors:
        query = np.ascontiguousarray(unit(vector))
        cosines = np.empty(len(passages), dtype=np.float32)
        # Computed on the vectors in the mapped file: copying them out first takes twice as long.
        self._index.compute_distance_subset(  # type: ignore[attr-defined]
            1, faiss.swig_ptr(query), len(passages), faiss.swig_ptr(cosines), faiss.swig_ptr(passages)
        )
        return cosines

    def _brute_force(self, vector: Vectors, count: int, rows: Rows) -> tuple[Vectors, Rows]:
        scores = self.scores(vector, rows)
        best = np.argpartition(-scores, min(count + SPARE, len(rows)) - 1)[: count + SPARE]
        return best_first(count, scores[best], rows[best])

    def vectors(self, rows: Rows) -> Vectors:
        """Return the vectors of passages, shape (len(rows), dimension)."""
        vectors: Vectors = self._index.reconstruct_batch(np.ascontiguousarray(rows, dtype=np.int64))
        return vectors


def best_first(count: int, scores: Vectors, rows: Rows) -> tuple[Vectors, Rows]:
    """Return the ``count`` best passages, best first; of equal scores the lower row."""
    if (scores[1:] < scores[:-1]).all():  # as FAISS returns them, but for equal scores
        return scores[:count], rows[:count]
    best = np.lexsort((rows, -scores))[:count]
    return scores[best], rows[best]


def largest(count: int, scores: Vectors) -> tuple[Vectors, Rows]:
    """Return the ``count`` largest of the scores of all passages, best first, and their rows; of equal ones the lower row."""
    rows = np.arange(len(scores))
    if count < len(scores):
        rows = np.flatnonzero(scores >= np.partition(scores, len(scores) - count)[len(scores) - count])
    rows = rows[np.argsort(-scores[rows], kind="stable")[:count]]
    return scores[rows], rows
