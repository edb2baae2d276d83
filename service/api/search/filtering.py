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
    return _convert_error(f"{location}.filter", lambda: compile_filter(filter_, index))


def count_matches(
    search: SearchRequest, index: ServedIndex, mask: Selection | None, location: str = "body"
) -> dict[str, int | dict[str, Facet]]:
    """Return `matches` and `facets` of a response, as far as they were requested.

    Args:
        search: the request.
        index: the live index.
        mask: the documents that pass the filter of the request; None for all.
        location: the part of the request that holds ``search``, for the problem.

    Raises:
        Problem: 422, a facet does not fit the index.
    """
    if search.filter is None and not search.facets:
        return {}
    mask = compile_filter(Filter(), index) if mask is None else mask
    if not search.facets:
        return {"matches": mask.count}
    facets = {
        facet.field: _convert_error(f"{location}.facets.{number}", partial(count_facet, facet, index, mask))
        for number, facet in enumerate(search.facets)
    }
    return {"matches": mask.count, "facets": facets}


def _convert_error(location: str, compute: Callable[[], Value]) -> Value:
    """Return what ``compute`` returns; turn its `FilterError` into a problem."""
    try:
        return compute()
    except FilterError as error:
        raise invalid(location, str(error)) from error
