"""`GET /status.json`: what is live, what was before, writes, disk, queue and query log; `/status` shows it as a page."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, Response

from indexer import __version__
from indexer.artifacts.store import Store
from indexer.errors import UserError
from indexer.live.log import FOLDER
from indexer.live.overlay import LiveIndex
from service.api.operations import inventory
from service.api.operations import status_schemas as schemas
from service.api.operations.routes import REPORT_HEADERS, report_response
from service.api.problem_responses import RESPONSES
from service.negotiation import PAGE, PAGE_HEADERS
from service.problems import Problem
from service.serving.model import REPORT_PAGE, LiveModel
from service.serving.queries.recorder import QueryRecorder
from service.serving.queue import RequestQueue
from service.serving.searcher import Serving
from service.settings import ServiceSettings

router = APIRouter(tags=["operate"], responses={status: RESPONSES[status] for status in (422, 500, 503)})


@router.head("/status", include_in_schema=False)
@router.get("/status", include_in_schema=False)
async def page() -> FileResponse:
    """Return the status page, which asks for what it shows with the reader's key."""
    return FileResponse(PAGE / "status.html", media_type="text/html", headers=PAGE_HEADERS)


@router.get("/status.json", operation_id="get_status", summary="State of the service and its data directory")
def status(request: Request) -> schemas.Status:
    """Return what is live, all artifacts with verdict and report, live writes, disk, queue and query log."""
    state = request.app.state
    settings: ServiceSettings = state.settings
    live: Serving | None = state.searcher.current
    index = live.retriever.index if live else None
    followed = (state.reranker.opened, state.classifier.opened, state.masked.opened)
    serving = frozenset(opened.manifest.id for opened in followed if opened)
    if index is not None:  # an index without documents is false
        serving |= {index.manifest.id, *index.manifest.parents.values()}
    milvus = settings.store == "milvus"
    return schemas.Status(
        version=__version__,
        started=state.started,
        data=str(settings.data.resolve()),
        store=settings.store,
        index=None if index is None else index.manifest.id,
        generation=None if index is None else index.generation,
        model=None if index is None else index.manifest.parents["model"],
        documents=None if index is None else len(index),
        reason=None if live else _reason(request),
        artifacts=inventory.artifacts(settings.data, serving, " --store milvus" if milvus else ""),
        writes=_writes(settings, live),
        disk=inventory.disk(settings.data),
        queue=_queue(state.queue, state.searcher.cores, settings.workers),
        queries=_queries(state.queries),
    )


@router.head("/report/{model}", include_in_schema=False)
@router.get("/report/{model}", include_in_schema=False)
def report(request: Request, model: str) -> Response:
    """Return the report of any model of the data directory, also of one that did not go live."""
    try:
        path = LiveModel(Store("model", request.app.state.settings.data).path(model)).file(REPORT_PAGE)
    except UserError:
        path = None
    if path is None:
        raise Problem(404, "not-found", f"There is no report of a model {model!r}; /status lists those that there are")
    return report_response(request, FileResponse(path, media_type="text/html", headers=REPORT_HEADERS))


def _reason(request: Request) -> str | None:
    try:
        request.app.state.searcher.live  # noqa: B018 - it raises the reason
    except Problem as problem:
        return problem.detail
    return None


def _writes(settings: ServiceSettings, live: Serving | None) -> schemas.LiveWrites:
    index = live.retriever.index if live else None
    overlay = index.overlay if isinstance(index, LiveIndex) else None
    files = [path.stat() for path in _existing(settings.data / FOLDER, "*-*.log")]
    last = max((file.st_mtime for file in files if file.st_size), default=None)
    return schemas.LiveWrites(
        accepted=settings.writable,
        documents=len(overlay.rows) if overlay else 0,
        changed=len(overlay.written) if overlay else 0,
        set_aside=len(overlay.set_aside) if overlay else 0,
        since=None if index is None else index.manifest.created,
        last=last and datetime.fromtimestamp(last, UTC).isoformat(timespec="seconds"),
        log_bytes=sum(file.st_size for file in files),
    )


def _existing(folder: Path, pattern: str) -> list[Path]:
    return [path for path in folder.glob(pattern) if path.is_file()]


def _queue(queue: RequestQueue, cores: int, workers: int) -> schemas.Queue:
    return schemas.Queue(open=queue.open, capacity=queue.capacity, cores=cores, workers=workers)


def _queries(recorder: QueryRecorder | None) -> schemas.QueryLogState:
    if recorder is None:
        return schemas.QueryLogState(kept=False, problem=None, dropped=0, bytes=0)
    return schemas.QueryLogState(
        kept=True, problem=recorder.problem, dropped=recorder.dropped, bytes=recorder.size_bytes()
    )
