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

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from itertools import chain
from operator import attrgetter
from typing import Literal, NamedTuple, Protocol

import tantivy

from indexer.index.languages import UNSPACED, language_filters

MAX_WORD = 250
"""Characters; a longer word becomes several terms."""
CACHED_WORD = 64
"""Characters; the analysis of longer words is not cached."""
CACHED_WORDS = 1 << 17

IGNORABLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
"""Default_Ignorable_Code_Point of Unicode, as a character class."""
HAN = "\u2e80-\u2fdf\u3005\u3007\u3021-\u3029\u3038-\u303b\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
UNSPACED_LETTERS = (
    "\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\U0001b000-\U0001b16f"  # Hiragana, Katakana
    "\u3105-\u312f\u31a0-\u31bf\u1100-\u11ff\u3131-\u318e\uac00-\ud7a3"  # Bopomofo, Hangul
    "\u0e01-\u0e4e\u0e80-\u0ecf\u0edc-\u0edf"  # Thai, Lao
    "\u1780-\u17df\u1000-\u103f\u1050-\u108f\ua9e0-\ua9ef\ua9fa-\ua9fe\uaa60-\uaa7f"  # Khmer, Myanmar
    "\u1950-\u197f\u1980-\u19cf\u1a20-\u1a7f\u1aa0-\u1aad\uaa80-\uaadf"  # Tai Le, New Tai Lue, Tai Tham, Tai Viet
    "\ua980-\ua9cf\u1b00-\u1b4f\ua000-\ua48f"  # Javanese, Balinese, Yi
)
"""Letters and marks of scripts without spaces, other than Chinese; Hangul too, for its particles and compounds."""
DIACRITICS = (
    "\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"  # of any script
    "\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7"  # Hebrew points
    "\u0610-\u061a\u0640\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed"  # Arabic
    "\u093c\u09bc\u0a3c\u0abc\u0b3c"  # dots under letters of India
)
"""Marks that a query may leave out; vowel signs of India and voicing marks of Japan are none of them."""
LETTERS = str.maketrans({"\u06cc": "\u064a", "\u0649": "\u064a", "\u06a9": "\u0643", "\u0629": "\u0647"})
"""Letters that Arabic, Persian and Urdu keyboards give for each other."""

_IGNORED = re.compile(f"[{IGNORABLE}]+")
_UNSPACED = re.compile(f"[{HAN}{UNSPACED_LETTERS}]")
_DIACRITICS = re.compile(f"[{DIACRITICS}]+")
_ZWNJ = "\u200c"
_ARABIC = re.compile("[\u0620-\u064a\u066e-\u06d3\u06d5\u06ee\u06ef\u06fa-\u06ff\u0750-\u077f\u08a0-\u08c9]")
_JOINED = re.compile("[\u1160-\u11ff\ud7b0-\ud7ff\uff9e\uff9f\uffc2-\uffdc]")
"""Letters that combine with the one before them: Korean vowels and finals, voicing marks of half-width Katakana."""
_APOSTROPHES = str.maketrans("_\u02bb\u02bc", "   ")
"""Apostrophes that count as letters; the others separate words, so these do too."""
_ASCII_WORDS = str.maketrans({chr(code): chr(code).lower() if chr(code).isalnum() else " " for code in range(128)})


def _marks() -> str:
    """Return all combining marks as a character class."""
    spans: list[list[int]] = []
    for code in range(0x300, 0x20000):
        if unicodedata.category(chr(code))[0] == "M":
            if spans and spans[-1][1] == code - 1:
                spans[-1][1] = code
            else:
                spans.append([code, code])
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in spans)


_MARKS = _marks()
_CHARACTER = re.compile(f"[^{_MARKS}][{_MARKS}]*")
_ENCLOSING = "\u0488\u0489\u1abe\u20dd-\u20e0\u20e2-\u20e4\ua670-\ua672"
_ODD = re.compile(f"[{IGNORABLE}{_ENCLOSING}]")
_WORD = re.compile(rf"[\w\u24b6-\u24e9\u3200-\u33ff\u2103\u2109\u2116{_MARKS}{IGNORABLE}]+")
"""Letters, numbers, their marks, what is not shown, and symbols that stand for words («㎏», «№»)."""
_RARE = re.compile("[^\0-\xac\xae-\u02ba\u02bd-\u02ff\u2010-\u2027\u2030-\u205e\u20a0-\u20bf]")
"""All but Latin letters, punctuation and currencies. Without them, a much simpler pattern finds the same words."""
_LETTERS = re.compile(r"[^\W_]+")

