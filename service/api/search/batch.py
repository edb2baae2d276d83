"""`POST /search/batch`: many searches at once, their queries encoded and their neighbours found together."""

from __future__ import annotations

import time
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from indexer.inference.encoder import Vectors
from indexer.retrieval.retriever import Neighbours, Retriever
from service.api.dependencies import QUEUED, Live
from service.api.schemas import RequestId
from service.api.search import schemas
from service.api.search.answer import answer_search
from service.problems import RESPONSES
from service.serving.queue import queued

MAX_SEARCHES = 32

router = APIRouter(responses={status: RESPONSES[status] for status in (422, 500, 503)})


class BatchRequest(BaseModel):
    """Body of `POST /search/batch`."""

    model_config = ConfigDict(extra="forbid")

    searches: Annotated[list[schemas.SearchRequest], Field(min_length=1, max_length=MAX_SEARCHES)] = Field(
        description="each as the body of `POST /search`"
    )


class BatchResponse(BaseModel):
    """Answer of `/search/batch`."""

    responses: list[schemas.SearchResponse] = Field(description="one for each search, in their order, from one index")
    took_ms: float = Field(description="milliseconds for all of them; encoding counts here and in no single response")
    request_id: RequestId


@router.post(
    "/search/batch",
    tags=["search"],
    summary="Many searches at once",
    responses={400: RESPONSES[400], **QUEUED},
)
@queued
def post_batch(request: Request, live: Live, body: BatchRequest) -> BatchResponse:
    """Rank the documents of the index for several queries, which costs less than one request for each."""
    started = time.perf_counter()
    vectors = _vectors(live, body.searches)
    neighbours = _neighbours(live, body.searches, vectors)
    responses = [
        answer_search(
            request, live, asked, f"body.searches.{place}", vector=vectors.get(place), neighbours=neighbours.get(place)
        )
        for place, asked in enumerate(body.searches)
    ]
    took = round((time.perf_counter() - started) * 1e3, 3)
    return BatchResponse(responses=responses, took_ms=took, request_id=request.scope["request_id"])


def _vectors(live: Retriever, searches: list[schemas.SearchRequest]) -> dict[int, Vectors]:
    """Encode the queries of all searches that have a dense leg; keys are their places in the batch."""
    places = [place for place, asked in enumerate(searches) if asked.mode != "lexical"]
    vectors = live.index.encoder.encode_queries([searches[place].query for place in places])
    return dict(zip(places, vectors, strict=True))


def _neighbours(
    live: Retriever, searches: list[schemas.SearchRequest], vectors: dict[int, Vectors]
) -> dict[int, Neighbours]:
    """Find the neighbours of all vectors in one pass over the index.

    A search that may not see all documents looks for its own: for a filter, or because some were deleted or replaced.
    """
    places = [place for place in vectors if searches[place].filter is None]
    if not places or live.index.visible is not None:
        return {}
    return dict(zip(places, live.nearest(np.stack([vectors[place] for place in places])), strict=True))
