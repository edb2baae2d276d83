"""`POST /search/export`: all results of a search, or all documents that pass a filter, as CSV or JSON lines.

The answer is a stream. Each part of it is a turn of the request queue, so that other requests run in between, and memory
holds one part and the row numbers of the results. All parts come from the index that the first one came from.
"""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Literal

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from pydantic import ConfigDict, Field, JsonValue
from pydantic_core import to_json, to_jsonable_python
from starlette.types import Message

from indexer.index.document_mask import Rows
from indexer.index.served import Document
from indexer.retrieval.retriever import Retriever
from service.api.dependencies import QUEUED, Live
from service.api.problem_responses import RESPONSES
from service.api.search import filtering
from service.api.search.answering.ranked import rank, reranking_of
from service.api.search.arrange import SCORE_DIGITS, arrange
from service.api.search.browse import browse_rows
from service.api.search.combine import check_combination, pages_beyond
from service.api.search.schemas import MAX_FIELDS, Column, SearchRequest
from service.problems import Problem, invalid
from service.serving.queue import RequestQueue

MAX_EXPORTED = 1_000_000
PART = 500
"""Documents of one turn of the queue."""
BUSY_SECONDS, BUSY_TRIES = 1.0, 60
"""Where the queue is full in the middle of an export: pause before another try, and how many there are."""
MEDIA_TYPES = {"csv": "text/csv; charset=utf-8", "jsonl": "application/jsonl; charset=utf-8"}
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""Beginnings of texts that a spreadsheet takes for a formula (OWASP, «CSV Injection»)."""
OWN = ("id", "title", "text")
Row = list[Any]

router = APIRouter(responses={status: RESPONSES[status] for status in (422, 500, 501, 503)})


UNUSED = ("top_k", "offset", "explain", "highlight", "facets", "facets_over")
"""Fields of a search that only a page has."""
EXAMPLES: list[JsonValue] = [
    {"format": "csv", "query": "run a command and get its output", "fields": ["id", "title", "score"]},
    {"format": "jsonl", "filter": {"must_not": [{"field": "id", "prefix": "shelve."}]}},
]


def _describe(schema: dict[str, JsonValue]) -> None:
    properties = schema["properties"]
    if isinstance(properties, dict):
        schema["properties"] = {name: value for name, value in properties.items() if name not in UNUSED}
    schema["examples"] = EXAMPLES


class ExportRequest(SearchRequest):
    """Body of `POST /search/export`: a search, without what only pages have."""

    model_config = ConfigDict(json_schema_extra=_describe)

    format: Literal["csv", "jsonl"] = Field(default="csv", description="`csv`, or `jsonl`: a JSON object on each line")
    limit: int = Field(default=10_000, ge=1, le=MAX_EXPORTED, description="number of documents at most")
    fields: list[Column] | None = Field(
        default=None,
        max_length=MAX_FIELDS,
        description="the columns, in this order: metadata columns, `id`, `title`, `text` (the whole text), and `rank` and "
        "`score` unless metadata columns have these names; by default `id`, `title`, `text` and all metadata",
    )


@router.post(
    "/search/export",
    operation_id="export_search",
    tags=["search"],
    summary="Export results",
    responses={
        200: {
            "description": "The results, one a line, as a stream",
            "content": {kind.partition(";")[0]: {"schema": {"type": "string"}} for kind in MEDIA_TYPES.values()},
        },
        400: RESPONSES[400],
        **QUEUED,
    },
    response_class=StreamingResponse,
)
async def post_export(request: Request, live: Live, body: ExportRequest) -> StreamingResponse:
    """Return the candidates of a query, or all documents that pass the filter where there is none, as a file."""
    export = Export(request, live, body)
    # The first part decides whether there is an answer at all; a problem in it has a status of its own.
    first = await _run(request, lambda: next(export.parts, b""))
    headers = {"Content-Disposition": f'attachment; filename="results.{body.format}"'}
    return StreamingResponse(_stream(request, export, first), media_type=MEDIA_TYPES[body.format], headers=headers)


class Export:
    """One export: its columns, its documents in their order, and their lines, part by part.

    Attributes:
        parts: the lines of the next documents, encoded; each is made when it is asked for.
    """

    def __init__(self, request: Request, live: Retriever, search: ExportRequest) -> None:
        self._request, self._live, self._search = request, live, search
        self.parts = self._make_parts()

    def _make_parts(self) -> Iterator[bytes]:
        columns = export_columns(self._live, self._search.fields)
        write = _write_csv if self._search.format == "csv" else _write_lines
        rows, scores = self._documents()
        head = write(columns, [columns]) if self._search.format == "csv" else b""
        for start in range(0, max(len(rows), 1), PART):
            part = rows[start : start + PART]
            documents = self._live.index.documents(part)
            values = [
                [_value(document, name, start + place + 1, float(scores[start + place])) for name in columns]
                for place, document in enumerate(documents)
            ]
            yield head + write(columns, values)
            head = b""

    def _documents(self) -> tuple[Rows, Any]:
        """Return the rows of all documents of the export in their order, and their scores."""
        live, search = self._live, self._search
        for name in UNUSED:
            if name in search.model_fields_set:
                raise invalid(f"body.{name}", "an export has no such part; leave it out")
        check_combination(search, live.index, "body")
        if search.group_by is not None and search.group_by not in live.index.scalar_columns:
            raise invalid("body.group_by", f"no column {search.group_by!r} of single values")
        mask = filtering.document_mask(search.filter, live.index)
        if not search.query:
            rows = browse_rows(search, live.index, mask, search.limit)
            return rows, np.zeros(len(rows))
        ranking = rank(
            live,
            search,
            mask,
            "body",
            self._request.app.state.rules.over(live.index.rules),
            reach=pages_beyond(search, search.limit),
        )
        page = arrange(
            live.index,
            ranking,
            search,
            mode=search.mode,
            offset=0,
            count=search.limit,
            rerank=reranking_of(self._request, live, search, ranking),
            sort=search.sort,
            min_relevance=search.min_relevance,
        )
        at = np.array(page.positions, dtype=np.int64)
        return ranking.rows[at], ranking.scores[at]


def export_columns(live: Retriever, fields: list[str] | None) -> list[str]:
    """Return the names of the columns of an export.

    Raises:
        Problem: 422, there is no such column.
    """
    metadata = live.index.metadata_types
    if fields is None:
        return [*OWN, *(name for name in metadata if name not in OWN)]
    for name in fields:
        if name not in {*OWN, "rank", "score", *metadata}:
            there = ", ".join(sorted({*OWN, "rank", "score", *metadata}))
            raise invalid("body.fields", f"no column {name!r}; there is: {there}")
    return fields


def spreadsheet_cell(value: Any) -> str:
    """Return a value as a cell of a CSV file that a spreadsheet shows and does not run.

    Only texts are changed, by an apostrophe before the first character: -5 is a number and stays one. Lists and structs
    are JSON.
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"'{value}" if value.startswith(FORMULA) else value
    if isinstance(value, int | float):
        return repr(value)
    return to_json(value).decode()


