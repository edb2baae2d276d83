"""The dense leg: an exact FAISS index over passage vectors, compared by inner product of unit vectors."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal, Self

import faiss
import numpy as np

from indexer.index.document_mask import DocumentMask, Rows
from indexer.inference.encoder import Vectors

DenseKind = Literal["flat"]

FILE = "vectors.faiss"
BRUTE_FORCE_SHARE = 0.2
"""Share of the passages up to which those that a filter allows are compared one by one (see DECISIONS.md)."""


def unit(vectors: Vectors) -> Vectors:
    """Scale vectors, shape (…, dimension), to length one; a zero vector stays zero."""
    if vectors.ndim == 1:  # every query: a third of the time of the general way, and the same to the last bit
        one: Vectors = vectors / max(np.sqrt(np.add.reduce(vectors * vectors)), np.float32(1e-12))
        return one
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: Vectors = vectors / np.maximum(length, np.float32(1e-12))
    return scaled


def write_dense(path: Path, kind: DenseKind, dimension: int, blocks: Iterable[Vectors]) -> None:
    """Write a FAISS index over ``blocks`` of vectors, each of shape (rows, dimension), in their order.

    Args:
        path: the file to write.
        kind: ``flat`` searches exactly; it is recorded in the index's configuration.
        dimension: length of a vector.
        blocks: the vectors, in pieces.

    Raises:
        OSError: the disk is full, or cannot be written.
    """
    index = {"flat": faiss.IndexFlatIP}[kind](dimension)
    for block in blocks:
        index.add(unit(np.ascontiguousarray(block, dtype=np.float32)))
    # Through Python's file: by itself FAISS only prints that a full disk has not taken the last block of a file.
    with path.open("wb") as file:
        faiss.write_index(index, faiss.PyCallbackIOWriter(file.write))  # type: ignore[attr-defined]


class DenseIndex:
    """Passage vectors that can be searched; safe to use from several threads."""

    def __init__(self, index: faiss.Index) -> None:
        self._faiss = index

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
        """The FAISS index, which the calling thread then uses without helpers.

        Queries run side by side, one on each core. OpenMP keeps the number of threads for every thread that asks apart;
        by default each of them gets a team of its own, which goes on spinning after its part of a search is done and
        takes the cores from the encoder.
        """
        faiss.omp_set_num_threads(1)
        return self._faiss

    def search(self, vector: Vectors, count: int, allowed: DocumentMask | None = None) -> tuple[Vectors, Rows]:
        """Return cosine and row of the ``count`` nearest passages, best first; fewer where there are fewer.

        Only passages of ``allowed`` documents are looked at. Both ways of doing that are exact: few passages are
        compared one by one, of many the index skips those whose bit is not set.
        """
        if allowed is None:
            scores, rows = self._index.search(unit(vector)[None, :], min(count, len(self)))
            return scores[0], rows[0]
        count = min(count, allowed.passage_count)
        if not count:
            return np.empty(0, dtype=np.float32), np.empty(0, dtype=np.int64)
        if allowed.passage_count <= BRUTE_FORCE_SHARE * len(self):
            return self._among(vector, count, allowed.passages)
        selector = faiss.IDSelectorBitmap(allowed.passage_bits)  # type: ignore[arg-type, call-arg]
        chosen = faiss.SearchParameters(sel=selector)  # type: ignore[call-arg]
        scores, rows = self._index.search(unit(vector)[None, :], count, params=chosen)
        return scores[0], rows[0]

    def search_many(self, vectors: Vectors, count: int) -> tuple[Vectors, Rows]:
        """Return what `search` returns for each of several vectors, shape (vectors, count): several times as quick."""
        scores, rows = self._index.search(unit(vectors), min(count, len(self)))
        return scores, rows

    def scores(self, vector: Vectors, rows: Rows) -> Vectors:
        """Return the cosine of ``vector`` to each passage of ``rows``, shape (len(rows),): what `search` gives them."""
        query, wanted = np.ascontiguousarray(unit(vector)), np.ascontiguousarray(rows, dtype=np.int64)
        found = np.empty(len(wanted), dtype=np.float32)
        if not len(wanted):
            return found
        if wanted.min() < 0 or wanted.max() >= self._index.ntotal:  # FAISS would read whatever lies there
            raise IndexError(f"passages {wanted.min()} to {wanted.max()} of {self._index.ntotal}")
        # Computed where the vectors lie in the mapped file: copying them out first takes twice as long.
        self._index.compute_distance_subset(  # type: ignore[attr-defined]
            1, faiss.swig_ptr(query), len(wanted), faiss.swig_ptr(found), faiss.swig_ptr(wanted)
        )
        return found

    def _among(self, vector: Vectors, count: int, rows: Rows) -> tuple[Vectors, Rows]:
        scores = self.scores(vector, rows)
        best = np.argpartition(-scores, count - 1)[:count]
        best = best[np.lexsort((rows[best], -scores[best]))]
        return scores[best], rows[best]

    def vectors(self, rows: Rows) -> Vectors:
        """Return the vectors of passages, shape (len(rows), dimension)."""
        found: Vectors = self._index.reconstruct_batch(np.ascontiguousarray(rows, dtype=np.int64))
        return found
