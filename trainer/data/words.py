"""Sentences and words of a text, in any script.

Scripts without spaces between words give overlapping n-grams of characters instead of words.
"""

from __future__ import annotations

from typing import NamedTuple

import regex

from indexer.index.terms.languages import analyzer, exact_analyzer
from indexer.inference.passages import SENTENCE_END

_PAIRED = r"\p{Han}\p{Hiragana}\p{Katakana}ー"  # scripts with words of about two characters
_SPELT = r"\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"  # scripts with words of several letters and marks
_WORDS = regex.compile(r"\w+(?:['’-]\w+)*")
_UNSPACED = regex.compile(rf"[{_PAIRED}{_SPELT}]")
_RUNS = regex.compile(rf"(?P<paired>[{_PAIRED}]+)|(?P<spelt>[{_SPELT}]+)|[\w--[{_PAIRED}{_SPELT}]]+", regex.VERSION1)
_TOKENS = regex.compile(rf"[{_PAIRED}{_SPELT}]|[\w--[{_PAIRED}{_SPELT}]]+", regex.VERSION1)
_SPELT_END = regex.compile(rf"(?<=[{_SPELT}])\s+(?=[{_SPELT}])")
_UNSPACED_UNITS = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}"
UNIT = regex.compile(rf"(?:[{_UNSPACED_UNITS}]\p{{M}}*|[^\s{_UNSPACED_UNITS}]+)\s*")
"""A word with its punctuation, or a character of a script without spaces, with the white space after it."""
_LETTERS = {"paired": 2, "spelt": 5}


class Sentence(NamedTuple):
    """A sentence with its units and its pairs of neighbouring words.

    A unit is a word, or an n-gram of a script without spaces. The sequences have one value per unit: objects for units
    would be millions and slow down the garbage collector.
    """

    start: int
    end: int
    starts: tuple[int, ...]
    ends: tuple[int, ...]
    keys: list[str]
    """Normalised form of each unit; empty for a stop word."""
    sizes: tuple[float, ...]
    """Length of each unit in words."""
    pairs: dict[str, tuple[int, int]]
    """Normalised form of each pair → start and end of its first occurrence."""


class Keys(dict[str, str]):
    """Normalised forms: word as it is written → its lower case, or the empty string for a stop word of the language."""

    def __init__(self, language: str) -> None:
        from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

        super().__init__()
        if language != "none":
            analyzer(language)  # raises UserError for an unknown language
        self._stop_words = ENGLISH_STOP_WORDS if language == "en" else frozenset()
        self._analyzer = exact_analyzer(language)

    def __missing__(self, word: str) -> str:
        key = word.lower()
        if key in self._stop_words or (self._analyzer and not self._analyzer.analyze(key)):
            key = ""
        self[word] = key
        return key


def tokens(text: str) -> list[str]:
    """Return the words of a text in lower case; of scripts without spaces the characters."""
    words: list[str] = _TOKENS.findall(text.lower())
    return words


def sentences_of(text: str, keys: Keys) -> list[Sentence]:
    """Return the sentences of a text; ``keys`` normalises words and knows the stop words."""
    breaks = [end.span() for end in SENTENCE_END.finditer(text)]
    unspaced = not text.isascii() and _UNSPACED.search(text) is not None
    if unspaced:  # Thai and related scripts separate sentences by spaces
        breaks = sorted({*breaks, *(end.span() for end in _SPELT_END.finditer(text))})
    sentences = []
    start = 0
    for end, following in [*breaks, (len(text), len(text))]:
        if unspaced:
            units = [unit for run in _RUNS.finditer(text, start, end) for unit in _ngrams(run)]
        else:
            units = [(*word.span(), 1.0) for word in _WORDS.finditer(text, start, end)]
        starts, ends, sizes = zip(*units, strict=True) if units else ((), (), ())
        sentence = Sentence(start, end, starts, ends, [keys[text[first:last]] for first, last, _ in units], sizes, {})
        _find_pairs(sentence)
        sentences.append(sentence)
        start = following
    return sentences


def _ngrams(run: regex.Match[str]) -> list[tuple[int, int, float]]:
    """Return start, end and size of a word, or of the overlapping n-grams of a run of letters without spaces."""
    first, last = run.span()
    if run.lastgroup is None:
        return [(first, last, 1.0)]
    letters = min(_LETTERS[run.lastgroup], last - first)
    return [(start, start + letters, 1 / letters) for start in range(first, last - letters + 1)]


def _find_pairs(sentence: Sentence) -> None:
    """Add pairs of neighbours with only a space or a hyphen between them; «1 2» is too short for a pair."""
    keys, starts, ends, pairs = sentence.keys, sentence.starts, sentence.ends, sentence.pairs
    for unit in range(len(keys) - 1):
        if (
            (left := keys[unit])
            and (right := keys[unit + 1])
            and starts[unit + 1] == ends[unit] + 1
            and len(left + right) > 3
        ):
            pairs.setdefault(f"{left} {right}", (starts[unit], ends[unit + 1]))
