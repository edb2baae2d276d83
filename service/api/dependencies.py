"""FastAPI dependencies of the routes: the live index as the caller may see it, and its description in every response."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Request

from indexer.cache import owner
from indexer.index.served import ServedIndex
from indexer.retrieval.retriever import Retriever
from service.api.problem_responses import RESPONSES
from service.api.schemas import IndexInfo
from service.problems import Problem
from service.serving import tenants
from service.serving.searcher import Serving

QUEUED: dict[int | str, dict[str, Any]] = {status: RESPONSES[status] for status in (429, 504)}
"""OpenAPI's description of the errors of a route that runs in the request queue."""


def serving(request: Request) -> Serving:
    """Return the live index with its model. A route takes it once per request: its answer then comes from one index.

    From here on the request finds in caches only what its own key has put there.
    """
    live: Serving = request.app.state.searcher.live
    key = request.scope["caller"].key
    owner.set(key.id if key else "")
    return tenants.restrict_to_key(key, live)


async def live_retriever(request: Request) -> Retriever:
    """Return the retriever of the live index; a coroutine, because FastAPI calls plain functions in a thread."""
    return serving(request).retriever


Live = Annotated[Retriever, Depends(live_retriever)]


def index_info(index: ServedIndex) -> IndexInfo:
    """Return the description of the index in every response that comes from it."""
    manifest = index.manifest
    return IndexInfo(id=manifest.id, generation=index.generation, model=manifest.parents["model"], documents=len(index))


def row_of(live: Retriever, document_id: str) -> int:
    """Return the row of a document.

    Raises:
        Problem: 404, the index has no such document.
    """
    row = live.index.row_of(document_id)
    if row is None:
        raise Problem(404, "not-found", f"The index holds no document {document_id!r}")
    return row
