"""Words of a text, however they are written: one normalisation for texts, queries, highlights and suggestions.

- Unicode: NFKC and full case folding. So composed and decomposed accents, half-width and full-width letters, and
  ligatures are one spelling. No dot is left over from «İ»; in Turkish, I is the capital of ı.
- Characters that are never shown (soft hyphen, zero-width, variation selectors) are removed. A zero-width non-joiner
  between Arabic letters joins the word's parts: the word is a term without it, and so is each of its parts.
- Accents are optional in every language: the stem is kept without them, and beside it the stem of the word without
  accents. The exact spelling is a field of its own, and counts more.
- Runs of scripts without spaces (Chinese, Japanese, Thai, …) are characters and pairs of them, whatever the language.
- A word of more than `MAX_WORD` characters is cut into pieces of that length; no word is left out for its length.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import chain
from operator import attrgetter
from typing import NamedTuple, Protocol

import tantivy

from indexer.index.terms.languages import UNSPACED, language_filters
from indexer.index.terms.tokens.characters import APOSTROPHES, ASCII_WORD, HAN, WORD, fold, written_words
from indexer.index.terms.tokens.pieces import Divider, Kind, Piece

CACHED_WORD = 64
"""Characters; the analysis of longer words is not cached."""
CACHED_WORDS = 1 << 17


class _Terms(NamedTuple):
    """Terms of a run of letters: stems, those of them that a query looks for, and spellings."""

    stems: tuple[str, ...]
    asked: tuple[str, ...]
    spellings: tuple[str, ...]


_STEMS, _ASKED, _SPELLINGS = attrgetter("stems"), attrgetter("asked"), attrgetter("spellings")


class Analyzer(Protocol):
    """Terms of a field of the lexical index."""

    def analyze(self, text: str) -> list[str]:
        """Return the terms of a text, in order."""


Option = tuple[tuple[str, str, float], ...]
"""Fields, terms and factors; its score is the sum of their scores, each times its factor."""
Group = tuple[Option, ...]
"""Alternatives for a word of a query; its score in a document is that of the best one."""


class QueryTerms(NamedTuple):
    """Distinct terms of a query, analysed once for all that is asked about it.

    Attributes:
        stems: as the field of stems has them of a text; the length of a query is their number.
        fields: name of a field → terms that are looked for in it.
        groups: alternatives, of which the best one counts in each document.
    """

    stems: list[str]
    fields: Mapping[str, list[str]]
    groups: tuple[Group, ...] = ()

    def only(self, name: str) -> QueryTerms:
        """Return what is looked for in one field alone."""
        groups = (tuple(tuple(part for part in option if part[0] == name) for option in group) for group in self.groups)
        kept = (tuple(option for option in group if option) for group in groups)
        return QueryTerms(self.stems, {name: self.fields.get(name, [])}, tuple(group for group in kept if group))

    def all_terms(self) -> Iterator[tuple[str, str]]:
        """Yield field and term of everything that is looked for."""
        yield from ((name, term) for name, terms in self.fields.items() for term in terms)
        yield from ((name, term) for group in self.groups for option in group for name, term, _ in option)


class Spelling(NamedTuple):
    """A word of letters in a query: its place, and how the vocabulary spells it."""

    start: int
    end: int
    word: str


class Words:
    """Words of texts in one language, and their terms. Safe to use from several threads.

    Raises:
        UserError: the language is not known.
    """

    def __init__(self, language: str) -> None:
        filters = language_filters(language)
        self._turkish = language == "tr"
        single = re.compile(f"[{HAN}]") if language in UNSPACED else None
        self._pieces = Divider(turkish=self._turkish, single=single).pieces
        self._stemmer = None
        if filters:
            builder = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.raw())
            for step in filters:
                builder = builder.filter(step)
            self._stemmer = builder.build()
        self._cached_pieces = lru_cache(CACHED_WORDS)(self._pieces)
        self._cached_stems = lru_cache(CACHED_WORDS)(self._stems)
        self._cached_terms = lru_cache(CACHED_WORDS)(self._terms)
        self.fields: dict[str, Analyzer] = {"body": _Stems(self), "exact": _Spellings(self)}
        self.titles: Analyzer | None = _Titles(self)
        self.vocabulary_field = "exact"

    def tokenizers(self) -> dict[str, tantivy.TextAnalyzer]:
        """Return tantivy's part of the analysis: it splits what `prepare` returns at spaces."""
        return {name: tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.whitespace()).build() for name in self.fields}

    def prepare(self, text: str) -> dict[str, str]:
        """Return the terms of a text for each field, with spaces between them."""
        terms = [*self.terms(text)]
        return {
            "body": " ".join(chain.from_iterable(map(_STEMS, terms))),
            "exact": " ".join(chain.from_iterable(map(_SPELLINGS, terms))),
        }

    def query_terms(self, query: str) -> QueryTerms:
        """Return the distinct terms of a query; without single letters of longer runs, which nearly every text has."""
        words = [*self.terms(query)]
        stems, asked, spellings = (
            list(dict.fromkeys(chain.from_iterable(map(part, words)))) for part in (_STEMS, _ASKED, _SPELLINGS)
        )
        return QueryTerms(stems, {"body": asked, "exact": spellings})

    def comparable(self, word: str) -> str:
        """Return the word without accents, for a misspelt word may lack them too."""
        return fold(word)

    def pieces(self, text: str) -> Iterator[Piece]:
        """Yield the words of a text in order, with their places in it."""
        # In ASCII the much simpler pattern finds the same words.
        runs = ASCII_WORD.finditer(text) if text.isascii() else WORD.finditer(text.translate(APOSTROPHES))
        for match in runs:
            word, first = match[0], match.start()
            pieces = self._cached_pieces(word) if len(word) <= CACHED_WORD else self._pieces(word)
            for start, end, form, kind in pieces:
                yield Piece(first + start, first + end, form, kind)

    def terms(self, text: str) -> Iterator[_Terms]:
        """Yield the terms of each word of a text in order; many times faster than `pieces`."""
        words = self.written(text)
        cached = max(map(len, words), default=0) <= CACHED_WORD
        return map(self._cached_terms if cached else self._terms, words)

    def written(self, text: str) -> list[str]:
        """Return the runs of letters and digits of a text, of which each has the terms and spellings that it has alone."""
        return written_words(text, turkish=self._turkish)

    def spellings(self, text: str) -> list[Spelling]:
        """Return the words of letters in a text, as the field of spellings has them."""
        pieces = (piece for piece in self.pieces(text) if piece.kind == "word")
        return [Spelling(piece.start, piece.end, piece.text) for piece in pieces if is_of_letters(piece.text)]

    def places(self, terms: set[str], text: str) -> list[tuple[int, int]]:
        """Return the places of words with one of these terms in the field of stems, in code points."""
        pieces = self.pieces(text)
        return [piece[:2] for piece in pieces if not terms.isdisjoint(self.stems(piece.text, piece.kind))]

    def stems(self, form: str, kind: Kind) -> tuple[str, ...]:
        """Return the terms of a word in the stem field: none for a stop word."""
        if kind in ("word", "part"):
            return self._cached_stems(form) if len(form) <= CACHED_WORD else self._stems(form)
        return (form,)

    def _terms(self, word: str) -> _Terms:
        pieces = self._pieces(word)
        stems = [(self.stems(piece.text, piece.kind), piece.kind) for piece in pieces]
        return _Terms(
            stems=tuple(term for terms, _ in stems for term in terms),
            asked=tuple(term for terms, kind in stems if kind != "letter" for term in terms),
            spellings=tuple(piece.text for piece in pieces if piece.kind == "word" and self.stems(piece.text, "word")),
        )

    def _stems(self, form: str) -> tuple[str, ...]:
        plain = fold(form)
        if self._stemmer is None:
            return (plain,)
        stems = [fold(stem) for stem in self._stemmer.analyze(form)]
        if stems and plain != form:  # a query without accents has another stem
            stems += [fold(stem) for stem in self._stemmer.analyze(plain)]
        return tuple(dict.fromkeys(filter(None, stems)))


