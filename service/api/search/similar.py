"""Similarity routes: documents similar to one of the index, or to examples.

An id may hold slashes, and `/documents/a/similar` asks for the neighbours of `a`. A document whose own id is `a/similar`
is reached as `/documents/a%2Fsimilar`: only the raw path shows whether a slash was encoded.
"""

from __future__ import annotations

import time
from typing import Annotated, Any, Self

import numpy as np
from fastapi import APIRouter, Request
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.routing import Match
from starlette.types import Scope

from indexer.filters.filter import Filter
from indexer.filters.sort import Sort
from indexer.inference.encoder import Vectors
from indexer.retrieval.diversity import centroids
from indexer.retrieval.retriever import Retriever
from indexer.retrieval.rocchio import rocchio
from service.api.dependencies import QUEUED, Live, row_of
from service.api.problem_responses import RESPONSES
from service.api.schemas import AnsweredBy, DocumentId, Query, RequestId, Took
from service.api.search import filtering, schemas
from service.api.search.answering.results import build_results, common_fields, result_of
from service.api.search.arrange import check_columns
from service.api.search.combine import check_sorted
from service.api.search.schemas import Paged, TopK
from service.problems import invalid
from service.serving.queue import queued

MAX_EXAMPLES = 32
ERRORS: dict[int | str, dict[str, Any]] = {status: RESPONSES[status] for status in (422, 500, 501, 503)}

Ids = Annotated[list[DocumentId], Field(max_length=MAX_EXAMPLES)]


class SimilarRequest(Paged):
    """Body of `POST /similar`."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"text": "run a command", "negative_text": "in another thread", "top_k": 5}]}
    )

    text: Query | None = Field(default=None, description="what to look for, in plain words")
    ids: Ids = Field(default=[], description="ids of documents to resemble; they are not among the results")
    negative_text: Query | None = Field(default=None, description="what not to look for, in plain words")
    negative_ids: Ids = Field(
        default=[], description="ids of documents not to resemble; they are not among the results either"
    )
    filter: Filter | None = Field(default=None, description="which documents may be returned")
    sort: Sort = Field(
        default=[], description="the order of the candidates, in place of their scores; see `POST /search`"
    )

    @model_validator(mode="after")
    def _check_positive_example(self) -> Self:
        if self.text is None and not self.ids:
            raise ValueError("give a text, ids, or both; negative examples alone are not enough")
        return self


class ExamplesResponse(BaseModel):
    """Answer of `POST /similar`; scores are cosines to the vector of the examples."""

    results: schemas.Results
    count: schemas.Count
    offset: int = Field(description="number of results that were skipped")
    took_ms: Took
    timings: schemas.Stages
    index: AnsweredBy
    request_id: RequestId


class _LiteralSlash(APIRoute):
    """A route that matches only if the last slash of the raw path is literal, not encoded as a part of an id."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        return super().matches(scope) if scope["raw_path"].endswith(b"/similar") else (Match.NONE, {})


router = APIRouter(responses=ERRORS)
document_router = APIRouter(route_class=_LiteralSlash, responses=ERRORS)
"""To be included before the route of one document, which matches every path below `/documents/`."""


@document_router.get(
    "/documents/{document_id:path}/similar",
    operation_id="get_similar_documents",
    tags=["documents"],
    summary="Similar documents",
    responses={404: RESPONSES[404], **QUEUED},
)
@queued
def similar(request: Request, live: Live, document_id: str, top_k: TopK = 10) -> schemas.SimilarResponse:
    """Return the documents nearest to a document by cosine; the document itself is left out."""
    started = time.perf_counter()
    ranking = live.similar(row_of(live, document_id), top_k)
    results = [result_of(hit) for hit in live.page(ranking, 0, top_k)]
    return schemas.SimilarResponse(id=document_id, **common_fields(request, live, ranking, results, started))


@router.post(
    "/similar",
    operation_id="find_similar",
    tags=["search"],
    summary="Documents similar to examples",
    responses={400: RESPONSES[400], **QUEUED},
)
@queued
def post_similar(request: Request, live: Live, body: SimilarRequest) -> ExamplesResponse:
    """Rank documents by similarity to examples: a text and positive documents, minus negative ones.

    The vectors are combined by Rocchio's formula, with the weights 1 (text), 0.75 (positive) and -0.5 (negative). The
    vector of a document is the mean of its passages' vectors.
    """
    started = time.perf_counter()
    check_columns(live.index, body, "body")
    check_sorted(body.sort, body, live.index, "body")
    mask = filtering.document_mask(body.filter, live.index)
    positive, negative = _rows(live, body.ids, "ids"), _rows(live, body.negative_ids, "negative_ids")
    examples = np.array(sorted({*positive, *negative}), dtype=np.int64)
    vector = _query_vector(live, body, positive, negative)
    # The examples are left out of the ranking: with as many more candidates, its depth is the usual one.
    depth = live.index.candidates + len(examples)
    ranking = live.search(body.text or "", "dense", candidates=depth, vector=vector, allowed=mask, exact=False)
    ranking = ranking.take(np.flatnonzero(~np.isin(ranking.rows, examples)))
    results = build_results(request, live, ranking, body, "dense", sort=body.sort)
    return ExamplesResponse(offset=body.offset, **common_fields(request, live, ranking, results, started))


def _rows(live: Retriever, ids: list[str], field: str) -> list[int]:
    rows = [live.index.row_of(document_id) for document_id in ids]
    for number, row in enumerate(rows):
        if row is None:
            raise invalid(f"body.{field}.{number}", f"the index holds no document {ids[number]!r}")
    return [row for row in rows if row is not None]


def _query_vector(live: Retriever, body: SimilarRequest, positive: list[int], negative: list[int]) -> Vectors:
    """Return the Rocchio query vector of the examples, shape (dimension,)."""
    likes, dislikes = (centroids(live.index, np.array(rows, dtype=np.int64)) for rows in (positive, negative))
    encode = live.index.encoder.encode_query
    if body.negative_text is not None:
        dislikes = np.vstack([dislikes, encode(body.negative_text)])
    return rocchio(None if body.text is None else encode(body.text), likes, dislikes)
