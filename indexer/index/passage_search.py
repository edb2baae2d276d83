"""Documents by their passages: a document is as near to a query as the nearest of its passages."""

from __future__ import annotations

import numpy as np

from indexer.index.document_mask import DocumentMask, Rows, passages_of
from indexer.index.legs import DenseLeg
from indexer.index.served import Neighbours
from indexer.inference.encoder import Vectors

MOST_TABULATED = 50_000
"""With up to so many documents, a table with a place for each is faster than sorting those that were found."""


class PassageSearch:
    """Searches passages and returns their documents.

    Args:
        dense: vectors of the passages.
        document_of: row of the document of each passage, shape (passages,), ascending.
        first_passage: row of the first passage of each document, and one past the last, shape (documents + 1,).
        documents: number of documents that a search can return.
    """

    def __init__(self, dense: DenseLeg, document_of: Rows, first_passage: Rows, documents: int) -> None:
        self._dense, self._document_of, self._first_passage = dense, document_of, first_passage
        self._documents = documents

    def nearest(self, vector: Vectors, depth: int, allowed: DocumentMask | None = None) -> Neighbours:
        """Return the ``depth`` nearest documents, reading as many passages as that takes."""
        total = len(self._dense) if allowed is None else allowed.passage_count
        count = self._passages_for(depth, allowed)
        while True:
            cosines, passages = self._dense.search(vector, count, allowed)
            if neighbours := self._group_by_document(passages, cosines, depth, total):
                return neighbours
            count *= 2

    def nearest_of_many(self, vectors: Vectors, depth: int) -> list[Neighbours]:
        """Return the nearest documents of many queries at once."""
        cosines, passages = self._dense.search_many(vectors, self._passages_for(depth))
        total = len(self._dense)
        results = (self._group_by_document(passages[row], cosines[row], depth, total) for row in range(len(vectors)))
        return [neighbours or self.nearest(vectors[row], depth) for row, neighbours in enumerate(results)]

    def best(self, vector: Vectors, rows: Rows) -> tuple[Vectors, Rows]:
        """Return cosine and row of the best passage of each document of ``rows``, both of shape (len(rows),)."""
        if not len(rows):
            return np.empty(0, dtype=np.float32), np.empty(0, dtype=np.int64)
        passages = passages_of(rows, self._first_passage)
        cosines = self._dense.scores(vector, passages)
        if len(passages) == len(rows):
            return cosines, passages
        document = np.repeat(np.arange(len(rows)), self._first_passage[rows + 1] - self._first_passage[rows])
        best = np.lexsort((-cosines, document))  # by document, the best passage of each first
        first = best[np.searchsorted(document, np.arange(len(rows)))]
        return cosines[first], passages[first]

    def sample(self, count: int, visible: DocumentMask | None = None) -> Rows:
        """Return at most ``count`` passages from all over the documents, or the visible ones, evenly spaced."""
        documents = np.arange(len(self._first_passage) - 1) if visible is None else visible.rows
        return evenly(passages_of(evenly(documents, count), self._first_passage), count)

    def _passages_for(self, depth: int, allowed: DocumentMask | None = None) -> int:
        """Return how many passages usually belong to ``depth`` documents: the average and a quarter more."""
        if allowed is not None:
            return 1 + depth * allowed.passage_count * 5 // (max(allowed.count, 1) * 4)
        return 1 + depth * len(self._dense) * 5 // (self._documents * 4)

    def _group_by_document(self, passages: Rows, cosines: Vectors, depth: int, total: int) -> Neighbours | None:
        """Return the documents of ``passages``, best first; None where they are too few and there are more passages."""
        order = self._firsts(self._document_of[passages])
        if len(order) < depth and len(passages) < total:
            return None
        order = order[:depth]
        return self._document_of[passages[order]], cosines[order], passages[order]

    def _firsts(self, documents: Rows) -> Rows:
        """Return the positions at which a document occurs for the first time, ascending."""
        if len(self._first_passage) > MOST_TABULATED:
            return np.sort(np.unique(documents, return_index=True)[1])
        places, first = np.arange(len(documents)), np.empty(len(self._first_passage), dtype=np.int64)
        first[documents[::-1]] = places[::-1]  # of several places the last one that is written stays
        return np.flatnonzero(first[documents] == places)


def evenly(rows: Rows, count: int) -> Rows:
    """Return at most ``count`` of the rows, evenly spaced."""
    return rows if len(rows) <= count else rows[np.linspace(0, len(rows) - 1, count).astype(np.int64)]
