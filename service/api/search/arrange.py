"""From a ranking to a page: the least score, re-ranking, diversity, and groups, in this order, each only where it was asked for.

Every step takes places in the ranking one by one and hands them on, so that no more is looked at than the page needs.
What stands on a page depends on the pages before it and on nothing after it: pages neither repeat nor lose a document.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any

import numpy as np

from indexer.index.index import Index
from indexer.retrieval.diversity import centroids, mmr, relevance
from indexer.retrieval.ranking import Numbers, Ranking
from indexer.retrieval.retriever import Mode
from service.api.search.schemas import Arrangement
from service.problems import invalid

NESTED = ("list", "large_list", "struct", "map")
"""How the Arrow types begin whose values are no single ones."""


@dataclass(frozen=True)
class Page:
    """Places in a ranking, in the order in which they are shown; with the value of each where they were grouped."""

    places: list[int]
    groups: Mapping[int, Any] = field(default_factory=dict)


def arrange(
    index: Index,
    ranking: Ranking,
    asked: Arrangement,
    *,
    mode: Mode,
    offset: int,
    count: int,
    rerank: Callable[[list[int]], Mapping[int, float]] | None = None,
) -> Page:
    """Return the page of ``count`` results from ``offset`` on, arranged as asked.

    Args:
        index: of the ranking.
        ranking: all candidates of a query.
        asked: what is asked for.
        mode: of the search.
        offset: results to skip.
        count: results of a page.
        rerank: gives the first of some places, best first, new scores; they are ordered by these, all others follow.
    """
    good = _good_enough(ranking, mode, asked.min_score)
    scores = rerank(list(good)) if rerank else {}
    head = sorted(scores, key=lambda place: -scores[place])
    rest: Iterable[int] = (place for place in good if place not in scores) if scores else good
    if asked.diversity and scores:  # of two kinds, which have no common scale: what was not re-ranked follows
        head = list(_diverse(index, ranking, head, np.array([scores[place] for place in head]), asked.diversity))
    elif asked.diversity:
        rest = _diverse(index, ranking, list(good), ranking.scores[list(good)], asked.diversity)
    places: Iterable[int] = chain(head, rest)
    groups: dict[int, Any] = {}
    if asked.group_by is not None:
        places = _grouped(index, ranking, places, asked, groups)
    return Page(list(islice(places, offset, offset + count)), groups)


def check_columns(index: Index, asked: Arrangement, where: str) -> None:
    """Refuse columns that the index does not have, or that cannot be grouped by.

    Args:
        index: the live one.
        asked: what the request says.
        where: the part of the request that it stands in: ``body``, ``query``.

    Raises:
        Problem: names the field and lists the columns.
    """
    if not asked.fields and asked.group_by is None:
        return
    columns = index.metadata_types
    for name in asked.fields or []:
        if name not in columns:
            raise invalid(f"{where}.fields", f"no column {name!r}; there is: {_listed(columns)}")
    if asked.group_by is None:
        return
    single = [name for name, kind in columns.items() if not kind.startswith(NESTED)]
    if asked.group_by not in single:
        raise invalid(
            f"{where}.group_by", f"no column {asked.group_by!r} of single values; there is: {_listed(single)}"
        )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _good_enough(ranking: Ranking, mode: Mode, least: float | None) -> Sequence[int]:
    """Return the places whose score is not below the least: cosine of the dense leg, or BM25 where that is all there is."""
    scores = ranking.lexical if mode == "lexical" else ranking.dense
    if least is None or scores is None:
        return range(len(ranking.rows))
    return [int(place) for place in np.flatnonzero(scores >= least)]


def _diverse(index: Index, ranking: Ranking, places: list[int], scores: Numbers, share: float) -> Iterator[int]:
    order = mmr(relevance(scores), centroids(index, ranking.rows[places]), share)
    return (places[chosen] for chosen in order)


def _grouped(
    index: Index, ranking: Ranking, places: Iterable[int], asked: Arrangement, groups: dict[int, Any]
) -> Iterator[int]:
    """Yield places while their group has room, and note the value of each in ``groups``."""
    taken: Counter[Any] = Counter()
    for place in places:
        value = index.document(int(ranking.rows[place])).metadata.get(asked.group_by or "")
        if value is None or value != value:  # noqa: PLR0124 - NaN is no value either
            groups[place] = None
        else:
            taken[value] += 1
            if taken[value] > asked.group_size:
                continue
            groups[place] = value
        yield place
