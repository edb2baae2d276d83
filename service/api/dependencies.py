"""What routes depend on: the live index as the caller sees it, and what every answer says of it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Request

from indexer.index.index import Index
from indexer.retrieval.retriever import Retriever
from service.api.schemas import IndexInfo
from service.problems import RESPONSES, Problem
from service.serving import tenants
from service.serving.searcher import Serving

QUEUED: dict[int | str, dict[str, Any]] = {status: RESPONSES[status] for status in (429, 504)}


def serving(request: Request) -> Serving:
    """Return the live index with its model: taken once per request, so that its answer comes from one index."""
    live: Serving = request.app.state.searcher.live
    return tenants.restrict_to_key(request.scope["caller"].key, live)


async def live_retriever(request: Request) -> Retriever:
    """Return the retriever of the live index; a coroutine, for FastAPI calls a plain function in a thread."""
    return serving(request).retriever


Live = Annotated[Retriever, Depends(live_retriever)]


def index_info(index: Index) -> IndexInfo:
    """Return what every answer says of the index that gave it."""
    manifest = index.manifest
    return IndexInfo(id=manifest.id, generation=index.generation, model=manifest.parents["model"], documents=len(index))


def row_of(live: Retriever, document_id: str) -> int:
    """Return the row of a document; raise the problem that there is none."""
    row = live.index.row_of(document_id)
    if row is None:
        raise Problem(404, "not-found", f"The index holds no document {document_id!r}")
    return row
