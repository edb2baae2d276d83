"""Bounded request queue with one worker thread per core: 429 when full, 504 at the deadline.

A request that finds the queue full is refused at once instead of making all others wait. A queued request whose client
has disconnected is dropped before it costs anything. There are as many threads as queries can be encoded in parallel:
more would share the same cores and make every answer later.

Writes are the one exception to the deadline: once a write has begun, its client gets the result, however late. A client
that gets 504 sends its write again, or does not; both would be wrong if the first one was applied meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from functools import wraps
from typing import ParamSpec, cast

from fastapi import Request
from fastapi.responses import Response
from pydantic import BaseModel
from starlette.types import Receive

from service.observability import metrics, tracing
from service.problems import Problem
from service.serving.batching import Job, JobQueue, PendingQuery, encode

log = logging.getLogger("dowse.service")

Arguments = ParamSpec("Arguments")
UNWATCHED_SECONDS = 0.02
"""How long the queue waits before it checks for a disconnect of the client: most answers are ready by then."""
STOP_SECONDS = 5.0
"""How long `RequestQueue.stop` waits for work that is under way; a write takes far less."""
ABANDONING = {"deadline", "client-gone"}
"""Kinds of problems with which the queue abandons a request that it has accepted."""


class RequestQueue:
    """Runs a bounded number of requests and lets a bounded number wait, each until its deadline.

    Args:
        threads: number of requests that run at the same time.
        waiting: number of further requests that may wait for a thread.
        deadline: seconds that a request may wait and run, together.

    Attributes:
        capacity: number of requests that may wait or run.
    """

    def __init__(self, threads: int, waiting: int, deadline: float) -> None:
        self.capacity = threads + waiting
        self._deadline = deadline
        self._open = 0  # requests that wait or run; used only on the event loop
        self._jobs = JobQueue(threads)
        self._threads = [threading.Thread(target=self._serve, name=f"search-{n}", daemon=True) for n in range(threads)]
        for thread in self._threads:
            thread.start()

    @property
    def open(self) -> int:
        """Number of requests that wait or run."""
        return self._open

    def stop(self) -> None:
        """End the threads once they have finished all queued jobs, and wait for `STOP_SECONDS` at most.

        A thread that takes longer ends with the process: nobody waits for its answer any more.
        """
        self._jobs.close()
        deadline = time.monotonic() + STOP_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        if running := sum(thread.is_alive() for thread in self._threads):
            log.warning("%d threads had not ended after %g s; they end with the process", running, STOP_SECONDS)

    async def run(self, work: Callable[[], bytes], receive: Receive, query: PendingQuery | None = None) -> bytes:
        """Run ``work`` in a thread when it is this request's turn and return what it returns.

        Args:
            work: takes no arguments; its exceptions are raised here.
            receive: of the request; it reports when the client disconnects.
            query: may be encoded in a batch before ``work`` runs; ``work`` has to check whether it was.

        Raises:
            Problem: the queue is full, the deadline has passed, or the client is gone.
        """
        if self._open >= self.capacity:
            metrics.REJECTED.labels("full").inc()
            detail = f"{self._open} requests are waiting or running, which is the maximum; ask again in 1 s"
            raise Problem(429, "overloaded", detail, headers={"Retry-After": "1"})
        loop = asyncio.get_running_loop()
        job = Job(work, loop.create_future(), query, waits=self._open >= len(self._threads))
        self._open += 1
        if job.waits:
            metrics.QUEUED.inc()
        unwatched = min(UNWATCHED_SECONDS, self._deadline)
        timer = loop.call_later(unwatched, self._watch, job, receive, self._deadline - unwatched)
        self._jobs.put(job)  # last: the thread cannot begin before this one waits
        try:
            return await job.answer
        finally:
            job.abandoned = True
            timer.cancel()
            if job.watcher:
                job.watcher.cancel()
            loop.call_soon(metrics.QUEUE_SECONDS.observe, job.waited)  # once the answer is on its way
            # A cancelled task and an error keep the frames that they passed, and these the job: in a circle with it, an index
            # that is no longer served would stay until Python looks for circles.
            job.watcher = None
            del job

    async def run_steps(self, steps: Iterator[bytes | None], receive: Receive) -> bytes:
        """Run work in several turns, with other requests in between; return the first step that is not None.

        Raises:
            Problem: as `run` does, before any of the turns.
        """
        while not (content := await self.run(lambda: next(steps) or b"", receive)):
            pass
        return content

    async def commit(self, work: Callable[[], bytes], receive: Receive) -> bytes:
        """Run ``work`` that writes: it may be abandoned while it waits, and never once it has begun.

        Raises:
            Problem: as `run` does, if the work has not begun.
        """
        commit = _Commit(work)
        try:
            return await self.run(commit, receive)
        except Problem as problem:
            if problem.kind not in ABANDONING or commit.abandon():
                raise
            return await asyncio.wrap_future(commit.outcome)

    def _watch(self, job: Job, receive: Receive, seconds: float) -> None:
        if not job.answer.done():
            job.watcher = asyncio.create_task(self._end_wait(job, receive, seconds))

    async def _end_wait(self, job: Job, receive: Receive, seconds: float) -> None:
        """Refuse a request whose client disconnects, or whose answer has not come within so many seconds."""
        disconnect = asyncio.create_task(wait_for_disconnect(receive))
        try:
            await asyncio.wait({disconnect}, timeout=seconds)
            if job.answer.done():
                return
            if disconnect.done():
                metrics.REJECTED.labels("client-gone").inc()
                job.answer.set_exception(Problem(499, "client-gone", "The client has closed the connection"))
            else:
                metrics.REJECTED.labels("deadline").inc()
                detail = f"There was no answer within {self._deadline:g} s; ask again later"
                job.answer.set_exception(Problem(504, "deadline", detail))
        finally:
            disconnect.cancel()

    def _serve(self) -> None:
        while jobs := self._jobs.take():
            started = time.perf_counter()
            for job in jobs:
                if job.waits:
                    metrics.QUEUED.dec()
                job.waited = started - job.submitted
                tracing.observe_stages({"queue": job.waited * 1e3}, job.context)
            del job  # else its request and its index would live until the next one comes
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
        with suppress(RuntimeError):  # the event loop has ended, and every request with it
            job.answer.get_loop().call_soon_threadsafe(self._finish, job, content, error)

    def _finish(self, job: Job, content: bytes, error: BaseException | None) -> None:
        self._open -= 1
        if job.abandoned or job.answer.done():
            if error and not isinstance(error, Problem):
                log.error("an abandoned request failed", exc_info=error)
        elif error:
            job.answer.set_exception(error)
        else:
            job.answer.set_result(content)


class _Commit:
    """Work that is either done or abandoned, whichever happens first.

    Attributes:
        outcome: result or exception of the work, once it has begun.
    """

    def __init__(self, work: Callable[[], bytes]) -> None:
        self.outcome: Future[bytes] = Future()
        self._work = work
        self._decided = threading.Lock()

    def abandon(self) -> bool:
        """Keep the work from being done; return False if it has begun."""
        return self._decided.acquire(blocking=False)

    def __call__(self) -> bytes:
        """Do the work, unless it was abandoned."""
        if not self._decided.acquire(blocking=False):
            return b""
        try:
            self.outcome.set_result(self._work())
        except BaseException as error:
            self.outcome.set_exception(error)
            raise
        return self.outcome.result()


async def wait_for_disconnect(receive: Receive) -> None:
    """Return when the client has closed the connection; the request's body must have been read before."""
    while (await receive())["type"] != "http.disconnect":
        pass


