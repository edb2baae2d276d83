"""Filters and facets of a request: what does not fit the index becomes a problem that says where and lists the fields."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from indexer.filters.evaluate import compile_filter
from indexer.filters.facets import Facet, count_facet
from indexer.filters.fields import FilterError
from indexer.filters.filter import Filter
from indexer.index.document_mask import DocumentMask
from indexer.index.index import Index
from service.api.search.schemas import SearchRequest
from service.problems import Problem, ProblemField

Answer = TypeVar("Answer")


def allowed(asked: Filter | None, index: Index, where: str = "body") -> DocumentMask | None:
    """Return the documents that pass a filter; None without one.

    Args:
        asked: the filter.
        index: which answers.
        where: the part of the request that it stands in, for the problem.

    Raises:
        Problem: 422, the filter does not fit the index.
    """
    return None if asked is None else _or_problem(f"{where}.filter", lambda: compile_filter(asked, index))


def counts(
    asked: SearchRequest, index: Index, among: DocumentMask | None, where: str = "body"
) -> dict[str, int | dict[str, Facet]]:
    """Return `matches` and `facets` of a response, as far as they are asked for.

    Args:
        asked: the request.
        index: which answers.
        among: the documents that pass its filter; None for all.
        where: the part of a whole request that it stands in, for the problem.

    Raises:
        Problem: 422, a facet does not fit the index.
    """
    if asked.filter is None and not asked.facets:
        return {}
    among = compile_filter(Filter(), index) if among is None else among
    if not asked.facets:
        return {"matches": among.count}
    facets = {
        each.field: _or_problem(f"{where}.facets.{place}", partial(count_facet, each, index, among))
        for place, each in enumerate(asked.facets)
    }
    return {"matches": among.count, "facets": facets}


def _or_problem(where: str, work_out: Callable[[], Answer]) -> Answer:
    try:
        return work_out()
    except FilterError as error:
        fields = [ProblemField(field=where, message=str(error))]
        raise Problem(422, "invalid-request", f"{where}: {error}", fields) from error