def _value(document: Document, name: str, rank: int, score: float) -> Any:
    """Return a value of a document as JSON has it."""
    if name in OWN:
        return getattr(document, name)
    if name in document.metadata or name not in {"rank", "score"}:
        return to_jsonable_python(document.metadata.get(name), bytes_mode="base64", inf_nan_mode="null")
    return rank if name == "rank" else round(score, SCORE_DIGITS)


def _write_csv(_: list[str], rows: list[Row]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows([spreadsheet_cell(value) for value in row] for row in rows)
    return text.getvalue().encode()


def _write_lines(columns: list[str], rows: list[Row]) -> bytes:
    return b"".join(to_json(dict(zip(columns, row, strict=True))) + b"\n" for row in rows)


async def _stream(request: Request, export: Export, first: bytes) -> AsyncIterator[bytes]:
    """Yield the parts. One that fails ends the connection in the middle, by which a client knows that lines are missing."""
    part = first
    while part:
        yield part
        part = await _patiently(request, lambda: next(export.parts, b""))


async def _patiently(request: Request, work: Callable[[], bytes]) -> bytes:
    """Run a turn of the queue; where the queue is full, wait: a file cannot be continued later."""
    for _ in range(BUSY_TRIES):
        try:
            return await _run(request, work)
        except Problem as problem:
            if problem.kind != "overloaded":
                raise
            await asyncio.sleep(BUSY_SECONDS)
    return await _run(request, work)


async def _run(request: Request, work: Callable[[], bytes]) -> bytes:
    queue: RequestQueue = request.app.state.queue
    return await queue.run(work, _never)


async def _never() -> Message:
    """Wait for ever: the response itself listens for the client's disconnect, and a message has one receiver only."""
    message: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
    return await message
