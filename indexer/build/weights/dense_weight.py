"""Dense weight: the weight of the dense leg in hybrid search, estimated without labels.

Equal weights are good where both legs are. Where the encoder does not fit the corpus (another language, jargon), they
make hybrid search worse than lexical search alone. So both legs search for documents by sentences that were taken out of
them (see `inverse_cloze`), through the code that serves, and the weaker leg gets less weight. The questions share words
with their documents, more than people's do: only a clear difference counts. What differs from query to query is adapted
when it is asked (`indexer.retrieval.query_weight`).
"""

from __future__ import annotations

import numpy as np

from indexer.build.weights.inverse_cloze import Cloze
from indexer.retrieval.ranking import Mode
from indexer.retrieval.retriever import Retriever

POOL_DOCUMENTS = 4_000
"""Maximum number of documents that are searched."""
MAX_QUERIES = 200
MIN_QUERIES = 40
"""With fewer queries the legs are not compared and have equal weights."""
EQUAL_WEIGHT = 0.5
PRIOR = 13.0
"""Pseudo-count of successes that is added to both legs: few successes hardly move the weight."""
TIE_RATIO = 0.85
"""Legs whose ratio of successes is closer to 1 than this have equal weights. On three corpora where people's best weight
is .8 to .9, sentences give ratios from .8 to .9: nearer than this they do not tell which leg is better."""
EXPONENT = 3
"""Power of the ratio by which the weight falls. Where the encoder does not know the language, little weight is best."""
BOUNDS = (0.05, 0.8)
"""Minimum and maximum of the weight."""


def estimate_dense_weight(retriever: Retriever, clozes: list[Cloze]) -> float:
    """Return the weight of the dense leg, rounded to two digits.

    Args:
        retriever: over an index in which the document in each cloze's row lacks the cloze's sentence.
        clozes: the queries.
    """
    if len(clozes) < MIN_QUERIES:
        return EQUAL_WEIGHT
    return balance(sum_ndcg(retriever, clozes, "dense"), sum_ndcg(retriever, clozes, "lexical"))


def sum_ndcg(retriever: Retriever, clozes: list[Cloze], mode: Mode) -> float:
    """Return the sum of nDCG@10 over the queries, where a query's only relevant document is its own."""
    total = 0.0
    for cloze in clozes:
        position = np.flatnonzero(retriever.search(cloze.sentence, mode, candidates=10).rows[:10] == cloze.row)
        total += float((1 / np.log2(position + 2)).sum())
    return total


def balance(dense: float, lexical: float) -> float:
    """Return the weight of the dense leg from the successes (sums of nDCG@10) of both legs.

    The weight is one half while the legs are close. It falls with a power of the ratio of dense to lexical successes,
    and rises in the same way with the inverse ratio (docs/decisions/retrieval.md).
    """
    ratio = (dense + PRIOR) / (lexical + PRIOR)
    weight = (
        EQUAL_WEIGHT * min(1.0, ratio / TIE_RATIO) ** EXPONENT
        if ratio < 1
        else 1 - EQUAL_WEIGHT * min(1.0, 1 / (ratio * TIE_RATIO)) ** EXPONENT
    )
    return round(float(np.clip(weight, *BOUNDS)), 2)
