"""Spelling suggestions («did you mean»): words that the corpus does not have, replaced by the nearest ones that it has.

The dictionary is that of the lexical index, with words as they are written and not as stems. It is read when a query
finds nothing for the first time. Distance is the number of edits: a letter added, left out or exchanged, or two
neighbours swapped. Of equally near words the one in more documents is taken.
"""

from __future__ import annotations

import re

from rapidfuzz import process
from rapidfuzz.distance import OSA

from indexer.index.document_mask import DocumentMask
from indexer.index.legs import LexicalLeg

WORD = re.compile(r"[^\W\d_]+")
MAX_UNKNOWN_WORDS = 8
"""A query with more unknown words is not corrected: it is in another language, or not made of words."""


def max_edits(word: str) -> int:
    """Return how many edits a misspelt word may need: none up to two letters, one up to five, two in longer ones."""
    return 0 if len(word) <= 2 else 1 if len(word) <= 5 else 2


def suggestion(query: str, lexical: LexicalLeg, visible: DocumentMask | None = None) -> str | None:
    """Return ``query`` with its unknown words corrected, or None where nothing better is known.

    Words that the index knows, stop words, numbers and punctuation stay as they are. Where only some documents are
    ``visible``, a word that occurs in none of them is unknown, and is never suggested.
    """
    unknown = {word for word in WORD.findall(query) if not _is_known(word, lexical, visible)}
    if not 0 < len(unknown) <= MAX_UNKNOWN_WORDS:
        return None
    corrections = {word: nearest for word in unknown if (nearest := _nearest(word.lower(), lexical, visible))}
    if not corrections:
        return None
    return WORD.sub(lambda match: corrections.get(match[0], match[0]), query)


def _is_known(word: str, lexical: LexicalLeg, visible: DocumentMask | None) -> bool:
    """Say whether a word occurs in a visible document, or has no terms to look for, like a stop word."""
    if visible is None:
        return lexical.knows(word)
    return not lexical.terms(word) or bool(len(lexical.search(word, 1, visible)[1]))


def _nearest(word: str, lexical: LexicalLeg, visible: DocumentMask | None) -> str | None:
    """Return the known word with the fewest edits, of several the most frequent; None where all need too many."""
    limit, vocabulary = max_edits(word), lexical.vocabulary
    if not limit:
        return None
    matches = process.extract(word, vocabulary.keys(), scorer=OSA.distance, score_cutoff=limit, limit=None)
    nearest_first = sorted(matches, key=lambda match: (match[1], -vocabulary[match[0]], match[0]))
    return next((match[0] for match in nearest_first if visible is None or _is_known(match[0], lexical, visible)), None)
