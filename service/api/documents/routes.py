"""Document routes: one document with its whole text, documents put and deleted, and feedback on results."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from indexer.index.index import Index
from indexer.live.feedback import FeedbackLog
from indexer.live.metadata import column_types, fit_metadata
from indexer.live.prepare import NewDocument, Preparer
from indexer.live.write import LiveDocument
from service.api.dependencies import QUEUED, Live, index_info, row_of
from service.api.documents import schemas
from service.problems import RESPONSES, Problem, ProblemField
from service.serving.live_documents import LiveDocuments, write_problem
from service.serving.queue import RequestQueue, queued, queued_commit

DOCUMENTS_PER_TURN = 16
"""Documents whose vectors are made in one turn of the queue."""


async def may_write(request: Request) -> None:
    """Refuse where the service was not started to be written to."""
    if not request.app.state.settings.writable:
        raise Problem(403, "not-writable", "This service takes no writes; start it with --writable or DOWSE_WRITABLE=1")


async def live_documents(request: Request) -> LiveDocuments:
    """Return what writes."""
    documents: LiveDocuments = request.app.state.searcher.documents
    return documents


router = APIRouter(responses={status: RESPONSES[status] for status in (422, 500, 503)})
write_router = APIRouter(
    responses={**{status: RESPONSES[status] for status in (403, 422, 500, 503, 507)}, **QUEUED},
    dependencies=[Depends(may_write)],
)
Documents = Annotated[LiveDocuments, Depends(live_documents)]


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


@write_router.put("/documents", tags=["write"], summary="Put documents", response_model=schemas.WriteResponse)
async def put_documents(request: Request, live: Live, documents: Documents, body: schemas.PutDocuments) -> Response:
    """Add documents, or replace those with the same ids. They are on the disk and found when this answers.

    Where it is answered with 429 or 504, nothing was written: their vectors are made first, a turn of the queue at a
    time, and writing is the last turn, which is not given up once it has begun.
    """
    started = time.perf_counter()
    queue: RequestQueue = request.app.state.queue
    preparer = documents.preparer
    prepared: list[LiveDocument] = []
    await queue.run_steps(_prepare(live.index, preparer, body.documents, prepared), request.receive)

    def put() -> bytes:
        before, after = documents.write(preparer.recipe, prepared, [])
        replaced = sum(before.row_of(each.id) is not None for each in prepared)
        answer = _answer(request, after, started, put=len(prepared), replaced=replaced)
        return answer.model_dump_json(exclude_unset=True).encode()

    return Response(await queue.commit(put, request.receive), media_type="application/json")


@write_router.delete("/documents", tags=["write"], summary="Delete documents")
@queued_commit
def delete_documents(
    request: Request,
    documents: Documents,
    ids: Annotated[
        list[schemas.DocumentId],
        Query(alias="id", min_length=1, max_length=schemas.MAX_DOCUMENTS, description="id of a document"),
    ],
) -> schemas.WriteResponse:
    """Delete documents by id. Deleting one that is not there is no error: afterwards it is not there."""
    started = time.perf_counter()
    wanted = list(dict.fromkeys(ids))
    before, after = documents.write(documents.preparer.recipe, [], wanted)
    return _answer(request, after, started, deleted=sum(before.row_of(each) is not None for each in wanted))


@write_router.post("/feedback", tags=["write"], summary="Say what was a good answer", responses={404: RESPONSES[404]})
@queued_commit
def feedback(request: Request, live: Live, body: schemas.Feedback) -> schemas.FeedbackResponse:
    """Store that a document was opened for a query, or how well it answers: the trainer learns from it."""
    if live.index.row_of(body.document) is None:
        raise Problem(404, "not-found", f"The index holds no document {body.document!r}")
    log = FeedbackLog(request.app.state.settings.data)
    try:
        log.append(body.query, body.document, body.grade, live.index.generation)
    except OSError as error:
        raise write_problem(error, log.folder) from error
    return schemas.FeedbackResponse(stored=True, request_id=request.scope["request_id"])


def _prepare(
    index: Index, preparer: Preparer, documents: list[schemas.NewDocument], prepared: list[LiveDocument]
) -> Iterator[bytes | None]:
    """Check documents and add them to ``prepared`` with their vectors, some at a time; yield something at the end."""
    new = _checked(index, documents)
    for first in range(0, len(new), DOCUMENTS_PER_TURN):
        if first:
            yield None
        prepared += preparer.prepare(new[first : first + DOCUMENTS_PER_TURN])
    yield b"prepared"


def _checked(index: Index, documents: list[schemas.NewDocument]) -> list[NewDocument]:
    """Return documents with their metadata as the index's columns hold it.

    Raises:
        Problem: two have the same id, or the index cannot hold the metadata of one.
    """
    types = column_types(index.schema)
    fitted = [fit_metadata(each.metadata, types) for each in documents]
    errors = [
        ProblemField(field=f"body.documents.{place}.metadata.{name}", message=message)
        for place, each in enumerate(fitted)
        for name, message in each.errors.items()
    ]
    counted = Counter(each.id for each in documents)
    errors += [
        ProblemField(field=f"body.documents.{place}.id", message="another document of the request has this id")
        for place, each in enumerate(documents)
        if counted[each.id] > 1
    ]
    if errors:
        detail = "; ".join(f"{error.field}: {error.message}" for error in errors)
        raise Problem(422, "invalid-request", detail, errors)
    return [
        NewDocument(each.id, each.title, each.text, each.metadata, metadata)
        for each, metadata in zip(documents, fitted, strict=True)
    ]


def _answer(
    request: Request, index: Index, started: float, *, put: int = 0, replaced: int = 0, deleted: int = 0
) -> schemas.WriteResponse:
    return schemas.WriteResponse(
        put=put,
        replaced=replaced,
        deleted=deleted,
        took_ms=round((time.perf_counter() - started) * 1e3, 3),
        index=index_info(index),
        request_id=request.scope["request_id"],
    )
