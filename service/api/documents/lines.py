"""Lines of a request's body that arrives in pieces, in bounded memory and only as fast as they are taken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from starlette.types import Receive

from service.problems import Problem
from service.security.body import ClientGone

IDLE_SECONDS = 0.2
"""After which a client counts as waiting for what it has sent."""


class TooLong:
    """In place of a line that is longer than a line may be."""


async def read_lines(receive: Receive, longest: int, seconds: float) -> AsyncIterator[bytes | TooLong | None]:
    """Yield the lines of a body without their ends; None when nothing has arrived for `IDLE_SECONDS`.

    Nothing is read while a line is being dealt with: the client has to wait then.

    Args:
        receive: of the request.
        longest: bytes of a line, at most; of a longer one no more is kept.
        seconds: within which the next piece of the body must arrive.

    Raises:
        Problem: 408, nothing has arrived in time.
        ClientGone: the client has disconnected.
    """
    rest, skipping, more = b"", False, True
    while more:
        piece = asyncio.ensure_future(receive())
        try:
            if not (await asyncio.wait({piece}, timeout=min(IDLE_SECONDS, seconds)))[0]:
                yield None
                await asyncio.wait({piece}, timeout=max(seconds - IDLE_SECONDS, 0))
            if not piece.done():
                detail = f"Nothing arrived within {seconds:g} seconds; send the rest without pauses"
                raise Problem(408, "timeout", detail)
        finally:
            piece.cancel()
        message = piece.result()
        if message["type"] == "http.disconnect":
            raise ClientGone
        more = message.get("more_body", False)
        first, *lines = message.get("body", b"").split(b"\n")
        rest = b"" if skipping else rest + first
        for line in lines:
            yield TooLong() if skipping or len(rest) > longest else rest
            rest, skipping = line, False
        if len(rest) > longest:
            rest, skipping = b"", True
    if skipping or rest:
        yield TooLong() if skipping else rest
