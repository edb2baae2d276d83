"""Body of a request, read within a limit of size and a limit of time before any route sees the request."""

from __future__ import annotations

import asyncio

from starlette.datastructures import Headers
from starlette.types import Message, Receive

from service.problems import Problem

CLOSE = {"Connection": "close"}
"""Header of a refusal while the body is still arriving: the rest of the body is not read."""


class ClientGone(Exception):  # noqa: N818 - not an error of the service
    """The client disconnected before its request was complete."""


async def read_body(headers: Headers, receive: Receive, limit: int, seconds: float) -> Receive:
    """Read a body of at most ``limit`` bytes and return a `receive` that replays it in one message.

    Raises:
        Problem: 413 if the body is longer: at once if its Content-Length says so, else when the limit is exceeded. 408
            if it has not arrived within ``seconds``.
        ClientGone: the client has disconnected.
    """
    too_large = Problem(
        413,
        "too-large",
        f"The body is longer than the {limit:,} bytes that this route accepts; send less",
        headers=CLOSE,
    )
    length = headers.get("content-length", "")
    if length.isdecimal() and int(length) > limit:
        raise too_large
    chunks, size = [], 0
    try:
        async with asyncio.timeout(seconds):
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGone
                chunks.append(message.get("body", b""))
                size += len(chunks[-1])
                if size > limit:
                    raise too_large
                more = message.get("more_body", False)
    except TimeoutError:
        detail = f"The body did not arrive within {seconds:g} seconds; send it without pauses"
        raise Problem(408, "timeout", detail, headers=CLOSE) from None
    body: Message | None = {"type": "http.request", "body": b"".join(chunks), "more_body": False}

    async def replay() -> Message:
        nonlocal body
        if body is None:
            return await receive()
        message, body = body, None
        return message

    return replay
