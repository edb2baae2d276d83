"""Text analysis of an index: what makes the terms of its texts, of live documents and of queries, by its version.

An index is searched as it was built. Version 2, which every build writes, is `words.py`. Version 1 are tantivy's own
analyzers: they know no normalisation but lower case, and fold accents only where there is a stemmer.
"""

from __future__ import annotations

import re
from typing import Protocol

import tantivy

from indexer.artifacts.manifest import WORDS
from indexer.errors import UserError
from indexer.index.terms.languages import UNSPACED, analyzer, exact_analyzer
from indexer.index.terms.words import Analyzer, QueryTerms, Spelling, Words

LETTERS = re.compile(r"[^\W\d_]+")
WORD = re.compile(r"\w+")


class Analysis(Protocol):
    """How texts become terms."""

    @property
    def fields(self) -> dict[str, Analyzer]:
        """The analyzer of each field, by its name."""

    @property
    def titles(self) -> Analyzer | None:
        """The analyzer of the field of titles; None where there is none."""

    @property
    def vocabulary_field(self) -> str | None:
        """Name of the field that holds words and no stems; None where there is none."""

    def tokenizers(self) -> dict[str, tantivy.TextAnalyzer]:
        """Return tantivy's part of the analysis of each field, for what `prepare` returns."""

    def prepare(self, text: str) -> dict[str, str]:
        """Return what tantivy is given of a text for each field."""

    def query_terms(self, query: str) -> QueryTerms:
        """Return the distinct terms of a query."""

    def spellings(self, text: str) -> list[Spelling]:
        """Return the words of letters in a text as the vocabulary spells them."""

    def comparable(self, word: str) -> str:
        """Return the form of a word in which it is compared with misspelt ones."""

    def places(self, terms: set[str], text: str) -> list[tuple[int, int]]:
        """Return the places of words with one of these terms in the field of stems, in code points."""


class TantivyAnalyzer:
    """An analyzer of version 1."""

    def __init__(self, text_analyzer: tantivy.TextAnalyzer) -> None:
        self.text_analyzer = text_analyzer

    def analyze(self, text: str) -> list[str]:
        """Return the terms of a text, in order."""
        terms: list[str] = self.text_analyzer.analyze(text)
        return terms


class TantivyAnalysis:
    """Version 1: tantivy's own analyzers."""

    def __init__(self, language: str) -> None:
        self._analyzers = {"body": analyzer(language)}
        if exact := exact_analyzer(language):
            self._analyzers["exact"] = exact
        self.titles: Analyzer | None = None
        self.fields: dict[str, Analyzer] = {name: TantivyAnalyzer(each) for name, each in self._analyzers.items()}
        self.vocabulary_field = None if language in UNSPACED else [*self._analyzers][-1]

    def tokenizers(self) -> dict[str, tantivy.TextAnalyzer]:
        """Return tantivy's analyzer of each field; it requires one for a field that stays empty, too."""
        return {"exact": analyzer("none"), **self._analyzers}

    def prepare(self, text: str) -> dict[str, str]:
        """Return the text for each field."""
        return dict.fromkeys(self.fields, text)

    def query_terms(self, query: str) -> QueryTerms:
        """Return the distinct terms of a query."""
        fields = {name: list(dict.fromkeys(each.analyze(query))) for name, each in self.fields.items()}
        return QueryTerms(fields["body"], fields)

    def spellings(self, text: str) -> list[Spelling]:
        """Return the words of letters in a text in lower case."""
        return [Spelling(*word.span(), word[0].lower()) for word in LETTERS.finditer(text)]

    def comparable(self, word: str) -> str:
        """Return the word."""
        return word

    def places(self, terms: set[str], text: str) -> list[tuple[int, int]]:
        """Return the places of words with one of these terms."""
        body = self.fields["body"]
        return [word.span() for word in WORD.finditer(text) if not terms.isdisjoint(body.analyze(word[0]))]


def find_analysis(language: str, version: int = WORDS) -> Analysis:
    """Return the analysis of a version.

    Raises:
        UserError: the language is not known, or the version is of a later Dowse.
    """
    if version > WORDS:
        raise UserError(
            f"the index has words of version {version}, and this Dowse knows {WORDS}; update it, or build again"
        )
    return Words(language) if version == WORDS else TantivyAnalysis(language)
