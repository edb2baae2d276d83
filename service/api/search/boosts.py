"""Boosts: candidates that pass a filter get a higher or a lower score, within the range of the candidates' scores.

Scores of different searches have no scale in common, and fused ones are below zero too: a factor would mean something
else in each. A weight is therefore a share of the difference between the best and the worst candidate of the search.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import numpy as np

from indexer.filters.boost import Boost
from indexer.filters.ordering import passing
from indexer.index.served import ServedIndex
from indexer.retrieval.ranking import Ranking
from service.api.search.filtering import convert_error


def boosted(ranking: Ranking, boosts: list[Boost], index: ServedIndex, location: str) -> Ranking:
    """Return a ranking in the order of the scores after the boosts; its candidates are the same.

    Args:
        ranking: all candidates of a query.
        boosts: of the request.
        index: of the ranking.
        location: the part of the request that holds ``boosts``, for the problem.

    Raises:
        Problem: 422, a filter does not fit the index.
    """
    if not boosts or not len(ranking.rows):
        return ranking
    shares = np.zeros(len(ranking.rows))
    for number, boost in enumerate(boosts):
        passes = convert_error(f"{location}.{number}.filter", partial(passing, boost.filter, index, ranking.rows))
        shares[passes] += boost.weight
    shares = np.clip(shares, -1, 1)
    spread = float(ranking.scores.max() - ranking.scores.min())
    scores = ranking.scores + shares * spread
    # Documents that have the query as their id or value stay in front; equal ones stay as they were: by score, then by id.
    inexact = np.zeros(len(scores), dtype=bool) if ranking.exact is None else ~ranking.exact
    order = np.lexsort((np.arange(len(scores)), -scores, inexact))
    return replace(ranking, scores=scores, boost=shares, spread=spread).take(order)


def boost_reranked(scores: Mapping[int, float], ranking: Ranking) -> dict[int, float]:
    """Return scores of a re-ranking with the boosts of a ranking, within the range of these scores."""
    if ranking.boost is None or not scores:
        return dict(scores)
    spread = max(scores.values()) - min(scores.values())
    return {position: score + float(ranking.boost[position]) * spread for position, score in scores.items()}