Kind = Literal["word", "part", "pair", "character", "letter"]
"""A part belongs to a word with a zero-width non-joiner. A letter is a character that a query with its neighbours does
not look for: the pairs do. In a corpus of a language without spaces no Chinese character is one."""


class Piece(NamedTuple):
    """A word, or a character or pair of a script without spaces: its place in the text, and its normalised form."""

    start: int
    end: int
    text: str
    kind: Kind


class _Character(NamedTuple):
    """A normalised letter with its marks, and its place in the text."""

    text: str
    first: int
    last: int

    def start(self) -> int:
        """Return where it begins, as a match of a regular expression does."""
        return self.first

    def end(self) -> int:
        """Return where it ends."""
        return self.last


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

    def query_terms(self, text: str) -> list[str]:
        """Return the distinct terms of a query."""


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
        self._single = re.compile(f"[{HAN}]") if language in UNSPACED else None
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

    def comparable(self, word: str) -> str:
        """Return the word without accents, for a misspelt word may lack them too."""
        return fold(word)

    def pieces(self, text: str) -> Iterator[Piece]:
        """Yield the words of a text in order, with their places in it."""
        for match in _WORD.finditer(text.translate(_APOSTROPHES)):
            word, first = match[0], match.start()
            pieces = self._cached_pieces(word) if len(word) <= CACHED_WORD else self._pieces(word)
            for start, end, form, kind in pieces:
                yield Piece(first + start, first + end, form, kind)

    def terms(self, text: str) -> Iterator[_Terms]:
        """Yield the terms of each word of a text in order; many times faster than `pieces`."""
        if text.isascii() and not self._turkish:
            words = text.translate(_ASCII_WORDS).split()
        elif not _RARE.search(text):
            words = _LETTERS.findall(text)
        else:
            words = _WORD.findall(text.translate(_APOSTROPHES))
        cached = max(map(len, words), default=0) <= CACHED_WORD
        return map(self._cached_terms if cached else self._terms, words)

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

    def _pieces(self, word: str) -> tuple[Piece, ...]:
        """Return the pieces of a run of letters, marks and ignorable characters."""
        folded = self._folded(word)
        if folded and len(folded) <= MAX_WORD and folded.isalnum() and not _UNSPACED.search(folded):
            return (Piece(0, len(folded), folded, "word"),)
        pieces: list[Piece] = []
        run: list[_Character] = []
        unspaced = False
        for character in _CHARACTER.finditer(folded) if folded else self._characters(word):
            is_word, is_unspaced = character[0][0].isalnum(), _UNSPACED.match(character[0]) is not None
            if not is_word or is_unspaced != unspaced:
                pieces += _ngrams(run, self._single) if unspaced else _words(run, word)
                run, unspaced = [], is_unspaced
            if is_word:
                run.append(_Character(character[0], character.start(), character.end()))
        return tuple(pieces + (_ngrams(run, self._single) if unspaced else _words(run, word)))

    def _folded(self, word: str) -> str | None:
        """Return the normalised word where each character keeps its place, else None."""
        if _ODD.search(word) or not unicodedata.is_normalized("NFKC", word):
            return None
        folded = _fold_case(word, turkish=self._turkish)
        same = len(folded) == len(word) and "i\u0307" not in folded and unicodedata.is_normalized("NFKC", folded)
        return folded if same else None

    def _characters(self, word: str) -> Iterator[_Character]:
        """Yield normalised characters, each with its marks and its place; marks without a letter are left out."""
        for start, end in _clusters(word):
            shown = [place for place in range(start, end) if not _IGNORED.match(word[place])]
            for character in _CHARACTER.finditer(_normalise(word[start:end], turkish=self._turkish)):
                yield _Character(character[0], shown[0], shown[-1] + 1)


