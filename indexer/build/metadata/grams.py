"""Runs of one to three words of a text (n-grams), as numbers that are the same for the same words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

Grams = npt.NDArray[np.int64]

LONGEST = 3
"""Words of a run, at most."""
MAX_WORDS = 300
"""Words of a text that are read, from its beginning. Attributes stand early, and a long text has many wrong ones."""
BITS = 21
"""Of a word's number in that of a run: `LONGEST` times this many fit into 63 bits."""
MAX_VOCABULARY = 2**BITS - 1
WORD = re.compile(r"\w+(?:['’.-]\w+)*")


class Vocabulary:
    """Numbers words in the order in which they are met, from 1 on; 0 stands for none."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._words: list[str] = [""]

    def read(self, texts: Iterable[str | None], *, learn: bool) -> Grams:
        """Return the runs of words of a document, each once and sorted.

        No run goes from one text to the next.

        Args:
            texts: of the document, such as its title and its text.
            learn: whether words that are new get a number; otherwise runs with such a word are left out.
        """
        parts = [_runs(self._numbers_of(text, learn=learn)) for text in texts if text]
        return np.unique(np.concatenate(parts)) if parts else np.empty(0, dtype=np.int64)

    def spell(self, gram: int) -> str:
        """Return the words of a run."""
        numbers = (gram >> BITS * place & MAX_VOCABULARY for place in reversed(range(LONGEST)))
        return " ".join(self._words[number] for number in numbers if number)

    def _numbers_of(self, text: str, *, learn: bool) -> Grams:
        numbers = (self._number(word, learn=learn) for word in _first_words(text))
        return np.fromiter(numbers, dtype=np.int64)

    def _number(self, word: str, *, learn: bool) -> int:
        number = self._numbers.get(word, 0)
        if not number and learn and len(self._words) <= MAX_VOCABULARY:
            number = self._numbers[word] = len(self._words)
            self._words.append(word)
        return number


def _first_words(text: str) -> Iterator[str]:
    for count, match in enumerate(WORD.finditer(text)):
        if count == MAX_WORDS:
            return
        yield match[0].casefold()


def _runs(words: Grams) -> Grams:
    """Return all runs of one to `LONGEST` of the words' numbers, without those that hold an unknown word."""
    found = [words[words > 0]]
    known, run = words > 0, words
    for length in range(1, LONGEST):
        run = (run[:-1] << BITS) | words[length:]
        known = known[:-1] & (words[length:] > 0)
        found.append(run[known])
    return np.concatenate(found)
