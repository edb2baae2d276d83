"""Which parts of a search go together. What could have no effect is refused, and never ignored.

| | sort | boost | no query |
|---|---|---|---|
| `rerank` | refused: the order would not be seen | boosts count again in the re-ranked scores | refused |
| `diversity` | refused | yes | refused: it needs scores |
| `group_by` | yes: the first of each group by the sort | yes | yes |
| `min_score`, `min_relevance`, `fusion` | yes | yes; `min_score` looks at the legs' own scores | refused |
| `boost` | refused: the order would not be seen | | refused |
| `facets_over` | yes | yes | yes: everything that passes is found |
"""

from __future__ import annotations

from indexer.filters.ordering import check_sort
from indexer.filters.sort import SortByDistance, SortByField
from indexer.index.served import ServedIndex
from service.api.search.filtering import convert_error
from service.api.search.schemas import MAX_OFFSET, MAX_TOP_K, Arrangement, SearchRequest
from service.problems import invalid


def check_combination(search: SearchRequest, index: ServedIndex, location: str) -> None:
    """Refuse a search whose parts do not go together, or whose sort does not fit the index.

    Args:
        search: the request.
        index: the live index.
        location: the part of the request that holds ``search``, for the problem.

    Raises:
        Problem: 422; it names the part that has to go.
    """
    if not search.query:
        given = {
            "min_score": search.min_score is not None,
            "min_relevance": search.min_relevance is not None,
            "diversity": search.diversity > 0,
            "fusion": search.fusion is not None,
            "rerank": bool(search.rerank),
            "boost": bool(search.boost),
        }
        for name in (name for name, is_given in given.items() if is_given):
            raise invalid(f"{location}.{name}", "needs a query, as without one there are no scores; leave it out")
    check_sorted(search.sort, search, index, location)
    if search.sort and search.rerank:
        raise invalid(
            f"{location}.rerank", "does not go with sort, which alone decides the order; leave one of them out"
        )
    if search.sort and search.boost:
        raise invalid(
            f"{location}.boost", "does not go with sort, which alone decides the order; leave one of them out"
        )


def check_sorted(
    sort: list[SortByField | SortByDistance], options: Arrangement, index: ServedIndex, location: str
) -> None:
    """Refuse sort keys that do not fit the index or the rest of a request.

    Raises:
        Problem: 422; it names the part.
    """
    for number, key in enumerate(sort):
        convert_error(f"{location}.sort.{number}", lambda key=key: check_sort(key, index.columns))  # type: ignore[misc]
    if sort and options.diversity:
        raise invalid(
            f"{location}.diversity", "does not go with sort, which alone decides the order; leave one of them out"
        )


def pages_beyond(search: SearchRequest, end: int) -> int:
    """Return how many documents a search ranks for results up to ``end``, where they go on beyond the candidates; else 0.

    They do in lexical mode. Where sort, diversity or boosts go by all candidates, these must be the same for every page.
    """
    if search.mode != "lexical" or search.sort or search.diversity or search.boost:
        return 0
    return min(end, MAX_OFFSET + MAX_TOP_K)
