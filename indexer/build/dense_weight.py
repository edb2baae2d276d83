"""How much the dense leg counts in hybrid search, found without labels.

Equal weights are good where both legs are. Where the encoder does not understand the corpus (another language, a jargon)
they make hybrid search worse than words alone. So both legs are asked for documents by sentences that were taken out of
them (see `cloze`), through the code that serves, and the weaker leg gets less.
"""

from __future__ import annotations

import numpy as np

from indexer.build.inverse_cloze import Cloze
from indexer.retrieval.retriever import Mode, Retriever

POOL_DOCUMENTS = 4_000
"""Documents among which the sentences' documents are looked for."""
MAX_QUERIES = 200
MIN_QUERIES = 40
"""With fewer the legs are not compared, and count the same."""
EQUAL_WEIGHT = 0.5
PRIOR = 13.0
"""Successes that both legs are granted beforehand: where hardly any document is found, nothing is concluded."""
TIE_RATIO = 0.95
"""Legs whose results differ by less than this ratio count the same."""
BOUNDS = (0.1, 0.8)


def dense_weight(retriever: Retriever, clozes: list[Cloze]) -> float:
    """Return the weight of the dense leg, rounded to two digits.

    Args:
        retriever: answers from an index in which each cloze's document lacks its sentence, in the cloze's row.
        clozes: the queries.
    """
    if len(clozes) < MIN_QUERIES:
        return EQUAL_WEIGHT
    return balance(found(retriever, clozes, "dense"), found(retriever, clozes, "lexical"))


def found(retriever: Retriever, clozes: list[Cloze], mode: Mode) -> float:
    """Return the sum over the queries of nDCG@10, the query's own document being the only relevant one."""
    total = 0.0
    for cloze in clozes:
        place = np.flatnonzero(retriever.search(cloze.sentence, mode, candidates=10).rows[:10] == cloze.row)
        total += float((1 / np.log2(place + 2)).sum())
    return total


def balance(dense: float, lexical: float) -> float:
    """Return the weight of the dense leg from the successes of both.

    One half while the legs are close; it falls with the square of the dense leg's share of the lexical leg's success,
    and rises in the same way. On four corpora whose best weight is known from labels this stays within .001 of the
    nDCG@10 at the best weight on three, and within .002 on the fourth (see DECISIONS.md).
    """
    ratio = (dense + PRIOR) / (lexical + PRIOR)
    weight = (
        EQUAL_WEIGHT * min(1.0, ratio / TIE_RATIO) ** 2
        if ratio < 1
        else 1 - EQUAL_WEIGHT * min(1.0, 1 / (ratio * TIE_RATIO)) ** 2
    )
    return round(float(np.clip(weight, *BOUNDS)), 2)
