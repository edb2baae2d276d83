"""«Did you mean»: words that the corpus does not have, replaced by the nearest ones that it has.

The dictionary is the term dictionary of the lexical index, in which words stand as they are written, not as stems. It is
read when a query finds nothing for the first time. Nearness is the number of edits (a letter added, left out, exchanged,
or two neighbours swapped); between equally near words the one in more documents is taken.
"""

from __future__ import annotations

import re

from rapidfuzz import process
from rapidfuzz.distance import OSA

from indexer.index.document_mask import DocumentMask
from indexer.index.legs import LexicalLeg

WORD = re.compile(r"[^\W\d_]+")
MAX_UNKNOWN_WORDS = 8
"""Unknown words of a query that are looked up. A query with more of them is in another language or no words at all."""


def max_edits(word: str) -> int:
    """Return by how many edits a word may be misspelt: none up to two letters, one up to five, two in longer ones."""
    return 0 if len(word) <= 2 else 1 if len(word) <= 5 else 2


def suggestion(query: str, lexical: LexicalLeg, visible: DocumentMask | None = None) -> str | None:
    """Return ``query`` with its unknown words corrected, or None where nothing better is known.

    Words that the index knows, stop words, numbers and punctuation stay as they are. Where only some documents are
    ``visible`` a word that stands in none of them is as unknown as any, and is never suggested.
    """
    unknown = {word for word in WORD.findall(query) if not _found(word, lexical, visible)}
    if not 0 < len(unknown) <= MAX_UNKNOWN_WORDS:
        return None
    better = {word: near for word in unknown if (near := _nearest(word.lower(), lexical, visible))}
    if not better:
        return None
    return WORD.sub(lambda match: better.get(match[0], match[0]), query)


def _found(word: str, lexical: LexicalLeg, visible: DocumentMask | None) -> bool:
    """Say whether a word finds a visible document, or is none that is looked for, such as a stop word."""
    if visible is None:
        return lexical.knows(word)
    return not lexical.terms(word) or bool(len(lexical.search(word, 1, visible)[1]))


def _nearest(word: str, lexical: LexicalLeg, visible: DocumentMask | None) -> str | None:
    """Return the word with the fewest edits, and of these the most frequent; None beyond the bound."""
    bound, vocabulary = max_edits(word), lexical.vocabulary
    if not bound:
        return None
    near = process.extract(word, vocabulary.keys(), scorer=OSA.distance, score_cutoff=bound, limit=None)
    best = sorted(near, key=lambda found: (found[1], -vocabulary[found[0]], found[0]))
    return next((found[0] for found in best if visible is None or _found(found[0], lexical, visible)), None)
