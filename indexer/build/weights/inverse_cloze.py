"""Inverse cloze task: queries without labels, which are sentences taken out of their documents.

A sentence is the query, the rest of its document the answer (Lee, Chang, Toutanova, «Latent Retrieval for Weakly
Supervised Open Domain Question Answering», 2019). The document no longer has the sentence: a search cannot find it by
an exact copy of the query. Documents of fewer than three sentences, such as products or glossary entries, are divided
instead: one half of the words is the query, the other half remains.
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

MIN_WORDS = 4
"""With fewer words, a text is taken for one without spaces between them."""
MIN_HALVED_WORDS = 8
"""Words of a text of which one half is a query."""
MAX_HALF_WORDS = 10
MIN_HALVED_CHARACTERS = 16
"""Characters instead, in scripts without spaces between words; the query is at most `QUERY_CHARACTERS` long."""


@dataclass(frozen=True)
class Cloze:
    """What was taken out of the document in ``row``: a sentence or words; and the ``rest`` of the document's text."""

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


def make_halves(texts: Sequence[str], count: int, seed: int) -> list[Cloze]:
    """Take half of the words, at most ten, out of each of ``count`` texts, in the order of the texts.

    The words are drawn at random and keep their order. A text without spaces is cut in the middle. Texts that are too
    short are skipped: the result may be shorter.
    """
    rng = random.Random(seed)  # noqa: S311 - a sample, no secret
    order = list(range(len(texts)))
    rng.shuffle(order)
    halved = (_halve(row, texts[row], rng) for row in order)
    chosen = [cloze for cloze in halved if cloze][:count]
    return sorted(chosen, key=lambda cloze: cloze.row)


def take_words(texts: Sequence[str], count: int, least: int, seed: int) -> tuple[list[Cloze], bool]:
    """Take a sentence out of each of ``count`` texts, or where fewer than ``least`` have one to spare, half of the words.

    Returns:
        What `make_clozes` or `make_halves` returns, and whether these are sentences.
    """
    clozes = make_clozes(texts, count, seed)
    return (clozes, True) if len(clozes) >= least else (make_halves(texts, count, seed), False)


def halves(text: str, rng: random.Random, most: int | None = None) -> tuple[str, str]:
    """Divide the words of a text at random into two halves, each in the order of the text; the first has ``most`` words.

    A text without spaces is cut in the middle.
    """
    words = text.split()
    if len(words) < MIN_WORDS:
        middle = len(text) // 2
        return text[:middle], text[middle:]
    first = set(rng.sample(range(len(words)), min(len(words) // 2, most or len(words))))
    return (
        " ".join(word for place, word in enumerate(words) if place in first),
        " ".join(word for place, word in enumerate(words) if place not in first),
    )


def _halve(row: int, text: str, rng: random.Random) -> Cloze | None:
    text = text.strip()
    if len(text.split()) >= MIN_HALVED_WORDS:
        return Cloze(row, *halves(text, rng, MAX_HALF_WORDS))
    if text.isascii() or len(text) < MIN_HALVED_CHARACTERS:
        return None
    middle = min(len(text) // 2, QUERY_CHARACTERS.stop - 1)
    return Cloze(row, text[:middle], text[middle:])


def _is_query(sentence: str) -> bool:
    words = len(sentence.split())
    return words in QUERY_WORDS or (
        words < QUERY_WORDS.start and len(sentence.strip()) in QUERY_CHARACTERS and not sentence.isascii()
    )
