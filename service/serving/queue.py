"""Who may work now: a bounded queue between the event loop and one thread per core.

A request that finds the queue full is refused at once (429) instead of making all others wait; one that is not answered
by its deadline is given up (504); one whose client has hung up is dropped before it costs anything. The threads are as
many as queries can be encoded side by side: more would only share the same cores and make each answer later.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import wraps
from typing import Any, ParamSpec, cast

from fastapi import Request
from fastapi.responses import Response
from pydantic import BaseModel
from starlette.types import Receive

from service.observability import metrics, tracing
from service.problems import Problem
from service.serving.batching import Job, Jobs, WaitingQuery, encode

log = logging.getLogger("dowse.service")

Arguments = ParamSpec("Arguments")
UNWATCHED = 0.02
"""Seconds for which nobody looks whether the client is still there: most answers are ready by then."""


class Admission:
    """Lets so many requests work and so many wait, each until its deadline.

    Args:
        threads: how many work at the same time.
        waiting: how many may wait for a thread beside those.
        deadline: seconds that a request may wait and work, together.
    """

    def __init__(self, threads: int, waiting: int, deadline: float) -> None:
        self._room = threads + waiting
        self._deadline = deadline
        self._open = 0  # touched by the event loop alone
        self._jobs = Jobs(threads)
        self._threads = [threading.Thread(target=self._serve, name=f"search-{n}", daemon=True) for n in range(threads)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let the threads end once they have finished what is queued."""
        self._jobs.close()
        for thread in self._threads:
            thread.join()

    async def run(self, work: Callable[[], bytes], receive: Receive, query: WaitingQuery | None = None) -> bytes:
        """Do ``work`` in a thread when it is this request's turn and return what it returns.

        Args:
            work: takes no arguments; its exceptions are raised here.
            receive: the request's, which tells when the client hangs up.
            query: what may be encoded with others before; the work has to look whether it was.

        Raises:
            Problem: the queue is full, the deadline has passed, or the client is gone.
        """
        if self._open >= self._room:
            metrics.REJECTED.labels("full").inc()
            detail = f"{self._open} requests are waiting or at work, which is as many as there may be; ask again in 1 s"
            raise Problem(429, "overloaded", detail, headers={"Retry-After": "1"})
        job = Job(work, asyncio.get_running_loop().create_future(), query)
        self._open += 1
        metrics.QUEUED.inc()
        self._jobs.put(job)
        try:
            return await self._answer(job, receive)
        finally:
            job.abandoned = True

    async def _answer(self, job: Job, receive: Receive) -> bytes:
        brief = min(UNWATCHED, self._deadline)
        await asyncio.wait({job.answer}, timeout=brief)
        if job.answer.done():
            return job.answer.result()
        gone = asyncio.create_task(hung_up(receive))
        awaited: set[asyncio.Future[Any]] = {job.answer, gone}
        try:
            await asyncio.wait(awaited, timeout=self._deadline - brief, return_when=asyncio.FIRST_COMPLETED)
            if job.answer.done():
                return job.answer.result()
            if gone.done():
                metrics.REJECTED.labels("client-gone").inc()
                raise Problem(499, "client-gone", "The client has closed the connection")
        finally:
            gone.cancel()
        metrics.REJECTED.labels("deadline").inc()
        raise Problem(504, "deadline", f"There was no answer within {self._deadline:g} s; ask again later")

    def _serve(self) -> None:
        while jobs := self._jobs.take():
            taken = time.perf_counter()
            for job in jobs:
                metrics.QUEUED.dec()
                metrics.QUEUE_SECONDS.observe(taken - job.submitted)
                tracing.observe_stages({"queue": (taken - job.submitted) * 1e3}, job.context)
            encode(jobs)
            while jobs:
                self._work(jobs.pop(0))
            self._jobs.done()

    def _work(self, job: Job) -> None:
        content, error = b"", None
        if not job.abandoned:
            try:
                content = job.context.run(job.work)
            except BaseException as raised:  # noqa: BLE001 - raised again where the request waits for it
                error = raised
        with suppress(RuntimeError):  # the loop has ended, and with it everybody who waited
            job.answer.get_loop().call_soon_threadsafe(self._finish, job, content, error)

    def _finish(self, job: Job, content: bytes, error: BaseException | None) -> None:
        self._open -= 1
        if job.abandoned or job.answer.done():
            if error and not isinstance(error, Problem):
                log.error("a request that nobody waited for any more has failed", exc_info=error)
        elif error:
            job.answer.set_exception(error)
        else:
            job.answer.set_result(content)


async def hung_up(receive: Receive) -> None:
    """Return when the client has closed the connection; the request's body must have been read."""
    while (await receive())["type"] != "http.disconnect":
        pass


def queued(work: Callable[Arguments, BaseModel]) -> Callable[Arguments, Awaitable[Response]]:
    """Make a route of a plain function that takes a ``request``: it is called in a thread of the `Admission`.

    Its answer becomes JSON there too, without the fields that were not set. FastAPI documents the model that the
    function says it returns, and does not check once more what was checked when the model was made.
    """
    return _route(work, lambda *_args, **_kwargs: None)


def queued_query(
    query_of: Callable[Arguments, WaitingQuery | None],
) -> Callable[[Callable[Arguments, BaseModel]], Callable[Arguments, Awaitable[Response]]]:
    """Make a `queued` route of a function whose query may be encoded together with those of other requests.

    Args:
        query_of: returns the query, given what the function is given; the function finds it again as
            ``request.scope["query"]``, with its vector if it was encoded.
    """
    return lambda work: _route(work, query_of)


def _route(
    work: Callable[Arguments, BaseModel], query_of: Callable[Arguments, WaitingQuery | None]
) -> Callable[Arguments, Awaitable[Response]]:
    @wraps(work)
    async def route(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Response:
        request = cast("Request", kwargs["request"])
        admission: Admission = request.app.state.admission
        request.scope["query"] = query = query_of(*args, **kwargs)

        def content() -> bytes:
            return work(*args, **kwargs).model_dump_json(exclude_unset=True).encode()

        answer = await admission.run(content, request.receive, query)
        return Response(answer, media_type="application/json")

    return route
