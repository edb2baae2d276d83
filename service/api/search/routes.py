"""The routes: each takes a request, asks the retriever, and hands back a model.

What has to work for its answer is `queued`: it never runs on the event loop, and no more of it at once than there are
cores.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import FileResponse, HTMLResponse

from indexer import __version__
from indexer.index.index import Index
from indexer.inference.encoder import Vectors
from indexer.retrieval.ranking import Hit, Leg, Ranking
from indexer.retrieval.retriever import Mode, Neighbours, Retriever
from indexer.retrieval.spelling import suggestion
from service.api import schemas
from service.api.search import filtering
from service.api.search.arrange import arrange, check_columns
from service.api.search.highlight import highlights
from service.api.search.rerank import Reranking
from service.api.search.schemas import Paged
from service.observability.metrics import observe_stages
from service.problems import RESPONSES, Problem
from service.serving import tenants
from service.serving.batching import WaitingQuery
from service.serving.model import REPORT_JSON, REPORT_PAGE
from service.serving.queue import queued, queued_query
from service.serving.searcher import Serving

STAGES = ("encode", "dense", "lexical", "fuse", "fetch")
"""The stages that every answer states, also one that took no time."""
PAGE = Path(__file__).parents[2] / "page"
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "Cache-Control": "no-cache",
}
REPORT_HEADERS = {
    # It has one inline style sheet, whose hash its own policy names; a script it has none, wherever it comes from.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cache-Control": "no-cache",
}
TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
ASSETS = {path.name: TYPES[path.suffix] for path in PAGE.iterdir() if path.suffix in TYPES}

router = APIRouter(responses={status: RESPONSES[status] for status in (422, 500, 503)})
QUEUED: dict[int | str, dict[str, Any]] = {status: RESPONSES[status] for status in (429, 504)}


def serving(request: Request) -> Serving:
    """Return the live index with its model: taken once per request, so that its answer comes from one index."""
    live: Serving = request.app.state.searcher.live
    return tenants.seen_by(request.scope["caller"].key, live)


async def live_retriever(request: Request) -> Retriever:
    """Return the retriever of the live index; a coroutine, for FastAPI calls a plain function in a thread."""
    return serving(request).retriever


Live = Annotated[Retriever, Depends(live_retriever)]


def _to_encode(request: Request, live: Retriever, body: schemas.SearchRequest) -> WaitingQuery | None:  # noqa: ARG001
    return None if body.mode == "lexical" else WaitingQuery(live.index.encoder, body.query)


def _to_encode_of(request: Request, live: Retriever, query: schemas.SearchQuery) -> WaitingQuery | None:  # noqa: ARG001
    return None if query.mode == "lexical" else WaitingQuery(live.index.encoder, query.q)


@router.post("/search", tags=["search"], summary="Search", responses={400: RESPONSES[400], **QUEUED})
@queued_query(_to_encode)
def post_search(request: Request, live: Live, body: schemas.SearchRequest) -> schemas.SearchResponse:
    """Rank the documents of the index for a query."""
    return answer_search(request, live, body, "body", encoded=request.scope["query"])


@router.get("/search", tags=["search"], summary="Search, with a query string", responses=QUEUED)
@queued_query(_to_encode_of)
def get_search(request: Request, live: Live, query: Annotated[schemas.SearchQuery, Query()]) -> schemas.SearchResponse:
    """Rank the documents of the index for a query: the same as `POST /search`, for links and for a browser."""
    return answer_search(request, live, query.request(), "query", encoded=request.scope["query"])


@router.get(
    "/documents/{document_id:path}",
    tags=["documents"],
    summary="One document",
    responses={404: RESPONSES[404], **QUEUED},
)
@queued
def document(request: Request, live: Live, document_id: str) -> schemas.DocumentResponse:
    """Return one document with its whole text."""
    found = live.index.document(row_of(live, document_id))
    return schemas.DocumentResponse(
        id=found.id,
        title=found.title,
        text=found.text,
        metadata=found.metadata,
        index=index_info(live.index),
        request_id=request.scope["request_id"],
    )


@router.get("/info", tags=["operate"], summary="What is served")
def info(request: Request) -> schemas.Info:
    """Return version, index and model, how the index was built, and by how much the model beat its base."""
    try:
        live = serving(request)
    except Problem:
        return schemas.Info(name="Dowse", version=__version__, index=None, model=None)
    index = live.retriever.index
    manifest = index.manifest
    details = schemas.IndexDetails(
        **index_info(index).model_dump(),
        passages=manifest.counts["passages"],
        created=manifest.created,
        config=manifest.config,
        encoder=manifest.contract.model_dump(),
        metadata=index.metadata_types,
    )
    return schemas.Info(name="Dowse", version=__version__, index=details, model=live.model.facts())


@router.head("/report", include_in_schema=False)
@router.get(
    "/report",
    tags=["operate"],
    summary="Report of the live model, as a page",
    response_class=HTMLResponse,
    responses={404: RESPONSES[404]},
)
def report_page(request: Request) -> FileResponse:
    """Return the evaluation of the model that answers against its base: figures, plots, gained and lost queries."""
    return _report(request, REPORT_PAGE, "text/html", REPORT_HEADERS)


@router.head("/report.json", include_in_schema=False)
@router.get(
    "/report.json", tags=["operate"], summary="Report of the live model, as JSON", responses={404: RESPONSES[404]}
)
def report_json(request: Request) -> FileResponse:
    """Return what the report's page shows, for programs."""
    return _report(request, REPORT_JSON, "application/json", {"Cache-Control": "no-cache"})


