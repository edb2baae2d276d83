"""Vocabulary of a lexical index: the words near a misspelt one.

Distance is the number of edits: a letter added, left out or exchanged, or two neighbours swapped (optimal string
alignment). Only words whose lengths differ by no more than the edits are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
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
        self._by_length = {
            length: (forms, entries, signatures(forms)) for length, (forms, entries) in by_length.items()
        }
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
        own = signatures([form])[0]
        for length in range(len(form) - edits, len(form) + edits + 1):
            if length not in self._by_length:
                continue
            forms, entries, all_signatures = self._by_length[length]
            # Each edit changes at most two bits; few words differ in so few, and only those are compared.
            places = np.flatnonzero(np.bitwise_count(all_signatures ^ own) <= 2 * edits).tolist()
            alike = [forms[place] for place in places]
            for _, distance, at in process.extract(form, alike, scorer=OSA.distance, score_cutoff=edits, limit=None):
                found.append(entries[places[at]]._replace(edits=int(distance)))
        return found


def signatures(forms: Sequence[str]) -> npt.NDArray[np.uint64]:
    """Return the set of letters of each of several words of one length, as bits, shape (len(forms),).

    Letters share 64 bits. A letter that is added or left out changes one bit at most, one that is exchanged two, and two
    that are swapped none.
    """
    if not forms or not forms[0]:
        return np.zeros(len(forms), dtype=np.uint64)
    letters = np.frombuffer("".join(forms).encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    bits = np.left_shift(np.uint64(1), letters.astype(np.uint64) % np.uint64(64))
    sets: npt.NDArray[np.uint64] = np.bitwise_or.reduce(bits.reshape(len(forms), -1), axis=1)
    return sets
