"""Body of a request, read within a limit of size and a limit of time before any route sees the request; its address."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import suppress
from typing import Any
from urllib.parse import unquote_to_bytes

from starlette.datastructures import Headers
from starlette.types import Message, Receive

from indexer import strict_json
from service.problems import Problem, ProblemField, invalid

CLOSE = {"Connection": "close"}
"""Header of a refusal while the body is still arriving: the rest of the body is not read."""


LONG_BODY = 64_000
"""Bytes of a body that is checked in a thread: the event loop would stand still meanwhile."""
SURROGATE = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
WHOLE_TEXT = re.compile(
    rb"(?:[^\\]++|\\[^u]|\\u(?![dD][89a-fA-F])|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})*+"
)
"""JSON up to the first half of a surrogate pair without the other."""


def check_address(raw_path: bytes, query: bytes) -> None:
    """Check that the path and the query of a request are UTF-8 once they are decoded.

    Libraries replace other bytes by U+FFFD, and so reach a document that was not named, or search for other words.

    Raises:
        Problem: 400, one of them is not UTF-8.
    """
    for part, name in ((raw_path, "path"), (query, "query")):
        try:
            unquote_to_bytes(part).decode()
        except UnicodeDecodeError as error:
            detail = f"The {name} of the request is not UTF-8: {error.reason}; percent-encode its UTF-8 bytes"
            raise Problem(400, "http", detail) from None


class ClientGone(Exception):  # noqa: N818 - not an error of the service
    """The client disconnected before its request was complete."""


class ReadBody:
    """A body that was read, as the `receive` of its request: it replays the body in one message.

    Args:
        content: the whole body.
        value: the JSON value of ``content``; None where it is no object or list.
        receive: what follows after the body.
    """

    def __init__(self, content: bytes, value: Any, receive: Receive) -> None:
        self.value = value
        self._message: Message | None = {"type": "http.request", "body": content, "more_body": False}
        self._receive = receive

    async def __call__(self) -> Message:
        """Return the body, and after that what the connection brings."""
        if self._message is None:
            return await self._receive()
        message, self._message = self._message, None
        return message


async def read_body(headers: Headers, receive: Receive, limit: int, seconds: float) -> ReadBody:
    """Read a body of at most ``limit`` bytes and return a `receive` that replays it.

    Raises:
        Problem: 413 if the body is longer: at once if its Content-Length says so, else when the limit is exceeded. 408
            if it has not arrived within ``seconds``. 422 if an object of a JSON body has a key twice. As `check_text` does.
        ClientGone: the client has disconnected.
    """
    length = headers.get("content-length", "")
    if length.isdecimal() and int(length) > limit:
        raise _too_large(limit)
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
                    raise _too_large(limit)
                more = message.get("more_body", False)
    except TimeoutError:
        detail = f"The body did not arrive within {seconds:g} seconds; send it without pauses"
        raise Problem(408, "timeout", detail, headers=CLOSE) from None
    content = b"".join(chunks)
    check_text(content)
    return ReadBody(content, await _parsed(content), receive)


def _too_large(limit: int) -> Problem:
    detail = f"The body is longer than the {limit:,} bytes that this route accepts; send less"
    return Problem(413, "too-large", detail, headers=CLOSE)


async def _parsed(content: bytes) -> Any:
    """Return the object or list of a JSON body; None for another body, which is left to its route.

    Raises:
        Problem: 422, an object has a key twice.
    """
    if not content.lstrip().startswith((b"{", b"[")):
        return None
    try:
        with suppress(json.JSONDecodeError, UnicodeDecodeError, RecursionError):
            if len(content) > LONG_BODY:
                return await asyncio.to_thread(strict_json.loads, content)
            return strict_json.loads(content)
    except strict_json.DuplicateKeyError as error:
        field = ProblemField(field="body", message=str(error))
        raise Problem(422, "invalid-request", f"body: {error}", [field]) from None
    except ValueError:  # a number of thousands of digits
        pass
    return None


def check_text(body: bytes) -> None:
    """Check that every string of a JSON body is text, before any route parses it.

    Python's parser also reads what is no text: halves of surrogate pairs, which cannot be encoded again.

    Raises:
        Problem: 400, the body is not UTF-8; 422, a string has half of a surrogate pair.
    """
    try:
        body.decode()
    except UnicodeDecodeError as error:
        detail = f"The body is not UTF-8: {error.reason} at byte {error.start:,}; send JSON in UTF-8"
        raise Problem(400, "http", detail) from None
    if b"\0" in body:
        raise Problem(400, "http", "The body has NUL bytes, as UTF-16 and UTF-32 do; send JSON in UTF-8")
    if SURROGATE.search(body) and (position := WHOLE_TEXT.match(body).end()) < len(body):  # type: ignore[union-attr]
        escape = body[position : position + 6]
        if SURROGATE.match(escape):
            raise invalid(
                "body", f"{escape.decode()} at byte {position:,} is half of a surrogate pair; send both halves"
            )
