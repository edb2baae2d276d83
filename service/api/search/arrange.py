"""Arrangement of a ranking into a page: minimum score, sort, re-ranking, diversity and groups, as far as they were requested.

The steps run in this order. Each takes positions in the ranking one by one and passes them on: no more is computed than
the page needs. A page depends on the pages before it and on nothing after it: pages neither repeat nor lose a document.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any

import numpy as np

from indexer.filters.ordering import sorted_positions
from indexer.filters.sort import SortByDistance, SortByField
from indexer.index.served import Document, ServedIndex
from indexer.retrieval.diversity import centroids, mmr, relevance
from indexer.retrieval.ranking import Mode, Numbers, Ranking
from service.api.search.boosts import boost_reranked
from service.api.search.schemas import Arrangement
from service.problems import invalid

SCORE_DIGITS = 6
"""Decimals of the scores in answers."""


@dataclass(frozen=True)
class Page:
    """Positions in a ranking, in the order in which they are shown.

    Attributes:
        positions: of the results of the page.
        groups: position → value of the `group_by` column, if results were grouped.
    """

    positions: list[int]
    groups: Mapping[int, Any] = field(default_factory=dict)


def arrange(
    index: ServedIndex,
    ranking: Ranking,
    options: Arrangement,
    *,
    mode: Mode,
    offset: int,
    count: int,
    rerank: Callable[[list[int]], Mapping[int, float]] | None = None,
    min_relevance: float | None = None,
    sort: Sequence[SortByField | SortByDistance] = (),
) -> Page:
    """Return the page of ``count`` results from ``offset`` on.

    Args:
        index: of the ranking.
        ranking: all candidates of a query.
        options: of the request.
        mode: of the search.
        offset: number of results to skip.
        count: number of results of a page.
        rerank: takes positions, best first, and returns new scores of the first of them. These positions are ordered by
            the new scores; all others follow. Their relevances follow the new order, too: the first has the largest.
        min_relevance: relevance below which a candidate is left out.
        sort: keys that order all of them in place of their scores, exact matches too; then neither re-ranking nor
            diversity takes part.
    """
    eligible = eligible_positions(ranking, mode, options.min_score, min_relevance)
    if sort:
        eligible = _sort(index, ranking, with_exact(ranking, eligible), sort)
    scores = boost_reranked(rerank(list(eligible)), ranking) if rerank else {}
    reranked = sorted(scores, key=lambda position: -scores[position])
    exact = ranking.exact
    if reranked and ranking.relevance is not None:
        inexact = [position for position in reranked if exact is None or not exact[position]]
        ranking.relevance[inexact] = np.sort(ranking.relevance[inexact])[::-1]
    others: Iterable[int] = (position for position in eligible if position not in scores) if scores else eligible
    if options.diversity and scores:  # only the re-ranked ones: their scores have no scale in common with the others'
        cross_scores = np.array([scores[position] for position in reranked])
        reranked = list(_diversify(index, ranking, reranked, cross_scores, options.diversity))
    elif options.diversity:
        others = _diversify(index, ranking, list(eligible), ranking.scores[list(eligible)], options.diversity)
    positions: Iterable[int] = chain(reranked, others)
    if not sort:
        positions = with_exact(ranking, positions)
    groups: dict[int, Any] = {}
    if options.group_by is not None:
        positions = _limit_groups(index, ranking, positions, options, groups)
    return Page(list(islice(positions, offset, offset + count)), groups)


def check_columns(index: ServedIndex, options: Arrangement, location: str) -> None:
    """Refuse columns that the index does not have, or that cannot be grouped by.

    Args:
        index: the live index.
        options: of the request.
        location: the part of the request that holds ``options``: ``body``, ``query``.

    Raises:
        Problem: 422; it names the field and lists the columns.
    """
    if not options.fields and options.group_by is None:
        return
    columns = index.metadata_types
    for name in options.fields or []:
        if name not in columns:
            raise invalid(f"{location}.fields", f"no column {name!r}; there is: {_list_names(columns)}")
    if options.group_by is None:
        return
    scalars = index.scalar_columns
    if options.group_by not in scalars:
        raise invalid(
            f"{location}.group_by", f"no column {options.group_by!r} of single values; there is: {_list_names(scalars)}"
        )


def _list_names(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def eligible_positions(
    ranking: Ranking, mode: Mode, min_score: float | None, min_relevance: float | None = None
) -> Sequence[int]:
    """Return the positions that reach a least score and a least relevance.

    The score is the cosine of the dense leg, or BM25 in lexical mode. Scores count as they are shown, with `SCORE_DIGITS`:
    a result of just the score that is given stays.
    """
    if min_score is None and min_relevance is None:
        return range(len(ranking.rows))
    scores = ranking.lexical if mode == "lexical" else ranking.dense
    reached = np.ones(len(ranking.rows), dtype=bool)
    if min_score is not None and scores is not None:
        reached &= np.round(scores, SCORE_DIGITS) >= min_score
    if min_relevance is not None and ranking.relevance is not None:
        reached &= ranking.relevance >= min_relevance
    return range(len(reached)) if reached.all() else np.flatnonzero(reached).tolist()


def with_exact(ranking: Ranking, positions: Iterable[int]) -> Iterable[int]:
    """Return positions with exact matches in front, whatever else is asked for, also those below the minimum score."""
    exact = ranking.exact
    if exact is None:
        return positions
    return chain(np.flatnonzero(exact).tolist(), (each for each in positions if not exact[each]))


def _sort(
    index: ServedIndex, ranking: Ranking, positions: Iterable[int], sort: Sequence[SortByField | SortByDistance]
) -> list[int]:
    at = np.fromiter(positions, dtype=np.int64)
    order: list[int] = at[sorted_positions(sort, index, ranking.rows[at], len(at))].tolist()
    return order


def _diversify(
    index: ServedIndex, ranking: Ranking, positions: list[int], scores: Numbers, share: float
) -> Iterator[int]:
    order = mmr(relevance(scores), centroids(index, ranking.rows[positions]), share)
    return (positions[i] for i in order)


def _limit_groups(
    index: ServedIndex, ranking: Ranking, positions: Iterable[int], options: Arrangement, groups: dict[int, Any]
) -> Iterator[int]:
    """Yield the positions whose group is not full yet, and record the value of each in ``groups``."""
    sizes: Counter[Any] = Counter()
    for position in positions:
        value = group_value(index.document(int(ranking.rows[position])), options.group_by or "")
        groups[position] = None
        if value is not None:
            sizes[value] += 1
            if sizes[value] > options.group_size:
                continue
            groups[position] = value
        yield position


def group_value(document: Document, column: str) -> Any:
    """Return the value of a document by which it is grouped; None where it has none."""
    value = document.metadata.get(column)
    return None if value != value else value  # noqa: PLR0124 - NaN counts as no value
