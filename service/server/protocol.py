"""HTTP protocol of a connection: what is read as a request, and limits of size and time for reading and writing.

uvicorn has no such limits for httptools: a client could send headers or trailers forever, or one byte a minute, or never
read its answers, and so hold memory and a connection.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import uuid
from collections.abc import Sized
from http import HTTPStatus
from typing import Any

import httptools
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.api.request_id import SECURITY_HEADERS
from service.problems import MEDIA_TYPE, Problem, details

MAX_HEAD_BYTES = 32_768
"""Of request line and headers together: a search by GET with 2,000 characters, all escaped, has 24,000 at most. The same
holds for the trailers of a body in chunks, and for what stands between two of its chunks."""
HEAD_SECONDS = 10.0
"""Within which a head must arrive, and a new connection or an idle one after empty lines must send its request."""
WRITE_SECONDS = 20.0
"""Within which a client must read `MIN_READ_BYTES` of a response that waits for it, or else all of it."""
MIN_READ_BYTES = 65_536
LINGER_SECONDS = 1.0
"""How long, and `MAX_LINGER_BYTES` how far, a refused client is read on: closed at once, it might lose the refusal."""
MAX_LINGER_BYTES = 262_144
FRAMING = {b"content-length", b"transfer-encoding"}
"""Headers that say where a body ends."""
BYTES_ACKNOWLEDGED = struct.Struct("@120xQ")
"""Place of `tcpi_bytes_acked` in Linux's `struct tcp_info`."""


class PipelineFlow(FlowControl):
    """Flow control that reads no further while requests wait in the pipeline: each response would admit more of them."""

    def __init__(self, transport: asyncio.Transport, pipeline: Sized) -> None:
        super().__init__(transport)
        self._pipeline = pipeline

    def resume_reading(self) -> None:
        """Read on, unless requests wait: the body of the one that is being answered is complete then."""
        if not self._pipeline:
            super().resume_reading()


class LimitedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol with limits; it refuses with problem details, and ignores requests to upgrade."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._in_head = False
        self._in_message = False
        self._resuming = False  # the head of a message is parsed a second time, to read its body
        self._overhead = 0  # bytes received in chunks that held nothing but a part of a head, or of trailers
        self._advanced = False
        self._trailer_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._refused = False
        self._refusal = b""  # waits until earlier requests of the connection are answered
        self._lingered = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timer for the first request."""
        super().connection_made(transport)
        self.flow = PipelineFlow(transport, self.pipeline)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timers."""
        self._stop_timer()
        if self._write_timer is not None:
            self._write_timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Handle received bytes; a head that is too large is refused before its end, and so are trailers."""
        if self._refused:
            self._lingered += len(data)
            if self._lingered > MAX_LINGER_BYTES:
                self.transport.close()
            return
        self._unset_keepalive_if_required()
        self._advanced = False
        was_in_message = self._in_message
        try:
            self._feed(data)
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")
        if was_in_message and self._in_message and not self._advanced:
            self._overhead += len(data)
            self._check_overhead(self._overhead)
        if not self._in_head and not self._busy() and self._timer is None and not self._refused:
            # Empty lines between requests, or the rest of a body that nobody wants, have stopped uvicorn's own timer.
            self._start_timer()

    def on_message_begin(self) -> None:
        """Count the bytes of a new head, and start the timer for its end."""
        if self._resuming or self._refused:
            return
        self._in_head = self._in_message = True
        self._trailer_bytes = 0
        self._advance()
        self._start_timer()
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Keep a part of the request line."""
        if not (self._resuming or self._refused):
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; count and drop a trailer, for it could pass for a header that was checked."""
        if self._resuming or self._refused:
            return
        if self._in_head:
            super().on_header(name, value)
        else:
            self._trailer_bytes += len(name) + len(value) + 4
            self._check_overhead(self._trailer_bytes)

    def on_headers_complete(self) -> None:
        """Pass the request to the application unless its head is too large."""
        if self._resuming or self._refused:
            return
        self._advance()
        head_bytes = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if head_bytes > MAX_HEAD_BYTES:
            self._check_overhead(head_bytes)
        elif fault := self._head_fault():
            self._refuse(400, fault)
        else:
            self._stop_timer()
            self._in_head = False
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Pass on a part of the body; ignore that of a refused request."""
        self._advance()
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Pass on the end of a request, unless it was refused or its body is yet to be read (see `_feed`)."""
        if not self._refused and not self.parser.should_upgrade():
            self._in_message = False
            self._advance()
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Begin with the next request of the pipeline, or refuse what came after the last."""
        is_last = not self.pipeline
        super().on_response_complete()
        self._watch_reader()
        if is_last and self._refusal:
            self._write_refusal()

    def pause_writing(self) -> None:
        """Stop writing, and watch whether the client reads."""
        super().pause_writing()
        self._watch_reader()

    def close_after_response(self) -> None:
        """Close the connection after the response that is under way; leave an idle connection open."""
        if self._busy():
            self.shutdown()

    def send_400_response(self, msg: str) -> None:
        """Refuse bytes that are not HTTP."""
        if not self._refused:
            self._refuse(400, f"{msg.rstrip('.')}; send HTTP/1.1")

    def _feed(self, data: bytes) -> None:
        """Parse received bytes.

        The parser stops behind the head of a request to upgrade (`Connection: Upgrade`, as clients of HTTP/2 send it),
        body or not. The server upgrades nothing, so a parser that is told of no upgrade reads the body.

        Raises:
            HttpParserError: the bytes are not HTTP.
        """
        rest = memoryview(data)
        while not self._refused:
            try:
                self.parser.feed_data(rest)
            except httptools.HttpParserUpgrade as upgrade:
                rest = rest[upgrade.args[0] :]
                if not self._refused:
                    self._resume_behind_head()
            else:
                return

    def _resume_behind_head(self) -> None:
        version = self.parser.get_http_version().encode()
        framing = b"".join(name + b": " + value + b"\r\n" for name, value in self.headers if name in FRAMING)
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        self._resuming = True
        try:
            self.parser.feed_data(b"POST / HTTP/" + version + b"\r\n" + framing + b"\r\n")
        finally:
            self._resuming = False

    def _head_fault(self) -> str | None:
        """Say what of a head the parser accepts, and yet no request has; give a target without a path its path."""
        if self.parser.get_method() == b"CONNECT":
            return "This is no proxy: CONNECT is not answered"
        if sum(name == b"host" for name, _ in self.headers) > 1:
            return "The request has several headers Host; send one"
        try:
            target = httptools.parse_url(self.url)
        except httptools.HttpParserInvalidURLError:
            return "The target of the request line is malformed; send a path"
        if target.path is None:  # of a whole URL that ends behind its host
            self.url = b"/" + (b"?" + target.query if target.query else b"")
        return None

    def _advance(self) -> None:
        self._advanced, self._overhead = True, 0

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

    def _watch_reader(self) -> None:
        """Begin to watch whether the client reads what waits for it, if anything does."""
        if self._write_timer is None and (waiting := self.transport.get_write_buffer_size()):
            wanted = acknowledged_bytes(self.transport) + min(waiting, MIN_READ_BYTES)
            self._write_timer = self.loop.call_later(WRITE_SECONDS, self._check_reader, wanted)

    def _check_reader(self, wanted: int) -> None:
        """End the connection, with what waits to be written, unless the client has read up to ``wanted``."""
        self._write_timer = None
        if self.transport.get_write_buffer_size() and acknowledged_bytes(self.transport) < wanted:
            self.transport.abort()
        else:
            self._watch_reader()

    def _check_overhead(self, size: int) -> None:
        if size <= MAX_HEAD_BYTES or self._refused:
            return
        where, remedy = (
            ("Request line and headers", "send a long query with POST")
            if self._in_head
            else ("Trailers or extensions of chunks", "send the body without them")
        )
        self._refuse(431, f"{where} are longer than {MAX_HEAD_BYTES:,} bytes; {remedy}")

    def _refuse(self, status: int, detail: str) -> None:
        """Answer instead of the application, after the answers to earlier requests, and close the connection."""
        self._refused = True
        self._stop_timer()
        self._refusal = _refusal(status, detail)
        begun = self._in_message and not self._in_head  # the application has the request
        if begun and self.pipeline:
            self.pipeline.popleft()  # it still waits for its turn
        elif begun and self.cycle.response_started:
            self.transport.close()
            return
        elif begun:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            self._write_refusal()
            return
        if not self._busy():
            self._write_refusal()

    def _write_refusal(self) -> None:
        if self.transport.is_closing():
            return
        self.transport.write(self._refusal)
        self.transport.write_eof()
        self._watch_reader()
        self.loop.call_later(LINGER_SECONDS, self.transport.close)


def acknowledged_bytes(transport: asyncio.Transport) -> int:
    """Return how many bytes the other side of a TCP connection has received so far."""
    # Not a duplicate of the descriptor: silent readers are to be found also where they have taken the last one.
    descriptor = transport.get_extra_info("socket").fileno()
    connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM, fileno=descriptor)
    try:
        information = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, BYTES_ACKNOWLEDGED.size)
    finally:
        connection.detach()
    received: int = BYTES_ACKNOWLEDGED.unpack(information)[0]
    return received


def _refusal(status: int, detail: str) -> bytes:
    """Return a whole response that refuses a request."""
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
    return b"\r\n".join([*head, b"", body])
