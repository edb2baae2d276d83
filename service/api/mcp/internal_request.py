"""Internal requests: call a route of the service from within a request, with the same caller and the same checks."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

from fastapi import Request
from starlette.types import Message


async def call_route(request: Request, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
    """Send a request to a route of the application that ``request`` came to; return status and JSON.

    The headers and what the middleware has set (the caller, the request's id) are those of ``request``. A key thus
    has the same rights here as in a request of its own.

    Args:
        request: the request that is being answered.
        method: GET, POST, …
        path: path of the route, percent-encoded as in a request line; only so an id can hold any character.
        body: the JSON body, if any.
    """
    content = b"" if body is None else json.dumps(body).encode()
    replaced = {b"content-type", b"content-length", b"accept"}
    headers = [(name, value) for name, value in request.scope["headers"] if name not in replaced]
    headers += [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    scope = {
        **request.scope,
        "method": method,
        "path": request.scope.get("root_path", "") + unquote(path),
        "raw_path": (request.scope.get("root_path", "") + path).encode(),
        "query_string": b"",
        "headers": headers,
        "path_params": {},
    }
    status, parts, sent = 0, [], False

    async def receive() -> Message:
        nonlocal sent
        if sent:  # the body was sent; the next message says that the client has gone
            return await request.receive()
        sent = True
        return {"type": "http.request", "body": content, "more_body": False}

    async def send(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        else:
            parts.append(message.get("body", b""))

    await request.app.router(scope, receive, send)
    return status, json.loads(b"".join(parts))
