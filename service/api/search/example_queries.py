"""`GET /search/examples`: queries that the corpus answers well, for the first screen of a search page."""

from __future__ import annotations

import time
from typing import NamedTuple

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from indexer.cache import Cache
from indexer.retrieval.example_queries import example_queries
from indexer.retrieval.retriever import Retriever
from service.api.dependencies import QUEUED, Live, index_info
from service.api.problem_responses import RESPONSES
from service.api.schemas import INDEX, AnsweredBy, RequestId
from service.serving.queries.recorder import tenant_of
from service.serving.queue import queued

KEPT_SECONDS = 60.0
"""How long examples are kept although documents were written since."""
TENANTS = 1_000
"""Tenants whose examples are kept at most."""

router = APIRouter(responses={status: RESPONSES[status] for status in (422, 500, 503)})


class ExampleQueriesResponse(BaseModel):
    """Answer of `/search/examples`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "queries": ["remove directory tree", "parse command line", "compress bytes"],
                    "index": INDEX,
                    "request_id": "0f8fad5bd9cb469fa16570867728950e",
                }
            ]
        }
    )
    queries: list[str] = Field(description="at most three; each finds the document first of which it has key words")
    index: AnsweredBy
    request_id: RequestId


class Made(NamedTuple):
    """Examples, when they were made, and from which generation of the index."""

    at: float
    generation: str
    queries: list[str]


class ExampleQueries:
    """The examples of each tenant, made once for an index."""

    def __init__(self) -> None:
        self._made: Cache[str, Made] = Cache(TENANTS)

    def of(self, live: Retriever, tenant: str | None) -> list[str]:
        """Return the examples of a tenant, whose view of the index is ``live``."""
        generation = live.index.generation
        key = f"{live.index.manifest.id} {tenant or ''}"
        made = self._made.get(key)
        if made is None or (made.generation != generation and time.monotonic() - made.at > KEPT_SECONDS):
            made = Made(time.monotonic(), generation, example_queries(live))
            self._made.put(key, made)
        return made.queries


@router.get(
    "/search/examples",
    operation_id="get_example_queries",
    tags=["search"],
    summary="Example queries",
    responses=QUEUED,
)
@queued
def examples(request: Request, live: Live) -> ExampleQueriesResponse:
    """Return queries that the index answers well, made of the documents that the caller may see."""
    tenant = tenant_of(request.scope["caller"].key)
    return ExampleQueriesResponse(
        queries=request.app.state.examples.of(live, tenant),
        index=index_info(live.index),
        request_id=request.scope["request_id"],
    )
