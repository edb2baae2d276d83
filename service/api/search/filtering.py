"""Filters and facets of a request, applied to the index; one that does not fit it is a 422 that names and lists fields."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from indexer.filters.evaluate import compile_filter
from indexer.filters.facets import Facet, count_facet
from indexer.filters.fields import FilterError
from indexer.filters.filter import Filter
from indexer.index.served import Selection, ServedIndex
from service.api.search.schemas import SearchRequest
from service.problems import invalid

Value = TypeVar("Value")


def document_mask(filter_: Filter | None, index: ServedIndex, location: str = "body") -> Selection | None:
    """Return the documents that pass a filter; None without one.

    Args:
        filter_: of the request.
        index: the live index.
        location: the part of the request that holds the filter, for the problem.

    Raises:
        Problem: 422, the filter does not fit the index.
    """
    if filter_ is None:
        return None
    return convert_error(f"{location}.filter", lambda: compile_filter(filter_, index))


def count_matches(
    search: SearchRequest,
    index: ServedIndex,
    mask: Selection | None,
    location: str = "body",
    find: Callable[[], Selection] | None = None,
) -> dict[str, int | dict[str, Facet]]:
    """Return `matches`, `found` and `facets` of a response, as far as they were requested.

    Args:
        search: the request.
        index: the live index.
        mask: the documents that pass the filter of the request; None for all.
        location: the part of the request that holds ``search``, for the problem.
        find: returns the documents that the query finds, where facets are counted over these.

    Raises:
        Problem: 422, a facet does not fit the index.
    """
    if search.filter is None and not search.facets and search.query:
        return {}
    mask = compile_filter(Filter(), index) if mask is None else mask
    counts: dict[str, int | dict[str, Facet]] = {"matches": mask.count}
    if search.facets:
        counted = find() if find else mask
        if find:
            counts["found"] = counted.count
        counts["facets"] = {
            facet.field: convert_error(f"{location}.facets.{number}", partial(count_facet, facet, index, counted))
            for number, facet in enumerate(search.facets)
        }
    return counts


def convert_error(location: str, compute: Callable[[], Value]) -> Value:
    """Return what ``compute`` returns; turn its `FilterError` into a problem.

    Raises:
        Problem: 422, what the request has at ``location`` does not fit the index.
    """
    try:
        return compute()
    except FilterError as error:
        raise invalid(location, str(error)) from error