@router.head("/livez", include_in_schema=False)
@router.head("/healthz", include_in_schema=False)
@router.get("/livez", tags=["operate"], summary="Is the process alive?")
@router.get("/healthz", tags=["operate"], summary="The same, under its older name")
async def livez() -> schemas.Health:
    """Answer as long as the process does."""
    return schemas.Health(status="alive")


@router.head("/readyz", include_in_schema=False)
@router.get("/readyz", tags=["operate"], summary="Can it answer queries?")
async def readyz(request: Request, live: Live) -> schemas.Health:
    """Answer 200 once an index is open; until then, and once the service is told to end, 503 with the reason."""
    if request.app.state.draining.is_set():
        raise Problem(503, "draining", "The service has been told to end; ask another one")
    return schemas.Health(status=f"ready: {live.index.manifest.id}")


@router.head("/", include_in_schema=False)
@router.get("/", include_in_schema=False)
async def page() -> FileResponse:
    """Return the HTML page."""
    return FileResponse(PAGE / "index.html", media_type="text/html", headers=PAGE_HEADERS)


@router.get("/page/{name}", include_in_schema=False)
async def asset(name: str) -> FileResponse:
    """Return a file of the page."""
    if name not in ASSETS:
        raise Problem(404, "not-found", f"The page has no file {name!r}")
    return FileResponse(PAGE / name, media_type=ASSETS[name], headers=PAGE_HEADERS)


def answer_search(
    request: Request,
    live: Retriever,
    asked: schemas.SearchRequest,
    where: str,
    *,
    vector: Vectors | None = None,
    neighbours: Neighbours | None = None,
    encoded: WaitingQuery | None = None,
) -> schemas.SearchResponse:
    """Answer one search.

    Args:
        request: for its id.
        live: what answers.
        asked: the search.
        where: the part of the request that it stands in, for errors: ``body``, ``query``.
        vector: the query's, where it was encoded already.
        neighbours: of ``vector``, where they were found already.
        encoded: the query, where it may have been encoded with others while it waited.
    """
    started = time.perf_counter()
    if encoded and encoded.vector is not None:
        vector = encoded.vector
    check_columns(live.index, asked, where)
    own = live.fusion
    fusion = own.model_copy(update=asked.fusion.model_dump(exclude_unset=True)) if asked.fusion else own
    allowed = filtering.allowed(asked.filter, live.index, where)
    counted = filtering.counts(asked, live.index, allowed, where)
    ranking = live.search(asked.query, asked.mode, fusion, vector=vector, neighbours=neighbours, allowed=allowed)
    if encoded and vector is not None:
        ranking.timings["encode"] = encoded.milliseconds
    reranking = Reranking(request.app.state.reranker, live, ranking, asked.rerank) if asked.rerank else None
    results = arranged(request, live, ranking, asked, asked.mode, explain=asked.explain, reranking=reranking)
    found = page_of(request, live, ranking, results, started)
    if reranking:
        found["rerank"] = reranking.said
    if asked.mode != "dense" and (ranking.lexical is None or not ranking.lexical.any()):
        found["suggestion"] = suggestion(asked.query, live.index.lexical, live.index.visible)
    return schemas.SearchResponse(query=asked.query, offset=asked.offset, **found, **counted)


