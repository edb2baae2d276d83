"""Spelling suggestions («did you mean»): words that the corpus does not have, replaced by the nearest ones that it has.

The dictionary is that of the lexical index, with words as they are written and not as stems. It is read when a query
finds nothing for the first time. Distance is the number of edits: a letter added, left out or exchanged, or two
neighbours swapped. Of equally near words the one in more documents is taken.
"""

from __future__ import annotations

from itertools import groupby
from operator import attrgetter
from typing import Any

from indexer.index.document_mask import DocumentMask
from indexer.index.legs import LexicalLeg

MAX_UNKNOWN_WORDS = 8
"""A query with more unknown words is not corrected: it is in another language, or not made of words."""


def max_edits(word: str) -> int:
    """Return how many edits a misspelt word may need: none up to two letters, one up to five, two in longer ones."""
    return 0 if len(word) <= 2 else 1 if len(word) <= 5 else 2


def suggestion(query: str, lexical: LexicalLeg, visible: DocumentMask | None = None) -> str | None:
    """Return ``query`` with its unknown words corrected, or None where nothing better is known.

    Words that the index knows, stop words, numbers and punctuation stay as they are. Where only some documents are
    ``visible``, a word is unknown if no form of it occurs in them, and is only suggested if it stands there as written;
    frequency counts them alone. Nothing is told of other documents' words.
    """
    unknown = [each for each in lexical.spellings(query) if not is_known(each.word, lexical, visible)]
    distinct = {each.word for each in unknown}
    if not 0 < len(distinct) <= MAX_UNKNOWN_WORDS:
        return None
    corrections = {word: nearest for word in distinct if (nearest := _nearest(word, lexical, visible))}
    corrected, end = "", 0
    for each in unknown:
        if each.word in corrections:
            corrected += query[end : each.start] + corrections[each.word]
            end = each.end
    return corrected + query[end:] if corrections else None


def is_known(word: str, lexical: LexicalLeg[Any], visible: Any | None) -> bool:
    """Say whether a word occurs in a visible document, or has no terms to look for, like a stop word.

    Args:
        word: spelt as in the vocabulary.
        lexical: the leg of the index.
        visible: the documents that can be found at all, a selection of the index; None for all of them.
    """
    known = lexical.knows(word)
    if visible is None or not known:
        return known
    terms = lexical.terms(word)
    # A term of more documents than are hidden is in a visible one. That spares the search where few are deleted.
    hidden = len(lexical) - visible.count
    return not terms or (
        any(lexical.document_frequency("body", term) > hidden for term in terms)
        or bool(len(lexical.search(word, 1, visible)[1]))
    )


def _nearest(word: str, lexical: LexicalLeg, visible: DocumentMask | None) -> str | None:
    """Return the known word with the fewest edits, of several the most frequent; None where all need too many."""
    if not (limit := max_edits(word)):
        return None
    nearest_first = lexical.near(word, limit)
    if visible is None:
        return next((near.word for near in nearest_first), None)
    for _, equally_near in groupby(nearest_first, key=attrgetter("edits")):
        counts = {near.word: lexical.count_documents(near.word, visible) for near in equally_near}
        most_frequent = min(counts, key=lambda candidate: (-counts[candidate], candidate))
        if counts[most_frequent]:
            return most_frequent
    return None