class _Stems:
    """The field of stems, without accents, stop words left out."""

    def __init__(self, words: Words) -> None:
        self._words = words

    def analyze(self, text: str) -> list[str]:
        """Return the terms of a text, in order."""
        return [*chain.from_iterable(map(_STEMS, self._words.terms(text)))]


class _Spellings:
    """The field of words as they are written, stop words left out."""

    def __init__(self, words: Words) -> None:
        self._words = words

    def analyze(self, text: str) -> list[str]:
        """Return the terms of a text, in order."""
        return [*chain.from_iterable(map(_SPELLINGS, self._words.terms(text)))]


class _Titles:
    """The field of titles: words as they are written but for accents, stop words left out."""

    def __init__(self, words: Words) -> None:
        self._words = words

    def analyze(self, text: str) -> list[str]:
        """Return the terms of a text, in order."""
        return [fold(spelling) for term in self._words.terms(text) for spelling in term.spellings]


def is_of_letters(form: str) -> bool:
    """Say whether a normalised word has no digits."""
    return form.isalpha() or not any(character.isnumeric() for character in form)


def inverse_frequency(documents: int, having: int) -> float:
    """Return the inverse document frequency, as BM25 has it, of a term that so many of the documents have."""
    return math.log1p((max(documents - having, 0) + 0.5) / (having + 0.5))