def arranged(
    request: Request,
    live: Retriever,
    ranking: Ranking,
    asked: Paged,
    mode: Mode,
    *,
    explain: bool = False,
    reranking: Reranking | None = None,
) -> list[schemas.Result]:
    """Return the results of the page that is asked for, with what is asked for about each."""
    page = arrange(live.index, ranking, asked, mode=mode, offset=asked.offset, count=asked.top_k, rerank=reranking)
    hits = live.hits(ranking, page.places, asked.offset + 1, explain=explain)
    results = [result_of(hit, explain=explain, fields=asked.fields) for hit in hits]
    if reranking and explain:
        for result, place in zip(results, page.places, strict=True):
            if result.scores and place in reranking.scores:
                result.scores.rerank = round(reranking.scores[place], 6)
    if asked.group_by is not None:
        for result, place in zip(results, page.places, strict=True):
            result.group = page.groups[place]
    if asked.highlight:
        marked = highlights(live.index, ranking, hits, request.app.state.sentences)
        for result, spans in zip(results, marked, strict=True):
            result.highlights = spans
    return results


def page_of(
    request: Request, live: Retriever, ranking: Ranking, results: list[schemas.Result], started: float
) -> dict[str, Any]:
    """Return what every list of results comes with; ``started`` is when the request was taken up."""
    observe_stages(ranking.timings)
    return {
        "results": results,
        "count": len(results),
        "took_ms": round((time.perf_counter() - started) * 1e3, 3),
        "timings": schemas.Timings(
            **dict.fromkeys(STAGES, 0.0) | {stage: round(spent, 3) for stage, spent in ranking.timings.items()}
        ),
        "index": index_info(live.index),
        "request_id": request.scope["request_id"],
    }


def result_of(hit: Hit, *, explain: bool = False, fields: list[str] | None = None) -> schemas.Result:
    """Return a hit as the API says it, with the metadata columns ``fields`` or all."""
    metadata = hit.document.metadata
    said = {
        "id": hit.document.id,
        "rank": hit.rank,
        "score": round(hit.score, 6),
        "title": hit.document.title,
        "text": hit.passage,
        "metadata": metadata if fields is None else {name: metadata.get(name) for name in fields},
    }
    if explain:
        said["scores"] = schemas.Scores(
            dense=hit.dense and leg_of(hit.dense), lexical=hit.lexical and leg_of(hit.lexical)
        )
    return schemas.Result(**said)


def leg_of(leg: Leg) -> schemas.LegScore:
    """Return what a leg says as the API says it."""
    said = {"score": round(leg.score, 6), "rank": leg.rank}
    return schemas.LegScore(**said if leg.part is None else said | {"part": round(leg.part, 6)})


def index_info(index: Index) -> schemas.IndexInfo:
    """Return what every answer says of the index that gave it."""
    manifest = index.manifest
    return schemas.IndexInfo(
        id=manifest.id, generation=index.generation, model=manifest.parents["model"], documents=len(index)
    )


def _report(request: Request, name: str, media_type: str, headers: dict[str, str]) -> FileResponse:
    model = serving(request).model
    path = model.file(name)
    if path is None:
        raise Problem(
            404, "not-found", f"The live model {model.manifest.id} has no report; `python -m trainer run` tunes one"
        )
    return FileResponse(path, media_type=media_type, headers=headers)


def row_of(live: Retriever, document_id: str) -> int:
    """Return the row of a document; raise the problem that there is none."""
    row = live.index.row_of(document_id)
    if row is None:
        raise Problem(404, "not-found", f"The index holds no document {document_id!r}")
    return row
