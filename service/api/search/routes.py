"""Search routes: `POST /search`, and `GET /search` for links and browsers.

A search runs in a thread of the request queue, never on the event loop.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request

from indexer.retrieval.retriever import Retriever
from service.api.dependencies import QUEUED, Live
from service.api.problem_responses import RESPONSES
from service.api.search import schemas
from service.api.search.answering.answer import answer_search
from service.api.search.record import recorded
from service.serving.batching import PendingQuery
from service.serving.queue import queued_query

router = APIRouter(responses={status: RESPONSES[status] for status in (422, 500, 501, 503)})


def _query_of_body(request: Request, live: Retriever, body: schemas.SearchRequest) -> PendingQuery | None:  # noqa: ARG001
    # What a word half typed is completed to is known only once the search runs.
    alone = body.mode == "lexical" or body.prefix or not body.query
    return None if alone else PendingQuery(live.index.encoder, body.query)


def _query_of_link(request: Request, live: Retriever, query: schemas.SearchQuery) -> PendingQuery | None:  # noqa: ARG001
    alone = query.mode == "lexical" or query.prefix or not query.q
    return None if alone else PendingQuery(live.index.encoder, query.q)


@router.post(
    "/search", operation_id="search", tags=["search"], summary="Search", responses={400: RESPONSES[400], **QUEUED}
)
@queued_query(_query_of_body)
def post_search(request: Request, live: Live, body: schemas.SearchRequest) -> schemas.SearchResponse:
    """Rank the documents of the index for a query, or list them where there is none."""
    return recorded(request, body, answer_search(request, live, body, "body", pending=request.scope["query"]))


@router.get(
    "/search",
    operation_id="search_with_query_string",
    tags=["search"],
    summary="Search, with a query string",
    responses=QUEUED,
)
@queued_query(_query_of_link)
def get_search(request: Request, live: Live, query: Annotated[schemas.SearchQuery, Query()]) -> schemas.SearchResponse:
    """Rank the documents of the index for a query, or list them where there is none: like `POST /search`, for links and browsers."""
    search = query.request()
    return recorded(request, search, answer_search(request, live, search, "query", pending=request.scope["query"]))
