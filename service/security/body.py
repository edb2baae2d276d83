"""The body of a request, read before anything else sees it: not beyond its limit, and not for longer than it may take."""

from __future__ import annotations

import asyncio

from starlette.datastructures import Headers
from starlette.types import Message, Receive

from service.problems import Problem

CLOSE = {"Connection": "close"}
"""With a refusal while the body is still under way: nobody will read the rest of it."""


class ClientGone(Exception):  # noqa: N818 - nothing went wrong here
    """The client hung up before its request was whole."""


async def read_body(headers: Headers, receive: Receive, limit: int, seconds: float) -> Receive:
    """Read a body of at most ``limit`` bytes and return a `receive` that gives it at once.

    Raises:
        Problem: 413 where it is longer, by its Content-Length before a byte is read, else as soon as it is; 408 where
            it has not come within ``seconds``.
        ClientGone: nobody is there to be answered.
    """
    too_large = Problem(
        413, "too-large", f"The body is longer than the {limit:,} bytes that this route takes; send less", headers=CLOSE
    )
    length = headers.get("content-length", "")
    if length.isdecimal() and int(length) > limit:
        raise too_large
    parts, size = [], 0
    try:
        async with asyncio.timeout(seconds):
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGone
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                if size > limit:
                    raise too_large
                more = message.get("more_body", False)
    except TimeoutError:
        detail = f"The body did not come within {seconds:g} seconds; send it at once"
        raise Problem(408, "timeout", detail, headers=CLOSE) from None
    body: Message | None = {"type": "http.request", "body": b"".join(parts), "more_body": False}

    async def replay() -> Message:
        nonlocal body
        if body is None:
            return await receive()
        message, body = body, None
        return message

    return replay
