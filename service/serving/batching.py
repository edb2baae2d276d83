"""Batches of queued requests: first come, first served; with the oldest query go a few of similar length.

A query alone cannot keep a core busy: its few tokens wait for the model's weights to come out of memory, and as many
again would cost hardly more. So where queries wait, a thread takes the oldest and a few of about its length, and they
are encoded in one call. No request starves, since the oldest is in every batch. No latency is added, since batches are
formed only from requests that are queued already. `docs/decisions/service-load.md` has the measurements.
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

from indexer.inference.encoder import Encoder, Vectors
from service.observability import metrics

log = logging.getLogger("dowse.service")

MAX_BATCH = 3
"""Queries that are encoded in one call: more gain little, and the first of them waits for the last."""
LOOKAHEAD = 6
"""Among so many of the oldest requests, similar lengths are looked for: a query of a rare length would wait too long."""
MAX_BATCH_CHARACTERS = 400
"""Of a batch, each query counted as the longest: about a hundred tokens, which keep a core busy."""


@dataclass(eq=False)
class PendingQuery:
    """A query that has to be encoded before a job can do its work; ``vector`` stays None where it is left to the job."""

    encoder: Encoder
    text: str
    vector: Vectors | None = None
    milliseconds: float = 0.0


@dataclass(eq=False)
class Job:
    """One request's work. ``abandoned`` is set where nobody waits for the answer any more."""

    work: Callable[[], bytes]
    answer: asyncio.Future[bytes]
    query: PendingQuery | None = None
    context: contextvars.Context = field(default_factory=contextvars.copy_context)
    submitted: float = field(default_factory=time.perf_counter)
    abandoned: bool = False


class JobQueue:
    """A queue of jobs between the event loop and the worker threads.

    Args:
        threads: how many take from it.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._waiting: list[Job] = []
        self._idle = threads
        self._lock = threading.Lock()
        self._signals: SimpleQueue[bool] = SimpleQueue()  # one for each job: true; to end: false

    def put(self, job: Job) -> None:
        """Add a job."""
        with self._lock:
            self._waiting.append(job)
        self._signals.put(True)

    def close(self) -> None:
        """Let every thread end once all jobs are taken."""
        for _ in range(self._threads):
            self._signals.put(False)

    def take(self) -> list[Job]:
        """Wait for work and return the oldest job with those that go with it; nothing once the queue is closed."""
        while self._signals.get():
            with self._lock:
                if self._waiting:  # else another thread has taken the job of this signal along
                    # Each idle thread gets its share of what waits.
                    share = min(MAX_BATCH, -(-len(self._waiting) // max(self._idle, 1)))
                    jobs = _batch(self._waiting, share)
                    self._idle -= 1
                    return jobs
        return []

    def done(self) -> None:
        """Say that a thread has done what it took and is about to take more."""
        with self._lock:
            self._idle += 1


def _batch(waiting: list[Job], count: int) -> list[Job]:
    """Take the first job and up to ``count - 1`` whose queries are as long as its own out of ``waiting``."""
    first = waiting.pop(0)
    if first.query is None or count == 1:
        return [first]
    encoder, length = first.query.encoder, len(first.query.text)
    similar = [job for job in waiting[:LOOKAHEAD] if job.query and job.query.encoder is encoder]
    similar.sort(key=lambda job: abs(len(job.query.text) - length) if job.query else 0)  # stable: of equals the older
    jobs = [first]
    for job in similar[: count - 1]:
        length = max(length, len(job.query.text) if job.query else 0)
        if length * (len(jobs) + 1) > MAX_BATCH_CHARACTERS:
            break
        jobs.append(job)
        waiting.remove(job)
    return jobs


def encode(jobs: Sequence[Job]) -> None:
    """Encode the queries of ``jobs`` in one call; a single one is left to its job, which can take all cores for it."""
    queries = [job.query for job in jobs if job.query and not job.abandoned]
    if not queries:
        return
    metrics.BATCH_SIZE.observe(len(queries))
    if len(queries) == 1:
        return
    started = time.perf_counter()
    try:
        vectors = queries[0].encoder.encode_batch([query.text for query in queries])
    except Exception:  # whichever cannot be encoded, its own job will say so
        log.exception("%d queries could not be encoded together", len(queries))
        return
    spent = (time.perf_counter() - started) * 1e3
    for query, vector in zip(queries, vectors, strict=True):
        query.vector, query.milliseconds = vector, spent
