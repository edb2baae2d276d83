"""Inverse cloze task: queries without labels, which are sentences taken out of their documents.

A sentence is the query, the rest of its document the answer (Lee, Chang, Toutanova, «Latent Retrieval for Weakly
Supervised Open Domain Question Answering», 2019). The document no longer has the sentence: a search cannot find it by
an exact copy of the query.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from indexer.inference.passages import SENTENCE_END

MIN_SENTENCES = 3
QUERY_WORDS = range(5, 41)
"""Number of words of a sentence that can be a query."""
QUERY_CHARACTERS = range(12, 121)
"""Number of characters instead, in scripts without spaces between words."""


@dataclass(frozen=True)
class Cloze:
    """A sentence that was taken out of the document in ``row``, and the ``rest`` of the document's text."""

    row: int
    sentence: str
    rest: str


def split_sentences(text: str) -> list[tuple[int, int]]:
    """Return start and end offsets of the sentences of a text; together they cover it, but for parts that are blank."""
    ends = [end.end() for end in SENTENCE_END.finditer(text)]
    starts = [0, *ends]
    return [(start, end) for start, end in zip(starts, [*ends, len(text)], strict=True) if text[start:end].strip()]


def make_clozes(texts: Sequence[str], count: int, seed: int) -> list[Cloze]:
    """Take one sentence out of each of ``count`` texts, in the order of the texts.

    Texts of fewer than three sentences and those without a sentence of a query's length are skipped: the result may be
    shorter.
    """
    rng = random.Random(seed)  # noqa: S311 - a sample, no secret
    order = list(range(len(texts)))
    rng.shuffle(order)
    clozes: list[Cloze] = []
    for row in order:
        if len(clozes) == count:
            break
        text = texts[row]
        sentences = split_sentences(text)
        candidates = [span for span in sentences if _is_query(text[slice(*span)])]
        if len(sentences) < MIN_SENTENCES or not candidates:
            continue
        start, end = rng.choice(candidates)
        clozes.append(Cloze(row, " ".join(text[start:end].split()), (text[:start] + text[end:]).strip()))
    return sorted(clozes, key=lambda cloze: cloze.row)


def _is_query(sentence: str) -> bool:
    words = len(sentence.split())
    return words in QUERY_WORDS or (
        words < QUERY_WORDS.start and len(sentence.strip()) in QUERY_CHARACTERS and not sentence.isascii()
    )
