"""BM25 of live documents, with the statistics of the index below them, so that their scores are of one scale.

Robertson, Zaragoza, «The Probabilistic Relevance Framework: BM25 and Beyond», 2009, as tantivy computes it: k1 = 1.2,
b = .75, and a document's length as coarse as the byte into which the index packs it. How rare a term is, and how long
a document on average, is what the index says; a document that is put with the text of an indexed one scores as that.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import tantivy

from indexer.index.legs import LexicalLeg, Scores

K1, B = 1.2, 0.75
EXACT_LENGTHS = 24
"""Lengths below are kept exactly; above, four significant bits are (Lucene's SmallFloat, which tantivy uses)."""
Postings = npt.NDArray[np.int32]
"""Row and frequency of a term in each document that has it, shape (documents, 2)."""


def quantised_length(length: int) -> int:
    """Return a length as one byte keeps it: never more, and at most an eighth less."""
    rest = length - EXACT_LENGTHS
    if rest < 16:
        return length
    shift = rest.bit_length() - 4
    return EXACT_LENGTHS + (rest >> shift << shift)


@dataclass(frozen=True)
class Field:
    """A field of the index and its statistics: how its texts become terms, what a term counts, how long it is."""

    name: str
    weight: float
    analyzer: tantivy.TextAnalyzer
    average: float


class Statistics:
    """What the index says about terms: asked for when it is needed."""

    def __init__(self, index: LexicalLeg) -> None:
        self._index = index
        self.fields = [
            Field(name, weight, analyzer, index.average_length(name)) for name, weight, analyzer in index.fields()
        ]

    def idf(self, name: str, term: str) -> float:
        """Return the inverse document frequency of a term."""
        found = self._index.document_frequency(name, term)
        return float(np.log1p((len(self._index) - found + 0.5) / (found + 0.5)))


@dataclass(frozen=True)
class LiveWords:
    """The words of live documents, in the order of their rows from 0; immutable, `with_texts` makes the next one.

    Attributes:
        postings: of each field's terms.
        lengths: coarse number of terms of each document in each field.
    """

    statistics: Statistics
    postings: dict[tuple[str, str], Postings] = field(default_factory=dict)
    lengths: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def with_texts(self, texts: list[str]) -> LiveWords:
        """Return these words and those of more documents; a text is title, line end, text, as the index has it."""
        postings, lengths = dict(self.postings), dict(self.lengths)
        for each in self.statistics.fields:
            first = len(self.lengths.get(each.name, ()))
            terms = [each.analyzer.analyze(text) for text in texts]
            lengths[each.name] = self.lengths.get(each.name, ()) + tuple(
                quantised_length(len(found)) for found in terms
            )
            new: dict[str, list[tuple[int, int]]] = {}
            for row, found in enumerate(terms, first):
                for term, frequency in Counter(found).items():
                    new.setdefault(term, []).append((row, frequency))
            for term, entries in new.items():
                known = postings.get((each.name, term))
                added = np.array(entries, dtype=np.int32)
                postings[each.name, term] = added if known is None else np.concatenate([known, added])
        return LiveWords(self.statistics, postings, lengths)

    def scores(self, query: str, documents: int) -> Scores:
        """Return the score of each document, shape (documents,); 0 where no term of the query occurs."""
        scores = np.zeros(documents, dtype=np.float32)
        for each in self.statistics.fields:
            lengths = np.array(self.lengths.get(each.name, ()), dtype=np.float64)
            norms = K1 * (1 - B + B * lengths / each.average)
            for term in dict.fromkeys(each.analyzer.analyze(query)):
                found = self.postings.get((each.name, term))
                if found is None:
                    continue
                rows, frequency = found[:, 0], found[:, 1]
                weight = each.weight * self.statistics.idf(each.name, term) * (K1 + 1)
                scores[rows] += (weight * frequency / (frequency + norms[rows])).astype(np.float32)
        return scores
