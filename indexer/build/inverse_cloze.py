"""Queries without labels: sentences taken out of their documents.

The inverse cloze task (Lee, Chang, Toutanova, «Latent Retrieval for Weakly Supervised Open Domain Question Answering»,
2019): a sentence is the query, the rest of its document the answer. Because the sentence itself is gone, a search does
not find the document by its very words, as it would with any query that was copied from a text.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from indexer.inference.passages import SENTENCE_END

MIN_SENTENCES = 3
QUERY_WORDS = range(5, 41)
"""Words of a sentence that can be a query."""
QUERY_CHARACTERS = range(12, 121)
"""The same in scripts that put no spaces between words."""


@dataclass(frozen=True)
class Cloze:
    """A document (its ``row``) without one sentence, and that sentence."""

    row: int
    sentence: str
    rest: str


def sentences(text: str) -> list[tuple[int, int]]:
    """Return the sentences of a text as offsets that together cover it."""
    ends = [end.end() for end in SENTENCE_END.finditer(text)]
    starts = [0, *ends]
    return [(start, end) for start, end in zip(starts, [*ends, len(text)], strict=True) if text[start:end].strip()]


def make_clozes(texts: Sequence[str], count: int, seed: int) -> list[Cloze]:
    """Take one sentence out of each of ``count`` texts, in the order of the texts.

    Texts of fewer than three sentences, and those without a sentence of a query's length, are passed over; so there
    may be fewer.
    """
    chance = random.Random(seed)  # noqa: S311 - a sample, no secret
    order = list(range(len(texts)))
    chance.shuffle(order)
    found: list[Cloze] = []
    for row in order:
        if len(found) == count:
            break
        text = texts[row]
        pieces = sentences(text)
        fitting = [piece for piece in pieces if _is_query(text[slice(*piece)])]
        if len(pieces) < MIN_SENTENCES or not fitting:
            continue
        start, end = chance.choice(fitting)
        found.append(Cloze(row, " ".join(text[start:end].split()), (text[:start] + text[end:]).strip()))
    return sorted(found, key=lambda cloze: cloze.row)


def _is_query(sentence: str) -> bool:
    words = len(sentence.split())
    return words in QUERY_WORDS or (
        words < QUERY_WORDS.start and len(sentence.strip()) in QUERY_CHARACTERS and not sentence.isascii()
    )
