"""The learned-sparse leg over an index and live documents: both are scored alike, by the same model and the same sum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from indexer.index.document_mask import DocumentMask, Rows
from indexer.index.legs import Scores, SparseLeg
from indexer.index.sparse import best_by_document, best_documents, sum_products, sums
from indexer.inference.sparse_encoder import Numbers, SparseEncoder, SparseVectors, Terms, Weights

NO_TERMS = SparseVectors.of([(np.empty(0, np.int32), np.empty(0, np.float16))])
"""The passage of a document without vectors."""


@dataclass(frozen=True)
class LivePostings:
    """Postings of live documents, whose passages begin at 0; immutable, `with_documents` returns the next one.

    Attributes:
        postings: by term, passages and weights.
        lengths: number of passages of each document.
    """

    postings: dict[int, tuple[Terms, Weights]] = field(default_factory=dict)
    lengths: tuple[int, ...] = ()

    def with_documents(self, documents: Sequence[SparseVectors | None]) -> LivePostings:
        """Return the postings with more documents, each by the vectors of its passages; None has no terms."""
        vectors = [document or NO_TERMS for document in documents]
        entries: dict[int, list[tuple[int, float]]] = {}
        rows = sum(self.lengths)
        for row, (terms, weights) in enumerate(SparseVectors.joined(vectors).vectors(), rows):
            for term, weight in zip(terms.tolist(), weights.tolist(), strict=True):
                entries.setdefault(term, []).append((row, weight))
        postings = dict(self.postings)
        for term, added in entries.items():
            new = np.array([row for row, _ in added], np.int32), np.array([weight for _, weight in added], np.float16)
            known = postings.get(term)
            postings[term] = (
                new if known is None else (np.concatenate([known[0], new[0]]), np.concatenate([known[1], new[1]]))
            )
        return LivePostings(postings, (*self.lengths, *map(len, vectors)))

    def scores(self, terms: Terms, weights: Numbers) -> Scores:
        """Return the score of each document, shape (documents,)."""
        if not self.lengths:
            return np.empty(0, dtype=np.float32)
        first = sums(np.array(self.lengths))
        empty = NO_TERMS.terms, NO_TERMS.weights
        passages = sum_products(int(first[-1]), terms, weights, lambda term: self.postings.get(term, empty))
        return best_by_document(passages, first)


class LiveSparse:
    """Learned weights of the documents of an index, followed by those of live documents.

    Args:
        base: learned-sparse leg of the index.
        live: postings of the live documents.
    """

    def __init__(self, base: SparseLeg, live: LivePostings) -> None:
        self._base, self._live = base, live

    def __len__(self) -> int:
        """Return the number of rows of documents."""
        return len(self._base) + len(self._live.lengths)

    @property
    def encoder(self) -> SparseEncoder:
        """The model."""
        return self._base.encoder

    def all_scores(self, query: str) -> Scores:
        """Return the score of every document, shape (documents,); 0 where no term of the query has a weight."""
        live = self._live.scores(*self.encoder.query_terms(query))
        return np.concatenate([self._base.all_scores(query), live])

    def search(self, query: str, count: int, allowed: DocumentMask | None = None) -> tuple[Scores, Rows]:
        """Return score and row of the ``count`` best of the ``allowed`` documents; of equal scores the lower row."""
        return best_documents(self.all_scores(query), count, allowed)

    def scores(self, query: str, documents: Rows) -> Scores:
        """Return the score of each of ``documents``, shape (len(documents),)."""
        return self.all_scores(query)[documents]
