"""Routes for operators: health, info and the report of the live model."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, HTMLResponse, Response

from indexer import __version__
from indexer.retrieval.retriever import Retriever
from service.api.dependencies import Live, index_info, serving
from service.api.operations import schemas
from service.api.problem_responses import RESPONSES, documented
from service.api.search.rerank import rerank_options
from service.negotiation import VARY, accepts_page
from service.problems import Problem
from service.security.image_sources import parse_sources
from service.serving.model import REPORT_JSON, REPORT_PAGE, LiveModel
from service.settings import ServiceSettings

NO_REPORT = documented(Problem(404, "not-found", "The live model 20261120T101420Z-5a6b7c8d has no report"))

router = APIRouter(tags=["operate"], responses={status: RESPONSES[status] for status in (422, 500, 503)})

WHOLE_CORPUS = frozenset({"query", "limit", "folded", "folded_into", "set_aside", "dense_index"})
"""Settings of an index that say something of all documents and writes, which a key with a filter is not told."""
REPORT_HEADERS = {
    # The page has one inline style sheet, whose hash its own policy names. It has no script, and none may run.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cache-Control": "no-cache",
}


@router.get("/info", operation_id="get_info", summary="What is served")
def info(request: Request) -> schemas.Info:
    """Return version, index and model, how the index was built, and nDCG@10 of the model and of its base."""
    page = _page_facts(request)
    try:
        live = serving(request)
    except Problem:
        return schemas.Info(name="Dowse", version=__version__, index=None, model=None, page=page)
    index = live.retriever.index
    manifest = index.manifest
    key = request.scope["caller"].key
    hidden = WHOLE_CORPUS if key and key.filter else frozenset()
    details = schemas.IndexDetails(
        **index_info(index).model_dump(),
        passages=index.passages,
        created=manifest.created,
        config={name: value for name, value in manifest.config.items() if name not in hidden},
        encoder=manifest.contract.model_dump(),
        metadata=index.metadata_types,
    )
    return schemas.Info(
        name="Dowse",
        version=__version__,
        index=details,
        model=_model_facts(live.model),
        reranker=_reranker_facts(request, live.retriever),
        page=page,
    )


@router.head("/report", include_in_schema=False)
@router.get(
    "/report",
    operation_id="get_report_page",
    summary="Report of the live model, as a page",
    response_class=HTMLResponse,
    responses={404: NO_REPORT},
)
def report_page(request: Request) -> Response:
    """Return the evaluation of the live model against its base: figures, plots, gained and lost queries.

    A browser gets it with a link to the search page, a program as it was published.
    """
    return report_response(request, _report(request, REPORT_PAGE, "text/html", {**REPORT_HEADERS, "Vary": VARY}))


@router.head("/report.json", include_in_schema=False)
@router.get(
    "/report.json", operation_id="get_report", summary="Report of the live model, as JSON", responses={404: NO_REPORT}
)
def report_json(request: Request) -> FileResponse:
    """Return the figures of the report page, for programs."""
    return _report(request, REPORT_JSON, "application/json", {"Cache-Control": "no-cache"})


@router.head("/livez", include_in_schema=False)
@router.head("/healthz", include_in_schema=False)
@router.get("/livez", operation_id="get_livez", summary="Is the process alive?")
@router.get("/healthz", operation_id="get_healthz", summary="The same, under its older name")
async def livez() -> schemas.Health:
    """Answer 200 as long as the process runs."""
    return schemas.Health(status="alive")


@router.head("/readyz", include_in_schema=False)
@router.get("/readyz", operation_id="get_readyz", summary="Can it answer queries?")
async def readyz(request: Request, live: Live) -> schemas.Health:
    """Answer 200 once an index is open. Before that, and while the service shuts down, answer 503 with the reason."""
    if request.app.state.draining.is_set():
        raise Problem(503, "draining", "The service is shutting down; send the request to another one")
    return schemas.Health(status=f"ready: {live.index.manifest.id}")


def _report(request: Request, name: str, media_type: str, headers: dict[str, str]) -> FileResponse:
    model = serving(request).model
    path = model.file(name)
    if path is None:
        raise Problem(
            404, "not-found", f"The live model {model.manifest.id} has no report; `python -m trainer run` tunes one"
        )
    return FileResponse(path, media_type=media_type, headers=headers)


def report_response(request: Request, response: FileResponse) -> Response:
    """Return the answer with a report: for a browser with a link back, for a program as it was published."""
    if not accepts_page(request.scope):
        return response
    page = Path(response.path).read_text(encoding="utf-8")
    headers = {**REPORT_HEADERS, "Vary": VARY}
    if request.url.path.endswith("/report"):
        return HTMLResponse(_with_way_back(page, "./", "Search"), headers=headers)
    return HTMLResponse(_with_way_back(page, "../status", "Status"), headers=headers)


def _with_way_back(page: str, address: str, name: str) -> str:
    """Return a report with a link to another page at its head; reports on disk have none, for they stand alone."""
    head = "<header>" if "<header>" in page else "<body>"
    return page.replace(head, f'{head}\n<p class="soft"><a href="{address}">← {name}</a></p>', 1)


def _page_facts(request: Request) -> schemas.PageFacts:
    settings: ServiceSettings = request.app.state.settings
    return schemas.PageFacts(
        url_column=settings.url_column,
        image_column=settings.image_column,
        image_sources=parse_sources(settings.image_sources),
        clicks=settings.clicks,
    )


def _reranker_facts(request: Request, live: Retriever) -> schemas.RerankerFacts | None:
    """Return the facts of the live cross-encoder for `/info`."""
    state = request.app.state
    reranker = state.reranker.opened
    if reranker is None:
        return None
    config = reranker.manifest.config
    default = rerank_options(None, "hybrid", live, reranker, on_request=state.settings.rerank_on_request)
    return schemas.RerankerFacts(
        id=reranker.manifest.id, name=config["base"], verdict=config.get("verdict"), by_default=default is not None
    )


def _model_facts(model: LiveModel) -> schemas.ModelFacts:
    """Return the facts of a model for `/info`."""
    config = model.manifest.config
    return schemas.ModelFacts(
        id=model.manifest.id,
        name=model.name,
        tuned="tuned_from" in config,
        tuned_from=config.get("tuned_from"),
        verdict=config.get("verdict"),
        judged_by=config.get("judged_by"),
        dense=_gain(model, "dense"),
        hybrid=_gain(model, "hybrid"),
        report="report" if model.file(REPORT_PAGE) else None,
    )


def _gain(model: LiveModel, leg: str) -> schemas.Gain | None:
    metrics = model.manifest.metrics
    base, tuned = metrics.get(f"base_{leg}_ndcg10"), metrics.get(f"{leg}_ndcg10")
    return None if base is None or tuned is None else schemas.Gain(base=base, tuned=tuned)
