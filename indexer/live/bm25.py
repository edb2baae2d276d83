"""BM25 of live documents with the statistics of the index under them, which gives both the same scale of scores.

Robertson, Zaragoza, «The Probabilistic Relevance Framework: BM25 and Beyond», 2009. As in tantivy, k1 = 1.2 and b = .75,
and the length of a document is rounded to what the index keeps in one byte. Document frequencies and average lengths are
those of the index: a live document with the text of an indexed one gets the same score. An index that was created empty has
none, so that those of the live documents stand in for them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from indexer.index.document_mask import Rows
from indexer.index.legs import LexicalLeg, Scores
from indexer.index.words import Analyzer, QueryTerms

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

    def with_texts(self, texts: list[str]) -> InvertedIndex:
        """Return the inverted index with more documents; a text is title, line end and text, as in the index."""
        postings, lengths = dict(self.postings), dict(self.lengths)
        for text_field in self.statistics.fields:
            known_lengths = self.lengths.get(text_field.name, ())
            terms_by_text = [text_field.analyzer.analyze(text) for text in texts]
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

    def scores(self, query: QueryTerms, documents: int) -> Scores:
        """Return the score of each document, shape (documents,); 0 where no term of the query occurs."""
        scores = np.zeros(documents, dtype=np.float32)
        for text_field in self.statistics.fields:
            lengths = np.array(self.lengths.get(text_field.name, ()), dtype=np.float64)
            average = max(lengths.mean(), 1) if self.statistics.is_empty and len(lengths) else text_field.average_length
            norms = K1 * (1 - B + B * lengths / average)
            for term in query.fields[text_field.name]:
                postings = self.postings.get((text_field.name, term))
                if postings is None:
                    continue
                rows, frequency = postings[:, 0], postings[:, 1]
                idf = (
                    inverse_frequency(len(rows), len(lengths))
                    if self.statistics.is_empty
                    else self.statistics.idf(text_field.name, term)
                )
                weight = text_field.weight * idf * (K1 + 1)
                scores[rows] += (weight * frequency / (frequency + norms[rows])).astype(np.float32)
        return scores
