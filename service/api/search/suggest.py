"""`GET /suggest`: completes what is being typed from titles and from past queries."""

from __future__ import annotations

import time
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from indexer.retrieval.completion import complete_titles
from service.api.dependencies import QUEUED, Live, index_info
from service.api.problem_responses import RESPONSES
from service.api.schemas import AnsweredBy, RequestId, Took
from service.serving.queries.recorder import QueryRecorder
from service.serving.queue import queued

router = APIRouter(responses={status: RESPONSES[status] for status in (422, 500, 501, 503)})


class Suggestion(BaseModel):
    """A completion."""

    text: str = Field(description="what can be searched for")
    source: Literal["title", "query"] = Field(
        description="`title`: the title of a document; `query`: a query that found something"
    )


class SuggestResponse(BaseModel):
    """Answer of `/suggest`."""

    query: str = Field(description="what was to be completed")
    suggestions: list[Suggestion] = Field(description="best first: past queries, then titles; each text once")
    took_ms: Took
    index: AnsweredBy
    request_id: RequestId


@router.get(
    "/suggest", operation_id="suggest", tags=["search"], summary="Complete what is being typed", responses=QUEUED
)
@queued
def suggest(
    request: Request,
    live: Live,
    q: Annotated[str, Query(min_length=1, max_length=200, description="what has been typed so far", examples=["sub"])],
    limit: Annotated[int, Query(ge=1, le=20, description="number of completions")] = 8,
) -> SuggestResponse:
    """Return titles that have all words of the text, and one that begins as its last; and past queries that begin so.

    Titles are those of documents that the caller may see. Past queries are those of callers who may see the same documents.
    """
    started = time.perf_counter()
    recorder: QueryRecorder | None = request.app.state.queries
    queries = recorder.complete(q, limit // 2, request.scope["caller"].key) if recorder else []
    found = [Suggestion(text=text, source="query") for text in queries]
    known = {text.casefold() for text in queries}
    titles = complete_titles(live.index, q, limit)
    found += [Suggestion(text=title, source="title") for title in titles if title.casefold() not in known]
    return SuggestResponse(
        query=q,
        suggestions=found[:limit],
        took_ms=round((time.perf_counter() - started) * 1e3, 3),
        index=index_info(live.index),
        request_id=request.scope["request_id"],
    )
