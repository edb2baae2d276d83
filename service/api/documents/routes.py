"""The routes that write: documents put and deleted, and what people thought of results."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from indexer.index.index import Index
from indexer.live.feedback import FeedbackLog
from indexer.live.metadata import column_types, fit_metadata
from indexer.live.prepare import NewDocument, Preparer
from indexer.live.write import LiveDocument
from service.api.documents import schemas
from service.api.schemas import ProblemField
from service.api.search.routes import QUEUED, Live, index_info
from service.problems import RESPONSES, Problem
from service.serving.live_documents import LiveDocuments, refused
from service.serving.queue import Admission
from service.serving.writing import queued_write, write

TOGETHER = 16
"""Documents whose vectors are made in one turn of the queue."""


async def may_write(request: Request) -> None:
    """Refuse where the service was not started to be written to."""
    if not request.app.state.settings.writable:
        raise Problem(403, "not-writable", "This service takes no writes; start it with --writable or DOWSE_WRITABLE=1")


async def live_documents(request: Request) -> LiveDocuments:
    """Return what writes."""
    documents: LiveDocuments = request.app.state.searcher.documents
    return documents


router = APIRouter(
    responses={**{status: RESPONSES[status] for status in (403, 422, 500, 503, 507)}, **QUEUED},
    dependencies=[Depends(may_write)],
)
Documents = Annotated[LiveDocuments, Depends(live_documents)]


@router.put("/documents", tags=["write"], summary="Put documents", response_model=schemas.WriteResponse)
async def put_documents(request: Request, live: Live, documents: Documents, body: schemas.PutDocuments) -> Response:
    """Add documents, or replace those with the same ids. They are on the disk and found when this answers.

    Where it is answered with 429 or 504, nothing was written: their vectors are made first, a turn of the queue at a
    time, and writing is the last turn, which is not given up once it has begun.
    """
    started = time.perf_counter()
    admission: Admission = request.app.state.admission
    preparer = documents.preparer
    prepared: list[LiveDocument] = []
    turns = _prepare(live.index, preparer, body.documents, prepared)
    while not await admission.run(partial(next, turns), request.receive):
        pass

    def put() -> bytes:
        before, after = documents.write(preparer.recipe, prepared, [])
        replaced = sum(before.row_of(each.id) is not None for each in prepared)
        answer = _answer(request, after, started, put=len(prepared), replaced=replaced)
        return answer.model_dump_json(exclude_unset=True).encode()

    return Response(await write(admission, put, request.receive), media_type="application/json")


@router.delete("/documents", tags=["write"], summary="Delete documents")
@queued_write
def delete_documents(
    request: Request,
    documents: Documents,
    ids: Annotated[
        list[schemas.DocumentId],
        Query(alias="id", min_length=1, max_length=schemas.MOST_DOCUMENTS, description="id of a document"),
    ],
) -> schemas.WriteResponse:
    """Delete documents by id. Deleting one that is not there is no error: afterwards it is not there."""
    started = time.perf_counter()
    wanted = list(dict.fromkeys(ids))
    before, after = documents.write(documents.preparer.recipe, [], wanted)
    return _answer(request, after, started, deleted=sum(before.row_of(each) is not None for each in wanted))


@router.post("/feedback", tags=["write"], summary="Say what was a good answer", responses={404: RESPONSES[404]})
@queued_write
def feedback(request: Request, live: Live, body: schemas.Feedback) -> schemas.FeedbackResponse:
    """Store that a document was opened for a query, or how well it answers: the trainer learns from it."""
    if live.index.row_of(body.document) is None:
        raise Problem(404, "not-found", f"The index holds no document {body.document!r}")
    log = FeedbackLog(request.app.state.settings.data)
    try:
        log.append(body.query, body.document, body.grade, live.index.generation)
    except OSError as error:
        raise refused(error, log.folder) from error
    return schemas.FeedbackResponse(stored=True, request_id=request.scope["request_id"])


def _prepare(
    index: Index, preparer: Preparer, documents: list[schemas.NewDocument], prepared: list[LiveDocument]
) -> Iterator[bytes]:
    """Check documents and add them to ``prepared`` with their vectors, some at a time; yield something at the end."""
    new = _checked(index, documents)
    for first in range(0, len(new), TOGETHER):
        if first:
            yield b""
        prepared += preparer.prepare(new[first : first + TOGETHER])
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
