"""Around every request: an id, the last resort for errors, and headers that keep a browser careful."""

from __future__ import annotations

import re
import uuid

from fastapi import Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import problems
from service.observability import logs

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
CAREFUL = {
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"same-origin",
    # Of an answer that is no page; a page brings its own.
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
}


class Envelope:
    """ASGI middleware that gives every request an id, taken from ``X-Request-ID`` where the client sends a fit one."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        asked = Headers(scope=scope).get("x-request-id", "")
        scope["request_id"] = identity = asked if REQUEST_ID.fullmatch(asked) else uuid.uuid4().hex
        logs.REQUEST.set(identity)

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = identity
                present = {name for name, _ in headers.raw}
                headers.raw.extend(header for header in CAREFUL.items() if header[0] not in present)
            await send(message)

        await self.app(scope, receive, with_headers)


class LastResort:
    """ASGI middleware that turns what nobody expected into an answer that tells nothing of it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except Exception:
            if started:  # too late for another answer: the server closes the connection
                raise
            await problems.internal(Request(scope))(scope, receive, watched)
