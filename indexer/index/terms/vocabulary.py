"""Vocabulary of a lexical index: the words near a misspelt one.

Distance is the number of edits: a letter added, left out or exchanged, or two neighbours swapped (optimal string
alignment). Only words whose lengths differ by no more than the edits are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from rapidfuzz import process
from rapidfuzz.distance import OSA

from indexer.cache import OwnedCache

CACHED_WORDS = 4_096
"""Misspelt words whose neighbours are cached."""


class Near(NamedTuple):
    """A word near another one: the edits between them, and how many documents have it."""

    edits: int
    documents: int
    word: str


class Vocabulary:
    """Words with their document frequencies. Safe to use from several threads.

    Args:
        words: document frequency of each.
        comparable: returns the form in which a word is compared.
    """

    def __init__(self, words: Mapping[str, int], comparable: Callable[[str], str]) -> None:
        self._comparable = comparable
        by_length: dict[int, tuple[list[str], list[Near]]] = {}
        for word, documents in words.items():
            form = comparable(word)
            forms, entries = by_length.setdefault(len(form), ([], []))
            forms.append(form)
            entries.append(Near(0, documents, word))
        self._by_length = by_length
        self._cached: OwnedCache[tuple[str, int], list[Near]] = OwnedCache(CACHED_WORDS, lambda _key, _near: 1)

    def near(self, word: str, edits: int) -> list[Near]:
        """Return the words within so many edits, nearest first, and of equally near ones the most frequent first."""
        key = (self._comparable(word), edits)
        if (known := self._cached.get(key)) is not None:
            return known
        found = sorted(self._search(*key), key=lambda near: (near.edits, -near.documents, near.word))
        self._cached.put(key, found)
        return found

    def _search(self, form: str, edits: int) -> list[Near]:
        found = []
        for length in range(len(form) - edits, len(form) + edits + 1):
            forms, entries = self._by_length.get(length, ([], []))
            for _, distance, place in process.extract(form, forms, scorer=OSA.distance, score_cutoff=edits, limit=None):
                found.append(entries[place]._replace(edits=int(distance)))
        return found
