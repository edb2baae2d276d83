"""Short texts of a corpus, of the lengths that queries have: extracts, windows of words, and windows of two documents.

People's queries combine words that stand in no single sentence. So a third of the texts joins windows of two documents.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np

from trainer.data.words import UNIT
from trainer.queries.extract import extract

EXTRACTS_PER_DOCUMENT = 8
WINDOW = (2, 14)
"""Minimum and maximum of the words of a window."""
HALF_WINDOW = (1, 6)
"""The same for each of two windows that are joined."""


def short_texts(
    titles: Sequence[str | None], texts: Sequence[str], count: int, language: str = "en", seed: int = 0
) -> list[str]:
    """Return up to ``count`` different short texts, in random order; the same documents and seed give the same.

    Args:
        titles: one per document, None or blank where there is none.
        texts: the documents.
        count: how many, at most: a small corpus has fewer.
        language: ISO 639-1 code, for the extracts.
        seed: of all choices.
    """
    rng = random.Random(seed)  # noqa: S311 - a sample, no secret
    rows = rng.sample(range(len(texts)), min(len(texts), count))
    extracted = extract(
        [titles[row] for row in rows], [texts[row] for row in rows], EXTRACTS_PER_DOCUMENT, language, seed
    )
    extracts = [query for queries in extracted for _, query in queries]
    chosen = dict.fromkeys(rng.sample(extracts, min(len(extracts), count // 3)))
    words = [units for row in rows if (units := UNIT.findall(texts[row]))]
    if not words:
        return list(chosen)
    # A long document has more windows, and its words are not rarer in queries for it.
    bounds = np.cumsum([len(units) ** 0.5 for units in words]).tolist()

    def window(shortest: int, longest: int) -> str:
        units = rng.choices(words, cum_weights=bounds)[0]
        size = rng.randint(shortest, longest)
        start = rng.randrange(max(len(units) - size + 1, 1))
        return " ".join("".join(units[start : start + size]).split())

    windows = (count - len(chosen)) // 2
    chosen |= dict.fromkeys(window(*WINDOW) for _ in range(windows))
    chosen |= dict.fromkeys(f"{window(*HALF_WINDOW)} {window(*HALF_WINDOW)}" for _ in range(count - len(chosen)))
    shuffled = [text for text in chosen if text]
    rng.shuffle(shuffled)
    return shuffled
