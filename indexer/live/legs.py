"""The two legs over an index and live documents: each asks both parts and keeps the best of them."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np

from indexer.index.dense import DenseIndex, Rows, unit
from indexer.index.document_mask import Allowed
from indexer.index.lexical import LexicalIndex, Scores, merged
from indexer.inference.encoder import Vectors
from indexer.live.bm25 import LiveWords

WORD = re.compile(r"\w+")


class OverlaidDense(DenseIndex):
    """Passage vectors of an index, and those of live documents behind them.

    Args:
        below: the index's.
        first_passage: the index's.
        vectors: of the live documents, of unit length, shape (passages, dimension).
        document_of: row of the document of each passage, the index's and the others.
        visible: the documents that were neither replaced nor deleted; None for all.
    """

    def __init__(
        self, below: DenseIndex, first_passage: Rows, vectors: Vectors, document_of: Rows, visible: Allowed | None
    ) -> None:
        vars(self).update(vars(below))
        self._below, self._first_passage, self._live, self._visible = below, first_passage, vectors, visible
        self._document_of = document_of
        self._live_documents = document_of[len(below) :]
        self._gone = len(below) - _part(visible, first_passage).passage_count if visible else 0

    def __len__(self) -> int:
        return len(self._below) + len(self._live)

    def search(self, vector: Vectors, count: int, allowed: Allowed | None = None) -> tuple[Vectors, Rows]:
        """Return cosine and row of the ``count`` nearest passages of ``allowed`` documents, best first."""
        if allowed is self._visible and self._gone <= count:  # cheaper than to ask of each passage
            scores, rows = self._below.search(vector, count + self._gone)
            if allowed is not None:
                seen = allowed.mask[self._document_of[rows]]
                scores, rows = scores[seen], rows[seen]
        else:
            scores, rows = self._below.search(vector, count, allowed and _part(allowed, self._first_passage))
        live = np.arange(len(self._live)) if allowed is None else np.flatnonzero(allowed.mask[self._live_documents])
        cosines = self._live[live] @ unit(vector)
        return _best(np.concatenate([scores, cosines]), np.concatenate([rows, live + len(self._below)]), count)

    def search_many(self, vectors: Vectors, count: int) -> tuple[Vectors, Rows]:
        """Return what `search` returns for each of several vectors, shape (vectors, count)."""
        found = [self.search(vector, count) for vector in vectors]
        return np.stack([scores for scores, _ in found]), np.stack([rows for _, rows in found])

    def scores(self, vector: Vectors, rows: Rows) -> Vectors:
        """Return the cosine of ``vector`` to each passage of ``rows``, shape (len(rows),)."""
        live = rows >= len(self._below)
        if not live.any():
            return self._below.scores(vector, rows)
        found = np.empty(len(rows), dtype=np.float32)
        found[live] = self._live[rows[live] - len(self._below)] @ unit(vector)
        found[~live] = self._below.scores(vector, rows[~live])
        return found

    def vectors(self, rows: Rows) -> Vectors:
        """Return the vectors of passages, shape (len(rows), dimension)."""
        live = rows >= len(self._below)
        if not live.any():
            return self._below.vectors(rows)
        found = np.empty((len(rows), self.dimension), dtype=np.float32)
        found[live] = self._live[rows[live] - len(self._below)]
        if not live.all():
            found[~live] = self._below.vectors(rows[~live])
        return found


class OverlaidLexical(LexicalIndex):
    """BM25 over an index and live documents; what is asked of terms alone, the index answers.

    Args:
        below: the index's.
        first_passage: the index's.
        words: of the live documents.
        live: number of their rows.
        visible: the documents that were neither replaced nor deleted; None for all.
    """

    def __init__(
        self, below: LexicalIndex, first_passage: Rows, words: LiveWords, live: int, visible: Allowed | None
    ) -> None:
        vars(self).update(vars(below))
        self._below, self._first_passage, self._words, self._live = below, first_passage, words, live
        self._visible = visible
        self._gone = len(below) - _part(visible, first_passage).count if visible else 0

    def __len__(self) -> int:
        return len(self._below) + self._live

    def search(self, query: str, count: int, allowed: Allowed | None = None) -> tuple[Scores, Rows]:
        """Return BM25 score and row of the ``count`` best of the ``allowed`` documents that hold a term of the query."""
        if allowed is self._visible and self._gone <= count:
            scores, rows = self._below.search(query, count + self._gone)
            if allowed is not None:
                seen = allowed.mask[rows]
                scores, rows = scores[seen], rows[seen]
        else:
            scores, rows = self._below.search(query, count, allowed and _part(allowed, self._first_passage))
        live = self._words.scores(query, self._live)
        found = live > 0 if allowed is None else (live > 0) & allowed.mask[len(self._below) :]
        more = np.flatnonzero(found)
        return _best(np.concatenate([scores, live[more]]), np.concatenate([rows, more + len(self._below)]), count)

    def every(self, query: str) -> tuple[Scores, Rows] | None:
        """Return BM25 score and row of every document that holds a term, best first, also of those that are gone."""
        if (below := self._below.every(query)) is None:
            return None
        live = self._words.scores(query, self._live)
        more = np.flatnonzero(live > 0)
        scores, rows = np.concatenate([below[0], live[more]]), np.concatenate([below[1], more + len(self._below)])
        return _best(scores, rows, len(rows))

    def scores(self, query: str, documents: Rows) -> Scores:
        """Return the BM25 score of each of ``documents``, shape (len(documents),); 0 where no term occurs."""
        live = documents >= len(self._below)
        if not live.any():
            return self._below.scores(query, documents)
        found = np.zeros(len(documents), dtype=np.float32)
        found[live] = self._words.scores(query, self._live)[documents[live] - len(self._below)]
        if not live.all():
            found[~live] = self._below.scores(query, documents[~live])
        return found

    def spans(self, query: str, texts: Iterable[str]) -> list[list[tuple[int, int]]]:
        """Return where the terms of ``query`` stand in each of ``texts``, also those that the index does not have."""
        texts = list(texts)
        found = self._below.spans(query, texts)
        new = {term for term in self.terms(query) if not self.document_frequency("body", term)}
        if new:
            for text, spans in zip(texts, found, strict=True):
                spans[:] = merged(
                    [*spans, *(word.span() for word in WORD.finditer(text) if new & {*self.terms(word[0])})]
                )
        return found


def _part(allowed: Allowed, first_passage: Rows) -> Allowed:
    """Return those of the ``allowed`` documents that are the index's own."""
    return Allowed(allowed.mask[: len(first_passage) - 1], first_passage)


def _best(scores: Scores, rows: Rows, count: int) -> tuple[Scores, Rows]:
    order = np.argsort(-scores, kind="stable")[:count]
    return scores[order], rows[order]
