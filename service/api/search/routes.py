"""Search routes: `POST /search`, and `GET /search` for links and browsers.

A search runs in a thread of the request queue, never on the event loop.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request

from service.api.dependencies import QUEUED, Live
from service.api.search import schemas
from service.api.search.answer import answer_search
from service.problems import RESPONSES
from service.serving.queue import queued

router = APIRouter(responses={status: RESPONSES[status] for status in (422, 500, 503)})


@router.post("/search", tags=["search"], summary="Search", responses={400: RESPONSES[400], **QUEUED})
@queued
def post_search(request: Request, live: Live, body: schemas.SearchRequest) -> schemas.SearchResponse:
    """Rank the documents of the index for a query."""
    return answer_search(request, live, body, "body")


@router.get("/search", tags=["search"], summary="Search, with a query string", responses=QUEUED)
@queued
def get_search(request: Request, live: Live, query: Annotated[schemas.SearchQuery, Query()]) -> schemas.SearchResponse:
    """Rank the documents of the index for a query: like `POST /search`, for links and browsers."""
    return answer_search(request, live, query.request(), "query")
