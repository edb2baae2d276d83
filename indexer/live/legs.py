"""Both legs over an index and live documents: each searches the two parts and keeps the best of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import numpy as np
import tantivy

from indexer.index.dense import unit
from indexer.index.document_mask import DocumentMask, Rows
from indexer.index.legs import DenseLeg, LexicalLeg, Scores
from indexer.index.lexical import merged
from indexer.inference.encoder import Vectors
from indexer.live.bm25 import LiveWords

WORD = re.compile(r"\w+")


class LiveDense:
    """Passage vectors of an index, followed by those of live documents.

    Args:
        base: the index's.
        first_passage: the index's.
        vectors: of the live documents, of unit length, shape (passages, dimension).
        document_of: row of the document of each passage, the index's and then the others'.
        visible: the documents that were neither replaced nor deleted; None for all.
    """

    def __init__(
        self, base: DenseLeg, first_passage: Rows, vectors: Vectors, document_of: Rows, visible: DocumentMask | None
    ) -> None:
        self._base, self._first_passage, self._live, self._visible = base, first_passage, vectors, visible
        self._document_of = document_of
        self._live_documents = document_of[len(base) :]
        self._hidden = len(base) - _base_part(visible, first_passage).passage_count if visible else 0

    def __len__(self) -> int:
        return len(self._base) + len(self._live)

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._base.dimension

    def search(self, vector: Vectors, count: int, allowed: DocumentMask | None = None) -> tuple[Vectors, Rows]:
        """Return cosine and row of the ``count`` nearest passages of ``allowed`` documents, best first."""
        if allowed is self._visible and self._hidden <= count:  # cheaper than testing each passage
            scores, rows = self._base.search(vector, count + self._hidden)
            if allowed is not None:
                visible = allowed.mask[self._document_of[rows]]
                scores, rows = scores[visible], rows[visible]
        else:
            scores, rows = self._base.search(vector, count, allowed and _base_part(allowed, self._first_passage))
        live = np.arange(len(self._live)) if allowed is None else np.flatnonzero(allowed.mask[self._live_documents])
        cosines = self._live[live] @ unit(vector)
        return _best(np.concatenate([scores, cosines]), np.concatenate([rows, live + len(self._base)]), count)

    def search_many(self, vectors: Vectors, count: int) -> tuple[Vectors, Rows]:
        """Return what `search` returns for each of several vectors, shape (vectors, count)."""
        results = [self.search(vector, count) for vector in vectors]
        return np.stack([scores for scores, _ in results]), np.stack([rows for _, rows in results])

    def scores(self, vector: Vectors, rows: Rows) -> Vectors:
        """Return the cosine of ``vector`` to each passage of ``rows``, shape (len(rows),)."""
        live = rows >= len(self._base)
        if not live.any():
            return self._base.scores(vector, rows)
        cosines = np.empty(len(rows), dtype=np.float32)
        cosines[live] = self._live[rows[live] - len(self._base)] @ unit(vector)
        cosines[~live] = self._base.scores(vector, rows[~live])
        return cosines

    def vectors(self, rows: Rows) -> Vectors:
        """Return the vectors of passages, shape (len(rows), dimension)."""
        live = rows >= len(self._base)
        if not live.any():
            return self._base.vectors(rows)
        vectors = np.empty((len(rows), self.dimension), dtype=np.float32)
        vectors[live] = self._live[rows[live] - len(self._base)]
        if not live.all():
            vectors[~live] = self._base.vectors(rows[~live])
        return vectors


class LiveLexical:
    """BM25 over an index and live documents, with the index's statistics, terms and vocabulary.

    Args:
        base: the index's.
        first_passage: the index's.
        words: of the live documents.
        live: number of their rows.
        visible: the documents that were neither replaced nor deleted; None for all.
    """

    def __init__(
        self, base: LexicalLeg, first_passage: Rows, words: LiveWords, live: int, visible: DocumentMask | None
    ) -> None:
        self._base, self._first_passage, self._words, self._live = base, first_passage, words, live
        self._visible = visible
        self._hidden = len(base) - _base_part(visible, first_passage).count if visible else 0

    def __len__(self) -> int:
        return len(self._base) + self._live

    @property
    def vocabulary(self) -> Mapping[str, int]:
        """The index's most frequent words, each with the number of its documents."""
        return self._base.vocabulary

    def terms(self, text: str) -> list[str]:
        """Return the distinct terms of ``text`` as the index knows them."""
        return self._base.terms(text)

    def fields(self) -> list[tuple[str, float, tantivy.TextAnalyzer]]:
        """Return of each field its name, the weight of its terms, and what makes terms of a text."""
        return self._base.fields()

    def document_frequency(self, name: str, term: str) -> int:
        """Return how many documents of the index have a term in a field."""
        return self._base.document_frequency(name, term)

    def average_length(self, name: str) -> float:
        """Return how many terms a field of the index has on average."""
        return self._base.average_length(name)

    def knows(self, word: str) -> bool:
        """Say whether ``word`` finds a document of the index, or is none that is looked for, such as a stop word."""
        return self._base.knows(word)

    def search(self, query: str, count: int, allowed: DocumentMask | None = None) -> tuple[Scores, Rows]:
        """Return BM25 score and row of the ``count`` best of the ``allowed`` documents that hold a term of the query."""
        if allowed is self._visible and self._hidden <= count:
            scores, rows = self._base.search(query, count + self._hidden)
            if allowed is not None:
                visible = allowed.mask[rows]
                scores, rows = scores[visible], rows[visible]
        else:
            scores, rows = self._base.search(query, count, allowed and _base_part(allowed, self._first_passage))
        live = self._words.scores(query, self._live)
        matches = live > 0 if allowed is None else (live > 0) & allowed.mask[len(self._base) :]
        more = np.flatnonzero(matches)
        return _best(np.concatenate([scores, live[more]]), np.concatenate([rows, more + len(self._base)]), count)

    def every(self, query: str) -> tuple[Scores, Rows] | None:
        """Return BM25 score and row of every document that holds a term of the query, also of those that are hidden."""
        if (base := self._base.every(query)) is None:
            return None
        live = self._words.scores(query, self._live)
        more = np.flatnonzero(live > 0)
        scores, rows = np.concatenate([base[0], live[more]]), np.concatenate([base[1], more + len(self._base)])
        return _best(scores, rows, len(rows))

    def scores(self, query: str, documents: Rows) -> Scores:
        """Return the BM25 score of each of ``documents``, shape (len(documents),); 0 where no term occurs."""
        live = documents >= len(self._base)
        if not live.any():
            return self._base.scores(query, documents)
        scores = np.zeros(len(documents), dtype=np.float32)
        scores[live] = self._words.scores(query, self._live)[documents[live] - len(self._base)]
        if not live.all():
            scores[~live] = self._base.scores(query, documents[~live])
        return scores

    def spans(self, query: str, texts: Iterable[str]) -> list[list[tuple[int, int]]]:
        """Return where the terms of ``query`` occur in each of ``texts``, also those that the index does not have."""
        texts = list(texts)
        found = self._base.spans(query, texts)
        new = {term for term in self.terms(query) if not self.document_frequency("body", term)}
        if new:
            for text, spans in zip(texts, found, strict=True):
                spans[:] = merged(
                    [*spans, *(word.span() for word in WORD.finditer(text) if new & {*self.terms(word[0])})]
                )
        return found


def _base_part(allowed: DocumentMask, first_passage: Rows) -> DocumentMask:
    """Return those of the ``allowed`` documents that are the index's own."""
    return DocumentMask(allowed.mask[: len(first_passage) - 1], first_passage)


def _best(scores: Scores, rows: Rows, count: int) -> tuple[Scores, Rows]:
    order = np.argsort(-scores, kind="stable")[:count]
    return scores[order], rows[order]
