"""Pieces of a written word: normalised words, and characters and pairs of scripts without spaces, with their places."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Literal, NamedTuple

from indexer.index.terms.tokens.characters import (
    ARABIC,
    CHARACTER,
    IGNORED,
    MISPLACED,
    ODD,
    UNSPACED_LETTER,
    ZWNJ,
    clusters,
    fold_case,
    normalise,
)

MAX_WORD = 250
"""Characters; a longer word becomes several terms."""

Kind = Literal["word", "part", "pair", "character", "letter"]
"""A part belongs to a word with a zero-width non-joiner. A letter is a character that a query with its neighbours does
not look for: the pairs do. In a corpus of a language without spaces no Chinese character is one."""


class Piece(NamedTuple):
    """A word, or a character or pair of a script without spaces: its place in the text, and its normalised form."""

    start: int
    end: int
    text: str
    kind: Kind


class Character(NamedTuple):
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


class Divider:
    """Divides written words into pieces.

    Args:
        turkish: whether I is the capital of ı.
        single: letters of scripts without spaces that a query looks for by themselves.
    """

    def __init__(self, *, turkish: bool, single: re.Pattern[str] | None) -> None:
        self._turkish, self._single = turkish, single

    def pieces(self, word: str) -> tuple[Piece, ...]:
        """Return the pieces of a run of letters, marks and ignorable characters."""
        folded = self._folded(word)
        if folded and len(folded) <= MAX_WORD and folded.isalnum() and not UNSPACED_LETTER.search(folded):
            return (Piece(0, len(folded), folded, "word"),)
        pieces: list[Piece] = []
        run: list[Character] = []
        unspaced = False
        for character in CHARACTER.finditer(folded) if folded else self._characters(word):
            is_word, is_unspaced = character[0][0].isalnum(), UNSPACED_LETTER.match(character[0]) is not None
            if not is_word or is_unspaced != unspaced:
                pieces += _ngrams(run, self._single) if unspaced else _words(run, word)
                run, unspaced = [], is_unspaced
            if is_word:
                run.append(Character(character[0], character.start(), character.end()))
        return tuple(pieces + (_ngrams(run, self._single) if unspaced else _words(run, word)))

    def _folded(self, word: str) -> str | None:
        """Return the normalised word where each character keeps its place, else None."""
        if ODD.search(word) or MISPLACED.search(word) or not unicodedata.is_normalized("NFKC", word):
            return None
        folded = fold_case(word, turkish=self._turkish)
        same = len(folded) == len(word) and "i\u0307" not in folded and unicodedata.is_normalized("NFKC", folded)
        return folded if same else None

    def _characters(self, word: str) -> Iterator[Character]:
        """Yield normalised characters, each with its marks and its place; marks without a letter are left out."""
        for start, end in clusters(word):
            shown = [place for place in range(start, end) if not IGNORED.match(word[place])]
            for character in CHARACTER.finditer(normalise(word[start:end], turkish=self._turkish)):
                yield Character(character[0], shown[0], shown[-1] + 1)


def _words(run: list[Character], raw: str) -> list[Piece]:
    """Return a word in pieces of at most `MAX_WORD` characters, and its parts where non-joiners divide it."""
    pieces = [_joined(run[start : start + MAX_WORD], "word") for start in range(0, len(run), MAX_WORD)]
    breaks = [
        place
        for place in range(1, len(run))
        if ZWNJ in raw[run[place - 1].first : run[place].first]
        and ARABIC.match(run[place - 1].text)
        and ARABIC.match(run[place].text)
    ]
    if breaks:
        bounds = zip([0, *breaks], [*breaks, len(run)], strict=True)
        pieces += [
            _joined(run[part : min(part + MAX_WORD, end)], "part")
            for start, end in bounds
            for part in range(start, end, MAX_WORD)
        ]
    return pieces


def _ngrams(run: list[Character], single: re.Pattern[str] | None) -> list[Piece]:
    """Return the characters of a run, and the pairs of neighbours; ``single`` are letters that a query looks for."""
    pieces: list[Piece] = []
    before: Character | None = None
    for character in run:
        text, first, last = character
        if before:
            pieces.append(Piece(before.first, last, before.text + text, "pair"))
        alone = len(run) == 1 or (single and single.match(text))
        pieces.append(Piece(first, last, text, "character" if alone else "letter"))
        before = character
    return pieces


def _joined(characters: list[Character], kind: Kind) -> Piece:
    return Piece(characters[0].first, characters[-1].last, "".join(part.text for part in characters), kind)
