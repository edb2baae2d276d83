"""Words of a lexical leg by the analysis of its texts alone: terms, fields and their weights, spellings and near words."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property

from indexer.index.legs import Field, Query
from indexer.index.terms.analysis import Analysis
from indexer.index.terms.columns import COLUMN, COLUMN_WORDS, TITLE
from indexer.index.terms.vocabulary import Near, Vocabulary
from indexer.index.terms.words import QueryTerms, Spelling

EXACT_WEIGHT = 0.5
"""Weight of a word as it is written; that of its stem is 1. With it, nDCG@10 of this leg on three data sets is .001 to
.009 higher than with stems alone (docs/decisions/retrieval.md)."""


class AnalysedWords(ABC):
    """What a lexical leg knows by the analysis of its texts alone, whichever store has its words.

    Args:
        analysis: makes terms of texts.
        columns: weight of each column that is searched.
        titles: whether the titles have a field of their own.
    """

    def __init__(self, analysis: Analysis, columns: Mapping[str, float] | None = None, *, titles: bool = False) -> None:
        self._analysis = analysis
        self._columns = dict(columns or {})
        self._titles = analysis.titles if titles else None

    @property
    @abstractmethod
    def vocabulary(self) -> Mapping[str, int]:
        """The most frequent words, unstemmed and in lower case, each with its document frequency."""

    def terms(self, text: str) -> list[str]:
        """Return the distinct terms of ``text`` as the index knows them: lower-cased, stemmed, no stop words."""
        return list(dict.fromkeys(self._analysis.fields["body"].analyze(text)))

    def analyze(self, query: Query) -> QueryTerms:
        """Return the terms of a query; those that are terms already are returned as they are."""
        if not isinstance(query, str):
            return query
        terms = self._analysis.query_terms(query)
        if not self._columns:
            return terms
        in_columns = dict.fromkeys([COLUMN + name for name in self._columns], terms.fields["body"])
        return terms._replace(fields={**terms.fields, **in_columns})

    def fields(self) -> list[Field]:
        """Return name, weight of a term, and analyzer of each field.

        The fields of titles and of all columns' words are in no query for documents.
        """
        weights = {"body": 1.0, "exact": EXACT_WEIGHT}
        fields = [(name, weights[name], analyzer) for name, analyzer in self._analysis.fields.items()]
        if self._titles:
            fields.append((TITLE, 1.0, self._titles))
        body, words = self._analysis.fields["body"], fields[len(self._analysis.fields) - 1][2]
        fields += [(COLUMN + name, weight, body) for name, weight in self._columns.items()]
        return [*fields, (COLUMN_WORDS, 1.0, words)] if self._columns else fields

    @property
    def columns(self) -> Mapping[str, float]:
        """Weight of each column that is searched beside title and text."""
        return self._columns

    @property
    def word_fields(self) -> list[str]:
        """Names of the fields that hold words as they are written, or the nearest to it that an older index has."""
        words = [*self._analysis.fields][-1]
        return [words, COLUMN_WORDS] if self._columns else [words]

    @property
    def title_field(self) -> str:
        """Name of the field from which titles are completed; an older index has none of its own."""
        return TITLE if self._titles else self.word_fields[0]

    def near(self, word: str, edits: int) -> list[Near]:
        """Return the words of the vocabulary within so many edits, nearest first, of equally near ones the most frequent."""
        return self._compared.near(word, edits)

    def comparable(self, word: str) -> str:
        """Return a word, spelt as in the vocabulary, in the form in which it is compared."""
        return self._analysis.comparable(word)

    @cached_property
    def _compared(self) -> Vocabulary:
        return Vocabulary(self.vocabulary, self._analysis.comparable)

    def knows_all(self, text: str) -> bool:  # noqa: ARG002 - of the protocol
        """Say whether every word of `spellings` is known; this leg does not find out without them."""
        return False

    def spellings(self, text: str) -> list[Spelling]:
        """Return the words of letters in ``text``, each with its place and as the vocabulary spells it."""
        return self._analysis.spellings(text)
