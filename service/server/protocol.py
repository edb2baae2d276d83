"""Limits of a request's head (request line and headers): its size, and the time that it may take to arrive.

uvicorn has neither limit for httptools: a client could send headers forever, or one byte a minute, and so hold memory
and a connection.
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
"""Within which a head must arrive, and a new connection or an idle one after empty lines must send its request."""


class LimitedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol with limits on the head of each request; it refuses with problem details."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._in_head = False
        self._head_bytes = 0  # received in chunks that held only a part of the head
        self._timer: asyncio.TimerHandle | None = None
        self._refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timer for the first request."""
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Handle received bytes; a head that is too large is refused before its end."""
        if self._refused:
            return
        was_in_head = self._in_head
        super().data_received(data)
        if was_in_head and self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse_head()
        elif not self._in_head and not self._busy() and self._timer is None:
            self._start_timer()  # empty lines between requests have stopped uvicorn's own keep-alive timer

    def on_message_begin(self) -> None:
        """Count the bytes of a new head, and start the timer for its end."""
        self._in_head, self._head_bytes = True, 0
        self._start_timer()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Pass the request to the application unless its head is too large."""
        self._in_head = False
        self._stop_timer()
        if len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > MAX_HEAD_BYTES:
            self._refuse_head()
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Ignore the body of a refused request."""
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Ignore the end of a refused request."""
        if not self._refused:
            super().on_message_complete()

    def close_after_response(self) -> None:
        """Close the connection after the response that is under way; leave an idle connection open."""
        if self._busy():
            self.shutdown()

    def send_400_response(self, msg: str) -> None:
        """Refuse bytes that are not HTTP."""
        if not self._refused:
            self._refuse(400, f"{msg.rstrip('.')}; send HTTP/1.1")

    def _busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _start_timer(self) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(HEAD_SECONDS, self._expire)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self) -> None:
        self._timer = None
        if self._busy():  # an earlier request of the connection is still being answered
            self._start_timer()
        else:
            self.transport.close()

    def _refuse_head(self) -> None:
        detail = f"Request line and headers are longer than {MAX_HEAD_BYTES:,} bytes; send a long query with POST"
        self._refuse(431, detail)

    def _refuse(self, status: int, detail: str) -> None:
        """Respond instead of the application, and close the connection."""
        self._refused = True
        self._stop_timer()
        request_id = uuid.uuid4().hex
        body = details(Problem(status, "http", detail), request_id).model_dump_json(exclude_unset=True).encode()
        headers = {
            b"content-type": MEDIA_TYPE.encode(),
            b"content-length": str(len(body)).encode(),
            b"x-request-id": request_id.encode(),
            b"connection": b"close",
            **SECURITY_HEADERS,
        }
        head = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}".encode()]
        head += [name + b": " + value for name, value in headers.items()]
        self.transport.write(b"\r\n".join([*head, b"", body]))
        self.transport.close()
