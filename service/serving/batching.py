"""Batches of queued requests: the oldest query is encoded together with a few of similar length.

One query cannot keep a core busy: its few tokens wait for the model's weights to be read from memory, and as many tokens
again would cost hardly more. So while queries wait, a thread takes the oldest and a few of about its length, and encodes
them in one call, if that gives each the vector that it has alone, to the bit: an answer does not depend on who else
asks. No request starves: the oldest is in every batch. No latency is added: batches are formed only from requests that
are queued already. `docs/decisions/service-load.md` has the measurements.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue

from indexer.cache import owner
from indexer.inference.encoder import Encoder, Vectors
from service.observability import metrics

log = logging.getLogger("dowse.service")

MAX_BATCH = 3
"""Queries encoded in one call: more gain little, and the first of them waits for the last."""
LOOKAHEAD = 4
"""Number of the oldest requests among which similar lengths are looked for: with more, rare lengths wait too long."""
MAX_BATCH_CHARACTERS = 400
"""Of a batch, each query counted as long as the longest: about a hundred tokens, which keep a core busy."""


@dataclass(eq=False)
class PendingQuery:
    """A query that a job needs encoded; ``vector`` is None until then, and stays None if the job has to encode it.

    Attributes:
        owner: for whom; queries of different owners are never encoded together, or one would see another's timings.
    """

    encoder: Encoder
    text: str
    vector: Vectors | None = None
    milliseconds: float = 0.0
    owner: str = field(default_factory=owner.get)


@dataclass(eq=False)
class Job:
    """The work of one request.

    Attributes:
        abandoned: set when no client waits for the answer any more.
        waits: whether all threads were busy when it came.
        waited: seconds until a thread took it.
        watcher: ends the wait for the answer when the client disconnects, or at the deadline.
    """

    work: Callable[[], bytes]
    answer: asyncio.Future[bytes]
    query: PendingQuery | None = None
    context: contextvars.Context = field(default_factory=contextvars.copy_context)
    submitted: float = field(default_factory=time.perf_counter)
    abandoned: bool = False
    waits: bool = False
    waited: float = 0.0
    watcher: asyncio.Task[None] | None = None


class JobQueue:
    """A queue of jobs between the event loop and the worker threads.

    Args:
        threads: number of threads that take jobs.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._waiting: list[Job] = []
        self._idle = threads
        self._lock = threading.Lock()
        self._signals: SimpleQueue[bool] = SimpleQueue()  # True for each job that was put, False to end a thread

    def put(self, job: Job) -> None:
        """Add a job."""
        with self._lock:
            self._waiting.append(job)
        self._signals.put(True)

    def close(self) -> None:
        """End every thread once all jobs are taken."""
        for _ in range(self._threads):
            self._signals.put(False)

    def take(self) -> list[Job]:
        """Wait for work and return a batch with the oldest job; an empty one once the queue is closed."""
        while self._signals.get():
            with self._lock:
                if self._waiting:  # else the job of this signal is in a batch of another thread
                    # Each idle thread gets its share of the waiting jobs.
                    share = min(MAX_BATCH, -(-len(self._waiting) // max(self._idle, 1)))
                    jobs = _take_batch(self._waiting, share)
                    self._idle -= 1
                    return jobs
        return []

    def done(self) -> None:
        """Record that a thread has finished its batch and is about to take another."""
        with self._lock:
            self._idle += 1


def _take_batch(waiting: list[Job], count: int) -> list[Job]:
    """Remove the first job of ``waiting`` and up to ``count - 1`` with queries of similar length; return them."""
    first = waiting.pop(0)
    if first.query is None or count == 1 or not first.query.encoder.batches_exactly:
        return [first]
    encoder, length, whose = first.query.encoder, len(first.query.text), first.query.owner
    queries = [job for job in waiting[:LOOKAHEAD] if job.query and job.query.encoder is encoder]
    similar = [job for job in queries if job.query and job.query.owner == whose]
    similar.sort(key=lambda job: abs(len(job.query.text) - length) if job.query else 0)  # stable: older jobs first
    jobs = [first]
    for job in similar[: count - 1]:
        length = max(length, len(job.query.text) if job.query else 0)
        if length * (len(jobs) + 1) > MAX_BATCH_CHARACTERS:
            break
        jobs.append(job)
        waiting.remove(job)
    return jobs


def encode(jobs: Sequence[Job]) -> None:
    """Encode the queries of ``jobs`` in one call; a single query is left to its job, which can use all cores."""
    queries = [job.query for job in jobs if job.query and not job.abandoned]
    if not queries:
        return
    metrics.BATCH_SIZE.observe(len(queries))
    if len(queries) == 1:
        return
    started = time.perf_counter()
    try:
        context = contextvars.copy_context()
        context.run(owner.set, queries[0].owner)
        vectors = context.run(queries[0].encoder.encode_batch, [query.text for query in queries])
    except Exception:  # each job encodes its own query then, and reports its own error
        log.exception("%d queries could not be encoded together", len(queries))
        return
    milliseconds = (time.perf_counter() - started) * 1e3
    for query, vector in zip(queries, vectors, strict=True):
        query.vector, query.milliseconds = vector, milliseconds
