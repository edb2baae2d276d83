"""`POST /search/batch`: several searches in one request, with their queries encoded and their neighbours found together."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from indexer.index.served import Neighbours
from indexer.inference.encoder import Vectors
from indexer.retrieval.retriever import Retriever
from service.api.dependencies import QUEUED, Live
from service.api.problem_responses import RESPONSES
from service.api.schemas import RequestId
from service.api.search import schemas
from service.api.search.answering.answer import answer_search
from service.api.search.rerank import TimeLeft
from service.serving.queue import RequestQueue

MAX_SEARCHES = 32
RERANK_SHARE = 0.5
"""Share of the deadline that all re-rankings of a batch may take together; later searches keep their first order."""

router = APIRouter(responses={status: RESPONSES[status] for status in (422, 500, 501, 503)})


class BatchRequest(BaseModel):
    """Body of `POST /search/batch`."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"searches": [{"query": "run a command"}, {"query": "copy a file", "mode": "lexical"}]}]
        },
    )

    searches: Annotated[list[schemas.SearchRequest], Field(min_length=1, max_length=MAX_SEARCHES)] = Field(
        description="the searches, each like the body of `POST /search`"
    )


class BatchResponse(BaseModel):
    """Answer of `/search/batch`."""

    responses: list[schemas.SearchResponse] = Field(description="one for each search, in their order, from one index")
    took_ms: float = Field(description="milliseconds for all searches; encoding counts here and in no single response")
    request_id: RequestId


@router.post(
    "/search/batch",
    operation_id="search_batch",
    tags=["search"],
    summary="Several searches in one request",
    responses={400: RESPONSES[400], **QUEUED},
    response_model=BatchResponse,
)
async def post_batch(request: Request, live: Live, body: BatchRequest) -> Response:
    """Rank the documents of the index for several queries; this costs less than a request for each."""
    queue: RequestQueue = request.app.state.queue
    return Response(await queue.run_steps(_steps(request, live, body), request.receive), media_type="application/json")


def _steps(request: Request, live: Retriever, body: BatchRequest) -> Iterator[bytes | None]:
    """Answer the searches; yield None after each that was re-ranked but the last search, then the answer as JSON.

    Each step is a turn of the queue. Thirty-two searches take milliseconds in one turn; as many re-rankings would keep
    a thread for seconds, while others wait.
    """
    started = time.perf_counter()
    vectors = _vectors(live, body.searches)
    neighbours = _neighbours(live, body.searches, vectors)
    left = TimeLeft(RERANK_SHARE * request.app.state.settings.deadline_seconds)
    responses: list[schemas.SearchResponse] = []
    for number, search in enumerate(body.searches):
        if responses and responses[-1].rerank and responses[-1].rerank.scored:
            yield None
        response = answer_search(
            request,
            live,
            search,
            f"body.searches.{number}",
            vector=vectors.get(number),
            neighbours=neighbours.get(number),
            left=left,
        )
        responses.append(response)
    took = round((time.perf_counter() - started) * 1e3, 3)
    batch = BatchResponse(responses=responses, took_ms=took, request_id=request.scope["request_id"])
    yield batch.model_dump_json(exclude_unset=True).encode()


def _vectors(live: Retriever, searches: list[schemas.SearchRequest]) -> dict[int, Vectors]:
    """Encode the queries of all searches that have a dense leg; keys are the numbers of the searches in the batch."""
    numbers = [number for number, search in enumerate(searches) if search.query and search.mode != "lexical"]
    vectors = live.index.encoder.encode_queries([searches[number].query for number in numbers])
    return dict(zip(numbers, vectors, strict=True))


def _neighbours(
    live: Retriever, searches: list[schemas.SearchRequest], vectors: dict[int, Vectors]
) -> dict[int, Neighbours]:
    """Find the neighbours of all vectors in one pass over the index.

    Searches that may not see all documents are left out and find their own neighbours: because of a filter, or because
    documents were deleted or replaced.
    """
    numbers = [number for number in vectors if searches[number].filter is None]
    if not numbers or live.index.visible is not None:
        return {}
    found: dict[int, Neighbours] = {}
    for mode in ("hybrid", "dense"):  # their vectors may differ
        of_mode = [number for number in numbers if searches[number].mode == mode]
        if of_mode:
            stacked = np.stack([vectors[number] for number in of_mode])
            found |= zip(of_mode, live.nearest(stacked, mode=mode), strict=True)
    return found
