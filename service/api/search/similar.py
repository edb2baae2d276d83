"""Similarity routes: documents like one of the index, or like examples.

An id may hold slashes, and `/documents/a/similar` asks for the neighbours of `a`. A document whose own id is `a/similar`
is reached as `/documents/a%2Fsimilar`: whether a slash was encoded shows in the raw path alone.
"""

from __future__ import annotations

import time
from typing import Annotated, Any, Self

import numpy as np
from fastapi import APIRouter, Request
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field, model_validator
from starlette.routing import Match
from starlette.types import Scope

from indexer.filters.filter import Filter
from indexer.inference.encoder import Vectors
from indexer.retrieval.diversity import centroids
from indexer.retrieval.retriever import Retriever
from indexer.retrieval.rocchio import rocchio
from service.api.dependencies import QUEUED, Live, row_of
from service.api.schemas import AnsweredBy, Query, RequestId, Took
from service.api.search import filtering, schemas
from service.api.search.answer import arranged, page_of, result_of
from service.api.search.arrange import check_columns
from service.api.search.schemas import Paged, TopK
from service.problems import RESPONSES, invalid
from service.serving.queue import queued

MAX_EXAMPLES = 32
ERRORS: dict[int | str, dict[str, Any]] = {status: RESPONSES[status] for status in (422, 500, 503)}

Ids = Annotated[list[Annotated[str, Field(min_length=1, max_length=2_000)]], Field(max_length=MAX_EXAMPLES)]


class SimilarRequest(Paged):
    """Body of `POST /similar`."""

    text: Query | None = Field(default=None, description="what is meant, in words")
    ids: Ids = Field(default=[], description="documents that are like it; they are not among the results")
    negative_text: Query | None = Field(default=None, description="what is not meant, in words")
    negative_ids: Ids = Field(default=[], description="documents that are not like it; nor are they among the results")
    filter: Filter | None = Field(default=None, description="which documents may be returned")

    @model_validator(mode="after")
    def _something_is_meant(self) -> Self:
        if self.text is None and not self.ids:
            raise ValueError("give a text, ids, or both; negatives alone do not say what is meant")
        return self


class ExamplesResponse(BaseModel):
    """Answer of `POST /similar`; scores are cosines to what is meant."""

    results: schemas.Results
    count: schemas.Count
    offset: int = Field(description="number of results that were skipped")
    took_ms: Took
    timings: schemas.Stages
    index: AnsweredBy
    request_id: RequestId


class _LiteralSlash(APIRoute):
    """A route whose last slash has to stand in the path as it is, not encoded as a part of an id."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        raw: bytes = scope.get("raw_path") or b"/similar"
        return super().matches(scope) if raw.endswith(b"/similar") else (Match.NONE, {})


router = APIRouter(responses=ERRORS)
of_document = APIRouter(route_class=_LiteralSlash, responses=ERRORS)
"""To be included before the route of a whole document, which takes any path below `/documents/`."""


@of_document.get(
    "/documents/{document_id:path}/similar",
    tags=["documents"],
    summary="Similar documents",
    responses={404: RESPONSES[404], **QUEUED},
)
@queued
def similar(request: Request, live: Live, document_id: str, top_k: TopK = 10) -> schemas.SimilarResponse:
    """Return the documents nearest to this one by cosine, the document itself left out."""
    started = time.perf_counter()
    ranking = live.similar(row_of(live, document_id), top_k)
    results = [result_of(hit) for hit in live.page(ranking, 0, top_k)]
    return schemas.SimilarResponse(id=document_id, **page_of(request, live, ranking, results, started))


@router.post(
    "/similar",
    tags=["search"],
    summary="Documents like examples",
    responses={400: RESPONSES[400], **QUEUED},
)
@queued
def post_similar(request: Request, live: Live, body: SimilarRequest) -> ExamplesResponse:
    """Rank documents by nearness to what is meant: the text, plus the documents like it, less those unlike it.

    The vectors are added as Rocchio has it, with the weights 1, 0.75 and -0.5; a document's is the mean of its passages.
    """
    started = time.perf_counter()
    check_columns(live.index, body, "body")
    allowed = filtering.allowed(body.filter, live.index)
    rows, negative = _rows(live, body.ids, "ids"), _rows(live, body.negative_ids, "negative_ids")
    examples = np.array(sorted({*rows, *negative}), dtype=np.int64)
    vector = _query_vector(live, body, rows, negative)
    # As many more candidates as there are examples: those are left out, and every page is cut from as many as ever.
    depth = live.index.candidates + len(examples)
    ranking = live.search(body.text or "", "dense", candidates=depth, vector=vector, allowed=allowed)
    ranking = ranking.take(np.flatnonzero(~np.isin(ranking.rows, examples)))
    results = arranged(request, live, ranking, body, "dense")
    return ExamplesResponse(offset=body.offset, **page_of(request, live, ranking, results, started))


def _rows(live: Retriever, ids: list[str], field: str) -> list[int]:
    rows = [live.index.row_of(each) for each in ids]
    for place, row in enumerate(rows):
        if row is None:
            raise invalid(f"body.{field}.{place}", f"the index holds no document {ids[place]!r}")
    return [row for row in rows if row is not None]


def _query_vector(live: Retriever, body: SimilarRequest, relevant: list[int], irrelevant: list[int]) -> Vectors:
    """Return the Rocchio query vector of the examples, shape (dimension,)."""
    likes, unlikes = (centroids(live.index, np.array(rows, dtype=np.int64)) for rows in (relevant, irrelevant))
    encode = live.index.encoder.encode_query
    if body.negative_text is not None:
        unlikes = np.vstack([unlikes, encode(body.negative_text)])
    return rocchio(None if body.text is None else encode(body.text), likes, unlikes)
