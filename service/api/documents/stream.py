"""Import of a stream of documents: rows are prepared and written in batches, and the answer streams while they arrive.

Many clients send a whole body before they read a byte of the answer. So only as much of it is sent meanwhile as the system
holds for such a client; further lines about refused rows wait in a file until the body has ended.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from tempfile import SpooledTemporaryFile
from typing import Any

from fastapi import Request
from fastapi.responses import Response
from pydantic import BaseModel, ValidationError
from starlette.types import Message, Receive, Scope, Send

from indexer.corpus.formats.jsonl import parse_object
from indexer.index.served import ServedIndex
from indexer.live.metadata import column_types
from indexer.live.prepare import NewDocument, Preparer
from indexer.live.write import LiveDocument
from service.api.dependencies import index_info
from service.api.documents import schemas
from service.api.documents.fit import TOKENS_PER_TURN, fit_document
from service.api.documents.lines import TooLong, read_lines
from service.problems import Problem
from service.security.body import ClientGone
from service.serving.live_documents import LiveDocuments, NoWrites
from service.serving.queue import RequestQueue

MEDIA_TYPE = "application/x-ndjson"
BATCH_ROWS, BATCH_BYTES = 256, 1_000_000
"""Rows, and bytes of rows, that are written together, at most."""
PROGRESS_SECONDS = 1.0
PATIENCE_SECONDS = 60.0
"""How long a batch is tried again while other requests take all turns."""
REFUSALS_MEANWHILE, ANSWER_MEANWHILE = 24_000, 48_000
"""Bytes about refused rows, and of the whole answer, that are sent before the body has ended."""
BLOCK_BYTES = 65_536
RETRIED = {"overloaded", "deadline"}
"""Kinds of problems after which nothing was written and another attempt may succeed."""
STREAM_BODY = {
    "required": True,
    "description": "one document a line, as JSON",
    "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/NewDocument"}}},
}
STREAM_ANSWER = {
    "description": "one JSON object a line: refused rows, progress, and the summary",
    "content": {MEDIA_TYPE: {"schema": {"type": "string"}}},
}


@dataclass
class Batch:
    """Rows that are written together: their numbers and lines, and what became of them."""

    rows: list[tuple[int, bytes | TooLong]] = field(default_factory=list)
    size: int = 0
    accepted: dict[str, NewDocument] = field(default_factory=dict)
    good: int = 0
    refused: list[schemas.ImportRefusal] = field(default_factory=list)
    prepared: list[LiveDocument] = field(default_factory=list)

    def add(self, number: int, line: bytes | TooLong) -> None:
        """Add a row."""
        self.rows.append((number, line))
        self.size += len(line) if isinstance(line, bytes) else 0

    @property
    def is_full(self) -> bool:
        """Whether it is to be written before more rows are read."""
        return len(self.rows) >= BATCH_ROWS or self.size >= BATCH_BYTES

    def prepare(self, index: ServedIndex, preparer: Preparer, longest: int) -> Iterator[bytes | None]:
        """Check the rows and make passages and vectors, in turns; yields as `RequestQueue.run_steps` takes it.

        Of several rows with the same id the last one counts. May be called again after an attempt that was given up.
        """
        self.accepted, self.refused, self.prepared, self.good = {}, [], [], 0
        types = column_types(index.schema)
        for number, line in self.rows:
            document_id, errors = None, f"longer than {longest:,} bytes; send it in parts"
            if isinstance(line, bytes):
                document_id, document, errors = _read(line, lambda sent: fit_document(types, preparer, sent))
                if document and not errors:
                    self.good += 1
                    self.accepted.pop(document.id, None)
                    self.accepted[document.id] = document
            if errors:
                self.refused.append(schemas.ImportRefusal(line=number, id=document_id, error=errors))
        yield None
        yield from preparer.prepare_in_turns(list(self.accepted.values()), self.prepared, TOKENS_PER_TURN)
        yield b"prepared"


def _read(
    line: bytes, fit: Callable[[schemas.NewDocument], tuple[NewDocument, dict[str, str]]]
) -> tuple[str | None, NewDocument | None, str]:
    """Return the id of a row, its document, and what is wrong with it."""
    content = parse_object(line)
    if isinstance(content, str):
        return None, None, content
    document_id = content["id"] if isinstance(content.get("id"), str) else None
    try:
        document, errors = fit(schemas.NewDocument.model_validate(content))
    except ValidationError as error:
        problems = (f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors(include_url=False))
        return document_id, None, "; ".join(problems)
    return document_id, document, "; ".join(f"{name}: {message}" for name, message in errors.items())


class ImportResponse(Response):
    """The answer to an import, which reads the request's body while it is sent."""

    media_type = MEDIA_TYPE

    def __init__(self, request: Request, documents: LiveDocuments | NoWrites) -> None:
        super().__init__()
        del self.headers["content-length"]  # nobody knows it before the end
        self._request = request
        self._documents = documents
        settings = request.app.state.settings
        self._longest: int = settings.max_body_mb * 1_000_000
        self._seconds: float = settings.body_seconds
        self._put = self._replaced = self._refused = self._lines = 0
        self._started = self._said = time.monotonic()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - as Starlette calls it
        """Import all rows and answer."""
        answer = _Answer(send, self.raw_headers, self.status_code)
        last: BaseModel
        try:
            last = await self._import(receive, answer)
        except Problem as problem:
            last = schemas.ImportStopped(
                stopped=problem.detail, status=problem.status, **self._counts(), request_id=self._request_id
            )
        except ClientGone:
            return
        await answer.end(last)

    async def _import(self, receive: Receive, answer: _Answer) -> schemas.ImportSummary:
        batch, number = Batch(), 0
        async for line in read_lines(receive, self._longest, self._seconds):
            if line is None:  # nothing more is on its way
                if batch.rows:
                    batch = await self._write(batch, answer)
                continue
            number += 1
            if isinstance(line, TooLong) or line.strip():
                batch.add(number, line)
            if batch.is_full:
                batch = await self._write(batch, answer)
        if batch.rows:
            await self._write(batch, answer)
        self._lines = number
        index = index_info(self._index)
        seconds = time.monotonic() - self._started
        return schemas.ImportSummary(
            done=True, **self._counts(), took_ms=round(seconds * 1e3, 3), index=index, request_id=self._request_id
        )

    async def _write(self, batch: Batch, answer: _Answer) -> Batch:
        """Prepare and write a batch, say what was refused, and how far the import is; return the next batch."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            if self._request.app.state.closed.is_set():
                raise Problem(503, "draining", "The service is shutting down; send the rest to another one")
            try:
                await self._attempt(batch)
                break
            except Problem as problem:
                if problem.kind not in RETRIED or time.monotonic() > deadline:
                    raise
            await asyncio.sleep(1)
        self._put += batch.good
        self._refused += len(batch.refused)
        self._lines = batch.rows[-1][0]
        for refusal in batch.refused:
            await answer.refuse(refusal)
        if time.monotonic() - self._said >= PROGRESS_SECONDS:
            self._said = time.monotonic()
            await answer.say(schemas.ImportProgress(**self._counts()))
        return Batch()

    async def _attempt(self, batch: Batch) -> None:
        queue: RequestQueue = self._request.app.state.queue
        preparer = self._documents.preparer
        await queue.run_steps(batch.prepare(self._index, preparer, self._longest), _never)
        if not batch.prepared:
            return

        def put() -> bytes:
            before, _ = self._documents.write(preparer.recipe, batch.prepared, [])
            known = sum(before.row_of(document.id) is not None for document in batch.prepared)
            self._replaced += known + batch.good - len(batch.prepared)
            return b"written"

        await queue.commit(put, _never)

    @property
    def _index(self) -> ServedIndex:
        index: ServedIndex = self._request.app.state.searcher.live.retriever.index
        return index

    @property
    def _request_id(self) -> str:
        request_id: str = self._request.scope["request_id"]
        return request_id

    def _counts(self) -> dict[str, Any]:
        return {"lines": self._lines, "put": self._put, "replaced": self._replaced, "refused": self._refused}


async def _never() -> Message:
    """Stand in for `receive` where the body is still arriving: whoever waits for a disconnect would swallow it."""
    return await asyncio.Future()


class _Answer:
    """The lines of the answer: some are sent at once, the others wait in a file until the body has ended."""

    def __init__(self, send: Send, headers: list[tuple[bytes, bytes]], status: int) -> None:
        self._send = send
        self._start: Message | None = {"type": "http.response.start", "status": status, "headers": headers}
        self._waiting = SpooledTemporaryFile(max_size=BLOCK_BYTES)  # noqa: SIM115 - closed in `end`, or with its request
        self._sent = 0

    async def refuse(self, refusal: schemas.ImportRefusal) -> None:
        """Say that a row was refused, now or later."""
        line = _line(refusal)
        if self._waiting.tell() or self._sent + len(line) > REFUSALS_MEANWHILE:
            self._waiting.write(line)
        else:
            await self._put(line)

    async def say(self, progress: schemas.ImportProgress) -> None:
        """Say how far the import is, unless the client may not be reading."""
        line = _line(progress)
        if self._sent + len(line) <= ANSWER_MEANWHILE:
            await self._put(line)

    async def end(self, last: BaseModel) -> None:
        """Send what waits, and the last line."""
        self._waiting.seek(0)
        while block := self._waiting.read(BLOCK_BYTES):
            await self._put(block)
        self._waiting.close()
        await self._put(_line(last), more=False)

    async def _put(self, content: bytes, *, more: bool = True) -> None:
        if self._start:
            start, self._start = self._start, None
            await self._send(start)
        self._sent += len(content)
        await self._send({"type": "http.response.body", "body": content, "more_body": more})


def _line(content: BaseModel) -> bytes:
    return json.dumps(content.model_dump(mode="json"), ensure_ascii=False).encode() + b"\n"
