"""Ask the service's own routes from within a request: with the same caller, the same checks and the same answers."""

from __future__ import annotations

import json
from typing import Any

from fastapi import Request
from starlette.types import Message


async def call_route(request: Request, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
    """Send a request to a route of the application that ``request`` came to; return status and JSON.

    Headers and whatever the layers before the routes have found out (the caller, the request's id) are those of
    ``request``, so that a key sees through here what it sees there, and nothing else.

    Args:
        request: the one that is being answered.
        method: GET, POST, …
        path: of the route, with its parameters as they are (not percent-encoded).
        body: what to send as JSON, if anything.
    """
    content = b"" if body is None else json.dumps(body).encode()
    replaced = {b"content-type", b"content-length", b"accept"}
    headers = [(name, value) for name, value in request.scope["headers"] if name not in replaced]
    headers += [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    scope = {
        **request.scope,
        "method": method,
        "path": path,
        "raw_path": None,
        "query_string": b"",
        "headers": headers,
        "path_params": {},
    }
    status, parts, sent = 0, [], False

    async def receive() -> Message:
        nonlocal sent
        if sent:  # from now on there is only to hear that the client has gone
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
