"""Recording of searches in the query log, where the operator keeps one."""

from __future__ import annotations

from fastapi import Request

from service.api.search import schemas
from service.serving.queries.recorder import QueryRecorder, Search, tenant_of


def recorded(
    request: Request, search: schemas.SearchRequest, response: schemas.SearchResponse
) -> schemas.SearchResponse:
    """Take up a search in the query log and return its response; further pages of it, and no query, are no searches."""
    recorder: QueryRecorder | None = request.app.state.queries
    if recorder and search.query and not search.offset:
        caller = request.scope["caller"]
        first = response.results[0] if response.results else None
        recorder.record(
            f"{'key' if caller.key else 'address'} {caller.name}",
            Search(
                query=search.query,
                mode=search.mode,
                results=response.count,
                relevance=getattr(first, "relevance", None),
                milliseconds=response.took_ms,
                filtered=search.filter is not None,
                tenant=tenant_of(caller.key),
            ),
        )
    return response
