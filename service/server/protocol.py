"""The limits below HTTP's meaning: how large the head of a request may be, and how long it may take to come.

uvicorn has neither for httptools: a client could send headers forever, or one byte a minute, and hold memory and a
connection for nothing.
"""

from __future__ import annotations

import asyncio
import uuid
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.api.request_id import SECURITY_HEADERS
from service.problems import MEDIA_TYPE, Problem, details

MAX_HEAD_BYTES = 32_768
"""Of request line and headers together: a search by GET with 2,000 characters, all escaped, has 24,000 at most."""
HEAD_SECONDS = 10.0


class LimitedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with limits on the head of each request, and refusals in the API's one shape."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._in_head = False
        self._head_bytes = 0  # of the chunks that brought nothing but a part of the head
        self._deadline: asyncio.TimerHandle | None = None
        self._refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what has come; a head that is too large is not read to its end."""
        if self._refused:
            return
        begun = self._in_head
        super().data_received(data)
        if begun and self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse_head()
        elif not self._in_head and not self._busy() and self._deadline is None:
            self._wait()  # empty lines between requests end uvicorn's own waiting

    def on_message_begin(self) -> None:
        """Begin to count; the head has to be whole in time."""
        self._in_head, self._head_bytes = True, 0
        self._wait()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Let the application have the request unless its head is too large."""
        self._in_head = False
        self._stop_waiting()
        if len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > MAX_HEAD_BYTES:
            self._refuse_head()
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Leave the body of a refused request alone."""
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Leave the end of a refused request alone."""
        if not self._refused:
            super().on_message_complete()

    def end_when_answered(self) -> None:
        """Let the request that is being answered be the last one; an idle connection stays as it is."""
        if self._busy():
            self.shutdown()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP."""
        if not self._refused:
            self._refuse(400, f"{msg.rstrip('.')}; send HTTP/1.1")

    def _busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _wait(self) -> None:
        self._stop_waiting()
        self._deadline = self.loop.call_later(HEAD_SECONDS, self._expire)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _expire(self) -> None:
        self._deadline = None
        if self._busy():  # an earlier request of the connection is still being answered
            self._wait()
        else:
            self.transport.close()

    def _refuse_head(self) -> None:
        self._refuse(431, f"Request line and headers are longer than {MAX_HEAD_BYTES:,} bytes; POST takes longer ones")

    def _refuse(self, status: int, detail: str) -> None:
        """Answer in the place of the application, and close."""
        self._refused = True
        self._stop_waiting()
        identity = uuid.uuid4().hex
        body = details(Problem(status, "http", detail), identity).model_dump_json(exclude_unset=True).encode()
        headers = {
            b"content-type": MEDIA_TYPE.encode(),
            b"content-length": str(len(body)).encode(),
            b"x-request-id": identity.encode(),
            b"connection": b"close",
            **SECURITY_HEADERS,
        }
        head = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}".encode()]
        head += [name + b": " + value for name, value in headers.items()]
        self.transport.write(b"\r\n".join([*head, b"", body]))
        self.transport.close()
