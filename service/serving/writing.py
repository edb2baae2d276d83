"""Writes in the queue: each is either done and answered, or refused and not done, whatever the deadline says.

Whoever hears 504 sends a write again, or does not; both are wrong where the first one was applied meanwhile. So a write
is given up while it waits, as everything is; once it has begun, its client hears what became of it, however late.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from functools import wraps
from typing import ParamSpec, cast

from fastapi import Request
from fastapi.responses import Response
from pydantic import BaseModel
from starlette.types import Receive

from service.problems import Problem
from service.serving.queue import Admission

Arguments = ParamSpec("Arguments")
GIVEN_UP = {"deadline", "client-gone"}
"""Kinds of problems with which the queue lets go of a request that it has let in."""


class Write:
    """Work that is either done or given up, whichever is decided first.

    Attributes:
        outcome: what the work returned or raised, once it was begun.
    """

    def __init__(self, work: Callable[[], bytes]) -> None:
        self.outcome: Future[bytes] = Future()
        self._work = work
        self._decided = threading.Lock()

    def give_up(self) -> bool:
        """Keep the work from being done; return False where it has begun."""
        return self._decided.acquire(blocking=False)

    def __call__(self) -> bytes:
        """Do the work, unless it was given up."""
        if not self._decided.acquire(blocking=False):
            return b""
        try:
            self.outcome.set_result(self._work())
        except BaseException as error:
            self.outcome.set_exception(error)
            raise
        return self.outcome.result()


async def write(admission: Admission, work: Callable[[], bytes], receive: Receive) -> bytes:
    """Do ``work`` in a thread of the ``admission`` when it is this request's turn and return what it returns.

    Args:
        admission: the queue.
        work: takes no arguments; its exceptions are raised here.
        receive: the request's, which tells when the client hangs up.

    Raises:
        Problem: the queue is full, or the deadline has passed or the client has gone before the work was begun.
    """
    begun = Write(work)
    try:
        return await admission.run(begun, receive)
    except Problem as problem:
        if problem.kind not in GIVEN_UP or begun.give_up():
            raise
        return await asyncio.wrap_future(begun.outcome)


def queued_write(work: Callable[Arguments, BaseModel]) -> Callable[Arguments, Awaitable[Response]]:
    """Make a route of a plain function that takes a ``request`` and changes something, as `admission.queued` does."""

    @wraps(work)
    async def route(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Response:
        request = cast("Request", kwargs["request"])

        def content() -> bytes:
            return work(*args, **kwargs).model_dump_json(exclude_unset=True).encode()

        answer = await write(request.app.state.admission, content, request.receive)
        return Response(answer, media_type="application/json")

    return route
