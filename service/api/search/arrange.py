"""Arrangement of a ranking into a page: minimum score, re-ranking, diversity and groups, as far as they were requested.

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

from indexer.index.served import ServedIndex
from indexer.retrieval.diversity import centroids, mmr, relevance
from indexer.retrieval.ranking import Numbers, Ranking
from indexer.retrieval.retriever import Mode
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
            the new scores; all others follow.
    """
    eligible = _filter_by_score(ranking, mode, options.min_score)
    scores = rerank(list(eligible)) if rerank else {}
    reranked = sorted(scores, key=lambda position: -scores[position])
    others: Iterable[int] = (position for position in eligible if position not in scores) if scores else eligible
    if options.diversity and scores:  # only the re-ranked ones: their scores have no scale in common with the others'
        cross_scores = np.array([scores[position] for position in reranked])
        reranked = list(_diversify(index, ranking, reranked, cross_scores, options.diversity))
    elif options.diversity:
        others = _diversify(index, ranking, list(eligible), ranking.scores[list(eligible)], options.diversity)
    positions: Iterable[int] = chain(reranked, others)
    exact = ranking.exact
    if exact is not None:  # in front whatever else is asked for, also below the minimum score
        positions = chain(np.flatnonzero(exact).tolist(), (each for each in positions if not exact[each]))
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


def _filter_by_score(ranking: Ranking, mode: Mode, minimum: float | None) -> Sequence[int]:
    """Return the positions whose score reaches a minimum: the cosine of the dense leg, or BM25 in lexical mode.

    Scores count as they are shown, with `SCORE_DIGITS`: a result of just the score that is given stays.
    """
    scores = ranking.lexical if mode == "lexical" else ranking.dense
    if minimum is None or scores is None:
        return range(len(ranking.rows))
    return [int(position) for position in np.flatnonzero(np.round(scores, SCORE_DIGITS) >= minimum)]


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
        value = index.document(int(ranking.rows[position])).metadata.get(options.group_by or "")
        if value is None or value != value:  # noqa: PLR0124 - NaN counts as no value
            groups[position] = None
        else:
            sizes[value] += 1
            if sizes[value] > options.group_size:
                continue
            groups[position] = value
        yield position
