"""BM25 of live documents with the statistics of the index under them, which gives both the same scale of scores.

Robertson, Zaragoza, «The Probabilistic Relevance Framework: BM25 and Beyond», 2009. As in tantivy, k1 = 1.2 and b = .75,
and the length of a document is rounded to what the index keeps in one byte. Document frequencies and average lengths are
those of the index: a live document with the text of an indexed one gets the same score. An index that was created empty has
none, so that those of the live documents stand in for them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice

import numpy as np
import numpy.typing as npt

from indexer.index.document_mask import Rows
from indexer.index.legs import LexicalLeg, Scores
from indexer.index.terms.columns import TEXT_FIELDS, FieldTexts
from indexer.index.terms.vocabulary import Vocabulary
from indexer.index.terms.words import Analyzer, QueryTerms, is_of_letters

K1, B = 1.2, 0.75
EXACT_LENGTHS = 24
"""A length is kept exactly up to here; of the rest, four significant bits are (Lucene's SmallFloat, as in tantivy)."""
Postings = npt.NDArray[np.int32]
"""Row and frequency of a term in each document that has it, shape (documents, 2)."""


def quantised_length(length: int) -> int:
    """Return a length as one byte holds it: rounded down, by at most an eighth."""
    rest = length - EXACT_LENGTHS
    if rest < 16:
        return length
    shift = rest.bit_length() - 4
    return EXACT_LENGTHS + (rest >> shift << shift)


@dataclass(frozen=True)
class Field:
    """A field of the index: name, weight of its terms, analyzer, and average number of terms."""

    name: str
    weight: float
    analyzer: Analyzer
    average_length: float


class Statistics:
    """Term statistics of an index, looked up when they are needed."""

    def __init__(self, index: LexicalLeg) -> None:
        self._index = index
        self.fields = [
            Field(name, weight, analyzer, index.average_length(name)) for name, weight, analyzer in index.fields()
        ]

    @property
    def is_empty(self) -> bool:
        """Whether the index has no documents."""
        return not len(self._index)

    def idf(self, name: str, term: str) -> float:
        """Return the inverse document frequency of a term."""
        return inverse_frequency(self._index.document_frequency(name, term), len(self._index))


def inverse_frequency(frequency: int, documents: int) -> float:
    """Return the inverse document frequency of a term that ``frequency`` of so many ``documents`` have."""
    return float(np.log1p((documents - frequency + 0.5) / (frequency + 0.5)))


@dataclass(frozen=True)
class InvertedIndex:
    """Inverted index of live documents, whose rows begin at 0; immutable, `with_texts` returns the next one.

    Attributes:
        statistics: of the index under the live documents.
        postings: by name of the field and term.
        lengths: by name of the field, the quantised number of terms of each document.
    """

    statistics: Statistics
    postings: dict[tuple[str, str], Postings] = field(default_factory=dict)
    lengths: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def with_texts(self, texts: list[str], others: Sequence[FieldTexts] | None = None) -> InvertedIndex:
        """Return the inverted index with more documents.

        Args:
            texts: title, line end and text of each, as in the index.
            others: texts of the other fields of each; by default these are empty.
        """
        of_fields = others if others is not None else [{}] * len(texts)
        postings, lengths = dict(self.postings), dict(self.lengths)
        for text_field in self.statistics.fields:
            known_lengths = self.lengths.get(text_field.name, ())
            own = texts
            if text_field.name not in TEXT_FIELDS:
                own = [each.get(text_field.name, "") for each in of_fields]
            terms_by_text = [text_field.analyzer.analyze(text) for text in own]
            lengths[text_field.name] = known_lengths + tuple(quantised_length(len(terms)) for terms in terms_by_text)
            entries: dict[str, list[tuple[int, int]]] = {}
            for row, terms in enumerate(terms_by_text, len(known_lengths)):
                for term, frequency in Counter(terms).items():
                    entries.setdefault(term, []).append((row, frequency))
            for term, rows_and_frequencies in entries.items():
                known = postings.get((text_field.name, term))
                new = np.array(rows_and_frequencies, dtype=np.int32)
                postings[text_field.name, term] = new if known is None else np.concatenate([known, new])
        return InvertedIndex(self.statistics, postings, lengths)

    def documents(self, name: str, term: str) -> Rows:
        """Return the rows of the documents that have a term in a field."""
        postings = self.postings.get((name, term))
        return np.empty(0, dtype=np.int64) if postings is None else postings[:, 0].astype(np.int64)

    def beginning(self, name: str, prefix: str) -> dict[str, int]:
        """Return the terms of a field that begin with ``prefix``, each with the number of documents that have it."""
        terms = self._terms(name)
        found = {}
        for term in islice(terms, bisect_left(terms, prefix), None):
            if not term.startswith(prefix):
                break
            found[term] = len(self.postings[name, term])
        return found

    def vocabulary(self, name: str, comparable: Callable[[str], str]) -> Vocabulary:
        """Return the words of letters in a field."""
        if name not in self._vocabularies:
            words = {term: len(self.postings[name, term]) for term in self._terms(name) if is_of_letters(term)}
            self._vocabularies[name] = Vocabulary(words, comparable)
        return self._vocabularies[name]

    def _terms(self, name: str) -> list[str]:
        """Return the terms of a field in their order; they are sorted when they are first needed."""
        if name not in self._sorted:
            self._sorted[name] = sorted(term for field_name, term in self.postings if field_name == name)
        return self._sorted[name]

    @cached_property
    def _sorted(self) -> dict[str, list[str]]:
        return {}

    @cached_property
    def _vocabularies(self) -> dict[str, Vocabulary]:
        return {}

    def scores(self, query: QueryTerms, documents: int) -> Scores:
        """Return the score of each document, shape (documents,); 0 where no term of the query occurs."""
        scores = np.zeros(documents, dtype=np.float32)
        for text_field in self.statistics.fields:
            for term in query.fields.get(text_field.name, ()):
                self._add(scores, text_field.name, term)
        for group in query.groups:
            if len(group) == 1:
                for name, term, factor in group[0]:
                    self._add(scores, name, term, factor)
                continue
            best = np.zeros(documents, dtype=np.float32)
            for option in group:
                own = np.zeros(documents, dtype=np.float32)
                for name, term, factor in option:
                    self._add(own, name, term, factor)
                np.maximum(best, own, out=best)
            scores += best
        return scores

    def _add(self, scores: Scores, name: str, term: str, factor: float = 1.0) -> None:
        """Add the score of a term, times ``factor``, to the documents that have it."""
        postings = self.postings.get((name, term))
        if postings is None:
            return
        rows, frequency = postings[:, 0], postings[:, 1]
        weight = factor * self._fields[name].weight * self._idf(name, term) * (K1 + 1)
        scores[rows] += (weight * frequency / (frequency + self._norms[name][rows])).astype(np.float32)

    def _idf(self, name: str, term: str) -> float:
        """Return how much a term tells; over an empty index these documents alone say it."""
        if not self.statistics.is_empty:
            return self.statistics.idf(name, term)
        return inverse_frequency(len(self.documents(name, term)), len(self.lengths.get(name, ())))

    @cached_property
    def _fields(self) -> dict[str, Field]:
        return {text_field.name: text_field for text_field in self.statistics.fields}

    @cached_property
    def _norms(self) -> dict[str, npt.NDArray[np.float64]]:
        """By name of the field, what is added to a term's frequency in each document, by its length."""
        norms = {}
        for name, text_field in self._fields.items():
            lengths = np.array(self.lengths.get(name, ()), dtype=np.float64)
            average = max(lengths.mean(), 1) if self.statistics.is_empty and len(lengths) else text_field.average_length
            norms[name] = K1 * (1 - B + B * lengths / average)
        return norms
