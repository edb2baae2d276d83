"""Jobs of the request queue: the work of one request each, taken by the threads in the order in which they came."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import SimpleQueue


@dataclass(eq=False)
class Job:
    """The work of one request. ``abandoned`` is set when no client waits for the answer any more."""

    work: Callable[[], bytes]
    answer: asyncio.Future[bytes]
    context: contextvars.Context = field(default_factory=contextvars.copy_context)
    submitted: float = field(default_factory=time.perf_counter)
    abandoned: bool = False


class JobQueue:
    """A queue of jobs between the event loop and the worker threads.

    Args:
        threads: number of threads that take jobs.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._waiting: SimpleQueue[Job | None] = SimpleQueue()  # None ends a thread

    def put(self, job: Job) -> None:
        """Add a job."""
        self._waiting.put(job)

    def close(self) -> None:
        """End every thread once all jobs are taken."""
        for _ in range(self._threads):
            self._waiting.put(None)

    def take(self) -> Job | None:
        """Wait for a job and return it; None once the queue is closed."""
        return self._waiting.get()
