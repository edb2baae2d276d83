"""Example queries that an index answers well: key words of a document that is then found first.

They are for somebody who sees a search box and does not know what to ask. Documents are those nearest to random
directions: it takes no list of all documents, and what a view hides is never among them.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

import numpy as np

from indexer.index.served import Document
from indexer.retrieval.retriever import Retriever

DIRECTIONS = 12
NEAREST = 2
"""Documents of each direction."""
MIN_WORDS, MAX_WORDS = 2, 4
TEXT_WORDS = 12
"""First words of a text from which key words are taken where there is no title."""


def example_queries(live: Retriever, count: int = 3, seconds: float = 1.0) -> list[str]:
    """Return at most ``count`` queries of two to four words, each of which finds its own document first.

    The same index gives the same queries, unless the time is over first.

    Args:
        live: what is searched; documents that it hides are not used.
        count: number of queries.
        seconds: time after which it returns what it has.
    """
    deadline = time.monotonic() + seconds
    queries: list[str] = []
    used: set[str] = set()
    for row, document in _documents(live):
        for query in _key_words(document, live):
            if time.monotonic() > deadline:
                return queries
            terms = set(live.index.lexical.terms(query))
            if terms & used:  # of one kind of document is enough
                break
            if _finds_first(live, query, row):
                queries.append(query)
                used |= terms
                break
        if len(queries) == count:
            break
    return queries


def _documents(live: Retriever) -> Iterator[tuple[int, Document]]:
    index = live.index
    rng = np.random.default_rng(random.Random(index.manifest.id).randrange(2**32))  # noqa: S311 - a sample, no secret
    seen: set[int] = set()
    if not len(index):
        return
    for _ in range(DIRECTIONS):
        direction = rng.standard_normal(index.manifest.contract.dimension).astype(np.float32)
        rows, _, _ = index.nearest_documents(direction / np.linalg.norm(direction), NEAREST, index.visible)
        for row in rows.tolist():
            if row not in seen:
                seen.add(row)
                yield row, index.document(row)


def _key_words(document: Document, live: Retriever) -> Iterator[str]:
    """Yield two, three and four words of a document, the rarest of its title or of the beginning of its text, in order."""
    lexical = live.index.lexical
    text = document.title or " ".join(document.text.split()[:TEXT_WORDS])
    words: dict[str, tuple[int, str]] = {}
    for place, spelling in enumerate(lexical.spellings(text)):
        written = text[spelling.start : spelling.end]
        if len(written) > 2 and lexical.terms(written):
            words.setdefault(spelling.word, (place, written))
    common = lexical.vocabulary
    rarest = sorted(words, key=lambda word: (common.get(word, 0) < 2, common.get(word, 0)))
    for number in range(MIN_WORDS, min(MAX_WORDS, len(rarest)) + 1):
        yield " ".join(written for _, written in sorted(words[word] for word in rarest[:number]))


def _finds_first(live: Retriever, query: str, row: int) -> bool:
    ranking = live.search(query, "hybrid")
    return len(ranking.rows) > 0 and int(ranking.rows[0]) == row
