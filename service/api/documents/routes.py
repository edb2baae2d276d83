"""Document routes: read one document, put and delete documents."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from indexer.index.served import ServedIndex
from indexer.live.metadata import column_types
from indexer.live.prepare import NewDocument, Preparer
from indexer.live.write import LiveDocument
from service.api.dependencies import QUEUED, Live, index_info, row_of
from service.api.documents import schemas
from service.api.documents.fit import TOKENS_PER_TURN, fit_document
from service.api.documents.stream import STREAM_ANSWER, STREAM_BODY, ImportResponse
from service.api.problem_responses import RESPONSES, documented
from service.api.schemas import DocumentId
from service.problems import Problem, ProblemField
from service.serving.live_documents import LiveDocuments, NoWrites
from service.serving.queue import RequestQueue, queued, queued_commit


async def may_write(request: Request) -> None:
    """Refuse the request unless the service is writable."""
    if not request.app.state.settings.writable:
        raise Problem(NO_WRITES.status, NO_WRITES.kind, NO_WRITES.detail)


async def live_documents(request: Request) -> LiveDocuments | NoWrites:
    """Return the live documents of the service."""
    documents: LiveDocuments | NoWrites = request.app.state.searcher.documents
    return documents


router = APIRouter(responses={status: RESPONSES[status] for status in (422, 500, 503)})
NO_WRITES = Problem(403, "not-writable", "This service takes no writes; start it with --writable or DOWSE_WRITABLE=1")


def write_responses() -> dict[int | str, dict[str, Any]]:
    """Return OpenAPI's description of the errors of a route that writes."""
    return {
        403: documented(NO_WRITES),
        **{status: RESPONSES[status] for status in (422, 500, 501, 503, 507)},
        **QUEUED,
    }


write_router = APIRouter(responses=write_responses(), dependencies=[Depends(may_write)])
Documents = Annotated[LiveDocuments | NoWrites, Depends(live_documents)]


@router.get(
    "/documents/{document_id:path}",
    operation_id="get_document",
    tags=["documents"],
    summary="One document",
    responses={404: RESPONSES[404], **QUEUED},
)
@queued
def document(request: Request, live: Live, document_id: str) -> schemas.DocumentResponse:
    """Return one document with its whole text."""
    document = live.index.document(row_of(live, document_id))
    return schemas.DocumentResponse(
        id=document.id,
        title=document.title,
        text=document.text,
        metadata=document.metadata,
        index=index_info(live.index),
        request_id=request.scope["request_id"],
    )


@write_router.put(
    "/documents",
    operation_id="put_documents",
    tags=["write"],
    summary="Put documents",
    response_model=schemas.WriteResponse,
)
async def put_documents(request: Request, live: Live, documents: Documents, body: schemas.PutDocuments) -> Response:
    """Add documents, or replace those with the same ids. They are on disk and searchable when this answers.

    An answer of 429 or 504 means that nothing was written. The vectors are computed first, in several turns of the
    queue. Writing is the last turn, and once it has begun it is completed.
    """
    started = time.perf_counter()
    queue: RequestQueue = request.app.state.queue
    preparer = documents.preparer
    prepared: list[LiveDocument] = []
    await queue.run_steps(_prepare(live.index, preparer, body.documents, prepared), request.receive)

    def put() -> bytes:
        before, after = documents.write(preparer.recipe, prepared, [])
        replaced = sum(before.row_of(document.id) is not None for document in prepared)
        response = _response(request, after, started, put=len(prepared), replaced=replaced)
        return response.model_dump_json(exclude_unset=True).encode()

    return Response(await queue.commit(put, request.receive), media_type="application/json")


@write_router.post(
    "/documents/import",
    operation_id="import_documents",
    tags=["write"],
    summary="Import a stream of documents",
    response_class=Response,
    responses={200: STREAM_ANSWER, 408: RESPONSES[408]},
    openapi_extra={"requestBody": STREAM_BODY},
)
async def import_documents(request: Request, documents: Documents) -> ImportResponse:
    """Add or replace documents: one JSON object a line, as `PUT /documents` takes them, in a stream of any length.

    The answer is a stream of JSON lines too. There is a line for each row that was refused, with its number and the reason,
    and one every second or so that says how far the import has come: what it counts is on disk and searchable, also if the
    connection breaks. The last line is the summary, or says why the import stopped.
    """
    _ = documents.preparer  # refuses before anything is read where there is no index to write to
    return ImportResponse(request, documents)


@write_router.delete("/documents", operation_id="delete_documents", tags=["write"], summary="Delete documents")
@queued_commit
def delete_documents(
    request: Request,
    documents: Documents,
    ids: Annotated[
        list[DocumentId],
        Query(
            alias="id",
            min_length=1,
            max_length=schemas.MAX_DOCUMENTS,
            description="id of a document",
            examples=[[schemas.DOCUMENT["id"]]],
        ),
    ],
) -> schemas.WriteResponse:
    """Delete documents by id. An id that the index does not have is no error."""
    started = time.perf_counter()
    unique = list(dict.fromkeys(ids))
    before, after = documents.write(documents.preparer.recipe, [], unique)
    deleted = sum(before.row_of(document_id) is not None for document_id in unique)
    return _response(request, after, started, deleted=deleted)


def _prepare(
    index: ServedIndex, preparer: Preparer, documents: list[schemas.NewDocument], prepared: list[LiveDocument]
) -> Iterator[bytes | None]:
    """Check documents, then add them to ``prepared`` with their vectors, `TOKENS_PER_TURN` at a time.

    Yields:
        None after each turn but the last, and bytes after the last: the queue takes them for the end.
    """
    checked = check_documents(index, preparer, documents)
    yield from preparer.prepare_in_turns(checked, prepared, TOKENS_PER_TURN)
    yield b"prepared"


def check_documents(index: ServedIndex, preparer: Preparer, documents: list[schemas.NewDocument]) -> list[NewDocument]:
    """Return the documents as the index keeps them, see `fit_document`.

    Raises:
        Problem: two documents have the same id, or one does not fit the index.
    """
    types = column_types(index.schema)
    fitted = [fit_document(types, preparer, document) for document in documents]
    errors = [
        ProblemField(field=f"body.documents.{position}.{name}", message=message)
        for position, (_, found) in enumerate(fitted)
        for name, message in found.items()
    ]
    id_counts = Counter(document.id for document in documents)
    errors += [
        ProblemField(field=f"body.documents.{position}.id", message="another document of the request has this id")
        for position, document in enumerate(documents)
        if id_counts[document.id] > 1
    ]
    if errors:
        detail = "; ".join(f"{error.field}: {error.message}" for error in errors)
        raise Problem(422, "invalid-request", detail, errors)
    return [document for document, _ in fitted]


def _response(
    request: Request, index: ServedIndex, started: float, *, put: int = 0, replaced: int = 0, deleted: int = 0
) -> schemas.WriteResponse:
    return schemas.WriteResponse(
        put=put,
        replaced=replaced,
        deleted=deleted,
        took_ms=round((time.perf_counter() - started) * 1e3, 3),
        index=index_info(index),
        request_id=request.scope["request_id"],
    )
