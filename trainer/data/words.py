"""A text taken apart into sentences and words, in any script.

Scripts without spaces between words give overlapping n-grams of characters in the place of words.
"""

from __future__ import annotations

from typing import NamedTuple

import regex

from indexer.index.languages import analyzer, exact_analyzer
from indexer.inference.passages import SENTENCE_END

_PAIRED = r"\p{Han}\p{Hiragana}\p{Katakana}ー"  # scripts with words of about two characters
_SPELT = r"\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"  # scripts with words of several letters and marks
_WORDS = regex.compile(r"\w+(?:['’-]\w+)*")
_UNSPACED = regex.compile(rf"[{_PAIRED}{_SPELT}]")
_RUNS = regex.compile(rf"(?P<paired>[{_PAIRED}]+)|(?P<spelt>[{_SPELT}]+)|[\w--[{_PAIRED}{_SPELT}]]+", regex.VERSION1)
_TOKENS = regex.compile(rf"[{_PAIRED}{_SPELT}]|[\w--[{_PAIRED}{_SPELT}]]+", regex.VERSION1)
_SPELT_END = regex.compile(rf"(?<=[{_SPELT}])\s+(?=[{_SPELT}])")
_LETTERS = {"paired": 2, "spelt": 5}


class Sentence(NamedTuple):
    """A stretch of text, the units in it, and which neighbouring words count as pairs.

    A unit is a word, or an n-gram of a script without spaces. The sequences have one value per unit: a million
    small objects instead would keep the garbage collector busy.
    """

    start: int
    end: int
    starts: tuple[int, ...]
    ends: tuple[int, ...]
    keys: list[str]
    """What a unit counts as; empty for a stop word."""
    sizes: tuple[float, ...]
    """Words that a unit is worth."""
    pairs: dict[str, tuple[int, int]]
    """What a pair counts as, and where it first stands."""


class Keys(dict[str, str]):
    """Word as it is written → what it counts as: its lower case, or nothing for a stop word of the language."""

    def __init__(self, language: str) -> None:
        from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

        super().__init__()
        if language != "none":
            analyzer(language)  # refuses a language that is not known
        self._listed = ENGLISH_STOP_WORDS if language == "en" else frozenset()
        self._analyzer = exact_analyzer(language)

    def __missing__(self, word: str) -> str:
        key = word.lower()
        if key in self._listed or (self._analyzer and not self._analyzer.analyze(key)):
            key = ""
        self[word] = key
        return key


def tokens(text: str) -> list[str]:
    """Return the words of a text in lower case; of scripts without spaces the characters."""
    found: list[str] = _TOKENS.findall(text.lower())
    return found


def sentences_of(text: str, keys: Keys) -> list[Sentence]:
    """Take a text apart at the ends of its sentences; ``keys`` says which words are stop words."""
    breaks = [end.span() for end in SENTENCE_END.finditer(text)]
    unspaced = not text.isascii() and _UNSPACED.search(text) is not None
    if unspaced:  # Thai and its neighbours put a space where others put a full stop
        breaks = sorted({*breaks, *(end.span() for end in _SPELT_END.finditer(text))})
    sentences = []
    start = 0
    for end, following in [*breaks, (len(text), len(text))]:
        if unspaced:
            units = [unit for run in _RUNS.finditer(text, start, end) for unit in _ngrams(run)]
        else:
            units = [(*word.span(), 1.0) for word in _WORDS.finditer(text, start, end)]
        starts, ends, sizes = zip(*units, strict=True) if units else ((), (), ())
        sentence = Sentence(start, end, starts, ends, [keys[text[a:b]] for a, b, _ in units], sizes, {})
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
    return [(at, at + letters, 1 / letters) for at in range(first, last - letters + 1)]


def _find_pairs(sentence: Sentence) -> None:
    """Add the neighbours with nothing but a space or a hyphen between them; «1 2» is no pair."""
    keys, starts, ends, pairs = sentence.keys, sentence.starts, sentence.ends, sentence.pairs
    for at in range(len(keys) - 1):
        if (left := keys[at]) and (right := keys[at + 1]) and starts[at + 1] == ends[at] + 1 and len(left + right) > 3:
            pairs.setdefault(f"{left} {right}", (starts[at], ends[at + 1]))
