"""Whole documents by id or by filter, without a query: read page by page, and deleted.

Pages are in the order of the ids. So a document that stays as it is comes exactly once, whatever is written meanwhile
and even if another index becomes live.
"""

from __future__ import annotations

import time

import numpy as np
from fastapi import APIRouter, Depends, Request

from indexer.errors import NotSupported
from indexer.filters.filter import Filter
from indexer.index.document_mask import DocumentMask, Rows
from indexer.index.index import Index
from indexer.index.served import ServedIndex
from service.api.dependencies import QUEUED, Live, index_info
from service.api.documents import fetch_schemas as schemas
from service.api.documents.routes import Documents, may_write, write_responses
from service.api.problem_responses import RESPONSES
from service.api.search.filtering import document_mask
from service.serving.queue import queued, queued_commit

router = APIRouter(responses={**{status: RESPONSES[status] for status in (422, 500, 501, 503)}, **QUEUED})
write_router = APIRouter(responses=write_responses(), dependencies=[Depends(may_write)])


@router.post(
    "/documents/fetch", operation_id="fetch_documents", tags=["documents"], summary="Documents by ids or by a filter"
)
@queued
def fetch_documents(request: Request, live: Live, body: schemas.FetchRequest) -> schemas.FetchResponse:
    """Return whole documents: those of some ids, or all that pass a filter, page by page in the order of their ids."""
    documents, matches, following = (
        _of_ids(live.index, body.ids) if body.ids is not None else _of_filter(live.index, body)
    )
    return schemas.FetchResponse(
        documents=documents,
        matches=matches,
        next=following,
        index=index_info(live.index),
        request_id=request.scope["request_id"],
    )


@write_router.post(
    "/documents/delete", operation_id="delete_by_filter", tags=["write"], summary="Delete the documents of a filter"
)
@queued_commit
def delete_by_filter(
    request: Request, live: Live, documents: Documents, body: schemas.DeleteRequest
) -> schemas.DeleteResponse:
    """Delete the documents that pass a filter now, all of them or none; of very many the first by their ids."""
    started = time.perf_counter()
    recipe = documents.preparer.recipe
    mask, index = _mask(body.filter, live.index)
    rows = _first(mask.rows, index, schemas.MAX_DELETED)
    after: ServedIndex = index
    deleted = 0
    if len(rows):
        before, after = documents.write(recipe, [], [index.document(row).id for row in rows.tolist()])
        deleted = len(before) - len(after)
    return schemas.DeleteResponse(
        deleted=deleted,
        remaining=mask.count - len(rows),
        took_ms=round((time.perf_counter() - started) * 1e3, 3),
        index=index_info(after),
        request_id=request.scope["request_id"],
    )


Page = tuple[list[schemas.FetchedDocument], int, str | None]
"""Documents of an answer, number of all that match, and where to go on."""


def _of_ids(index: ServedIndex, ids: list[str]) -> Page:
    rows = [row for row in map(index.row_of, dict.fromkeys(ids)) if row is not None]
    documents, left_out = _fitting(index, np.array(rows, dtype=np.int64))
    return documents, len(rows), None if left_out is None else index.document(left_out).id


def _of_filter(index: ServedIndex, body: schemas.FetchRequest) -> Page:
    mask, files = _mask(body.filter or Filter(), index)
    rows = mask.rows if body.after is None else mask.rows[files.follows(body.after)[mask.rows]]
    page = _first(rows, files, body.limit)
    documents, left_out = _fitting(index, page)
    is_last = left_out is None and (len(page) == len(rows) or not body.limit)
    return documents, mask.count, None if is_last else documents[-1].id


def _mask(condition: Filter, index: ServedIndex) -> tuple[DocumentMask, Index]:
    """Return the documents that pass a filter, and the index, whose files are on this machine.

    Raises:
        NotSupported: they are not; the store cannot list documents in an order that writes do not disturb.
    """
    if not isinstance(index, Index):
        raise NotSupported("Milvus as a store does not list documents by a filter; ask for them by `ids`, or search")
    mask = document_mask(condition, index)
    if not isinstance(mask, DocumentMask):
        raise TypeError(f"a filter over files gave {type(mask).__name__}")
    return mask, index


def _first(rows: Rows, index: Index, limit: int) -> Rows:
    """Return the first ``limit`` of some documents in the order of their ids."""
    ranks = index.id_ranks(rows)
    if limit < len(rows):
        nearest = np.argpartition(ranks, limit)[:limit] if limit else np.empty(0, dtype=np.int64)
        rows, ranks = rows[nearest], ranks[nearest]
    return rows[np.argsort(ranks)]


def _fitting(index: ServedIndex, rows: Rows) -> tuple[list[schemas.FetchedDocument], int | None]:
    """Return the documents of ``rows`` as far as their texts fit into one answer, and the first row that does not."""
    documents: list[schemas.FetchedDocument] = []
    characters = 0
    for first in range(0, len(rows), 32):  # texts that do not fit are not all read
        for row, document in zip(
            rows[first : first + 32].tolist(), index.documents(rows[first : first + 32]), strict=True
        ):
            characters += len(document.text) + len(document.title or "")
            if documents and characters > schemas.MAX_CHARACTERS:
                return documents, row
            documents.append(
                schemas.FetchedDocument(
                    id=document.id, title=document.title, text=document.text, metadata=document.metadata
                )
            )
    return documents, None
