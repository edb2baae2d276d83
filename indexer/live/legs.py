"""Both legs over an index and live documents: each searches both parts and merges their hits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from weakref import WeakKeyDictionary

import numpy as np

from indexer.index.dense import unit
from indexer.index.document_mask import DocumentMask, Rows
from indexer.index.legs import DenseLeg, Field, LexicalLeg, Query, Scores
from indexer.index.terms.columns import COLUMN
from indexer.index.terms.vocabulary import Near
from indexer.index.terms.words import QueryTerms, Spelling
from indexer.inference.encoder import Vectors
from indexer.live.bm25 import InvertedIndex

_base_parts: WeakKeyDictionary[DocumentMask, DocumentMask] = WeakKeyDictionary()


class LiveDense:
    """Passage vectors of an index, followed by those of live documents.

    Args:
        base: dense leg of the index.
        first_passage: row of the first passage of each document of the index.
        vectors: of the live documents' passages, of unit length, shape (passages, dimension).
        document_of: row of the document of each passage, first of the index's, then of the live ones.
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
        if allowed is self._visible and self._hidden <= count:  # cheaper than a mask: fetch more, drop what is hidden
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
        base: lexical leg of the index.
        first_passage: row of the first passage of each document of the index.
        words: inverted index of the live documents.
        live_count: number of rows of live documents.
        visible: the documents that were neither replaced nor deleted; None for all.
    """

    def __init__(
        self, base: LexicalLeg, first_passage: Rows, words: InvertedIndex, live_count: int, visible: DocumentMask | None
    ) -> None:
        self._base, self._first_passage, self._words, self._live_count = base, first_passage, words, live_count
        self._visible = visible
        self._hidden = len(base) - _base_part(visible, first_passage).count if visible else 0

    def __len__(self) -> int:
        return len(self._base) + self._live_count

    @property
    def vocabulary(self) -> Mapping[str, int]:
        """The index's most frequent words, each with its document frequency."""
        return self._base.vocabulary

    def near(self, word: str, edits: int) -> list[Near]:
        """Return the words within so many edits, live ones too, nearest first, of equally near ones the most frequent."""
        of_both: dict[str, Near] = {near.word: near for near in self._base.near(word, edits)}
        for field in self.word_fields:
            for near in self._words.vocabulary(field, self._base.comparable).near(word, edits):
                known = of_both.get(near.word)
                of_both[near.word] = near._replace(documents=near.documents + (known.documents if known else 0))
        return sorted(of_both.values(), key=lambda near: (near.edits, -near.documents, near.word))

    def continuations(self, prefix: str, count: int, field: str | None = None) -> list[tuple[str, int]]:
        """Return the most frequent words that begin with ``prefix``, live ones too, with their frequencies."""
        of_both = Counter(dict(self._base.continuations(prefix, count, field)))
        for name in [field] if field else self.word_fields:
            of_both.update(self._words.beginning(name, prefix))
        return of_both.most_common(count)

    def comparable(self, word: str) -> str:
        """Return a word, spelt as in the vocabulary, in the form in which it is compared."""
        return self._base.comparable(word)

    def spellings(self, text: str) -> list[Spelling]:
        """Return the words of letters in ``text``, each with its place and as the vocabulary spells it."""
        return self._base.spellings(text)

    def terms(self, text: str) -> list[str]:
        """Return the distinct terms of ``text`` as the index knows them."""
        return self._base.terms(text)

    def analyze(self, query: Query) -> QueryTerms:
        """Return the terms of a query; those that are terms already are returned as they are."""
        return self._base.analyze(query)

    def fields(self) -> list[Field]:
        """Return name, weight of a term, and analyzer of each field."""
        return self._base.fields()

    @property
    def columns(self) -> Mapping[str, float]:
        """Weight of each column that is searched beside title and text."""
        return self._base.columns

    @property
    def word_fields(self) -> list[str]:
        """Names of the fields that hold words as they are written."""
        return self._base.word_fields

    @property
    def title_field(self) -> str:
        """Name of the field from which titles are completed."""
        return self._base.title_field

    def document_frequency(self, name: str, term: str) -> int:
        """Return how many documents of the index have a term in a field."""
        return self._base.document_frequency(name, term)

    def average_length(self, name: str) -> float:
        """Return the average number of terms in a field of the index."""
        return self._base.average_length(name)

    def count_documents(self, word: str, allowed: DocumentMask) -> int:
        """Return how many of the ``allowed`` documents, live ones too, hold a word as it is written."""
        rows = np.concatenate([self._words.documents(field, word) for field in self.word_fields])
        live = np.unique(rows) + len(self._base)
        in_base = self._base.count_documents(word, _base_part(allowed, self._first_passage))
        return in_base + int(np.count_nonzero(allowed.mask[live]))

    def knows(self, word: str) -> bool:
        """Say whether ``word`` occurs in a document, live ones too, or has no terms to look for, like a stop word."""
        fields = ["body", *(COLUMN + name for name in self.columns)]
        terms = self.terms(word)
        return self._base.knows(word) or any(
            len(self._words.documents(name, term)) for term in terms for name in fields
        )

    def knows_all(self, text: str) -> bool:
        """Say whether the index `knows` every word of `spellings`; live documents may have those that it does not."""
        return self._base.knows_all(text)

    def search(self, query: Query, count: int, allowed: DocumentMask | None = None) -> tuple[Scores, Rows]:
        """Return BM25 score and row of the ``count`` best of the ``allowed`` documents that hold a term of the query."""
        query = self.analyze(query)
        if allowed is self._visible and self._hidden <= count:
            scores, rows = self._base.search(query, count + self._hidden)
            if allowed is not None:
                visible = allowed.mask[rows]
                scores, rows = scores[visible], rows[visible]
        else:
            scores, rows = self._base.search(query, count, allowed and _base_part(allowed, self._first_passage))
        live_scores = self._words.scores(query, self._live_count)
        matches = live_scores > 0 if allowed is None else (live_scores > 0) & allowed.mask[len(self._base) :]
        live = np.flatnonzero(matches)
        return _best(np.concatenate([scores, live_scores[live]]), np.concatenate([rows, live + len(self._base)]), count)

    def search_all(self, query: Query) -> tuple[Scores, Rows] | None:
        """Return BM25 score and row of every document that holds a term of the query, hidden ones included."""
        query = self.analyze(query)
        if (base := self._base.search_all(query)) is None:
            return None
        live_scores = self._words.scores(query, self._live_count)
        live = np.flatnonzero(live_scores > 0)
        scores, rows = np.concatenate([base[0], live_scores[live]]), np.concatenate([base[1], live + len(self._base)])
        return _best(scores, rows, len(rows))

    def matching(self, query: Query, allowed: DocumentMask | None = None) -> Rows:
        """Return the rows of all documents that hold a term of the query, hidden ones included unless ``allowed`` are given."""
        query = self.analyze(query)
        live = np.flatnonzero(self._words.scores(query, self._live_count) > 0) + len(self._base)
        rows = np.concatenate([self._base.matching(query), live])
        return rows if allowed is None else rows[allowed.mask[rows]]

    def scores(self, query: Query, documents: Rows) -> Scores:
        """Return the BM25 score of each of ``documents``, shape (len(documents),); 0 where no term occurs."""
        query = self.analyze(query)
        live = documents >= len(self._base)
        if not live.any():
            return self._base.scores(query, documents)
        scores = np.zeros(len(documents), dtype=np.float32)
        scores[live] = self._words.scores(query, self._live_count)[documents[live] - len(self._base)]
        if not live.all():
            scores[~live] = self._base.scores(query, documents[~live])
        return scores

    def spans(self, query: str, texts: Iterable[str]) -> list[list[tuple[int, int]]]:
        """Return where the terms of ``query`` occur in each of ``texts``, including terms that only live texts have."""
        return self._base.spans(query, texts)


def _base_part(allowed: DocumentMask, first_passage: Rows) -> DocumentMask:
    """Return the mask of those ``allowed`` documents that belong to the index itself, the same for the same filter.

    What a leg has counted of a filter is kept with its mask.
    """
    part = _base_parts.get(allowed)
    if part is None:
        part = _base_parts[allowed] = DocumentMask(allowed.mask[: len(first_passage) - 1], first_passage)
    return part


def _best(scores: Scores, rows: Rows, count: int) -> tuple[Scores, Rows]:
    order = np.argsort(-scores, kind="stable")[:count]
    return scores[order], rows[order]