class _Stems:
    """The field of stems, without accents, stop words left out."""

    def __init__(self, words: Words) -> None:
        self._words = words

    def analyze(self, text: str) -> list[str]:
        """Return the terms of a text, in order."""
        return [*chain.from_iterable(map(_STEMS, self._words.terms(text)))]

    def query_terms(self, text: str) -> list[str]:
        """Return the distinct terms of a query, without single letters of longer runs: nearly every text has them."""
        return list(dict.fromkeys(chain.from_iterable(map(_ASKED, self._words.terms(text)))))


class _Spellings:
    """The field of words as they are written, stop words left out."""

    def __init__(self, words: Words) -> None:
        self._words = words

    def analyze(self, text: str) -> list[str]:
        """Return the terms of a text, in order."""
        return [*chain.from_iterable(map(_SPELLINGS, self._words.terms(text)))]

    def query_terms(self, text: str) -> list[str]:
        """Return the distinct terms of a query."""
        return list(dict.fromkeys(self.analyze(text)))


def is_of_letters(form: str) -> bool:
    """Say whether a normalised word has no digits."""
    return form.isalpha() or not any(character.isnumeric() for character in form)


def fold(form: str) -> str:
    """Return a normalised word without accents: «łódka» → «lodka», «ёлка» → «елка»; digits become 0 to 9."""
    if form.isascii():
        return form
    bare = _DIACRITICS.sub("", unicodedata.normalize("NFD", form)).translate(LETTERS)
    bare = "".join(str(unicodedata.digit(letter)) if letter.isdecimal() else letter for letter in bare)
    return "".join(_ascii_folder().analyze(unicodedata.normalize("NFC", bare)))


@lru_cache(maxsize=1)
def _ascii_folder() -> tantivy.TextAnalyzer:
    return tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.raw()).filter(tantivy.Filter.ascii_fold()).build()


@lru_cache(maxsize=CACHED_WORDS)
def _normalise(cluster: str, *, turkish: bool) -> str:
    """Return NFKC and case folding of a letter with its marks, without what is not shown."""
    text = unicodedata.normalize("NFKC", _ODD.sub("", cluster))
    text = _fold_case(text, turkish=turkish)
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())  # each may undo the other
    return text.replace("i\u0307", "i")


def _fold_case(text: str, *, turkish: bool) -> str:
    return (text.replace("İ", "i").replace("I", "ı") if turkish else text).casefold()


def _clusters(word: str) -> Iterator[tuple[int, int]]:
    """Yield start and end of each letter with the characters that combine with it."""
    start = 0
    for place in range(1, len(word)):
        character = word[place]
        if character.isascii() or not (
            unicodedata.category(character)[0] == "M" or _IGNORED.match(character) or _JOINED.match(character)
        ):
            yield start, place
            start = place
    if word:
        yield start, len(word)


def _words(run: list[_Character], raw: str) -> list[Piece]:
    """Return a word in pieces of at most `MAX_WORD` characters, and its parts where non-joiners divide it."""
    pieces = [_joined(run[start : start + MAX_WORD], "word") for start in range(0, len(run), MAX_WORD)]
    breaks = [
        place
        for place in range(1, len(run))
        if _ZWNJ in raw[run[place - 1].first : run[place].first]
        and _ARABIC.match(run[place - 1].text)
        and _ARABIC.match(run[place].text)
    ]
    if breaks:
        bounds = zip([0, *breaks], [*breaks, len(run)], strict=True)
        pieces += [
            _joined(run[part : min(part + MAX_WORD, end)], "part")
            for start, end in bounds
            for part in range(start, end, MAX_WORD)
        ]
    return pieces


def _ngrams(run: list[_Character], single: re.Pattern[str] | None) -> list[Piece]:
    """Return the characters of a run, and the pairs of neighbours; ``single`` are letters that a query looks for."""
    pieces: list[Piece] = []
    before: _Character | None = None
    for character in run:
        text, first, last = character
        if before:
            pieces.append(Piece(before.first, last, before.text + text, "pair"))
        alone = len(run) == 1 or (single and single.match(text))
        pieces.append(Piece(first, last, text, "character" if alone else "letter"))
        before = character
    return pieces


def _joined(characters: list[_Character], kind: Kind) -> Piece:
    return Piece(characters[0].first, characters[-1].last, "".join(part.text for part in characters), kind)