def queued(work: Callable[Arguments, BaseModel]) -> Callable[Arguments, Awaitable[Response]]:
    """Return a route for a plain function that takes a ``request``: it runs in a thread of the `RequestQueue`.

    The thread also serialises the returned model as JSON, without fields that were not set. FastAPI documents the
    annotated model, and does not validate the response a second time.
    """
    return _make_route(work)


def queued_commit(work: Callable[Arguments, BaseModel]) -> Callable[Arguments, Awaitable[Response]]:
    """Return a `queued` route for a function that writes, see `RequestQueue.commit`."""
    return _make_route(work, commit=True)


def queued_query(
    query: Callable[Arguments, PendingQuery | None],
) -> Callable[[Callable[Arguments, BaseModel]], Callable[Arguments, Awaitable[Response]]]:
    """Return a decorator for `queued` routes whose query may be encoded together with those of other requests.

    Args:
        query: takes the arguments of the function and returns its query, or None. The function finds it as
            ``request.scope["query"]``, with its vector if it was encoded.
    """
    return lambda work: _make_route(work, query)


def _make_route(
    work: Callable[Arguments, BaseModel],
    query: Callable[Arguments, PendingQuery | None] = lambda *_args, **_kwargs: None,
    *,
    commit: bool = False,
) -> Callable[Arguments, Awaitable[Response]]:
    @wraps(work)
    async def route(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Response:
        request = cast("Request", kwargs["request"])
        queue: RequestQueue = request.app.state.queue
        request.scope["query"] = pending = query(*args, **kwargs)

        def work_as_json() -> bytes:
            model = work(*args, **kwargs)
            return model.__pydantic_serializer__.to_json(model, exclude_unset=True)  # what `model_dump_json` decodes

        if commit:
            content = await queue.commit(work_as_json, request.receive)
        else:
            content = await queue.run(work_as_json, request.receive, pending)
        return Response(content, media_type="application/json")

    return route
