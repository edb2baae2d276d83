"""Executors: what encodes the windows of a build. A pool hands them to workers, and to another one where a worker is lost.

A window is the unit, not a shard: a corpus of one shard keeps all workers busy, and a lost worker costs 1,024 passages. Only
the building process writes, so a worker needs no shared file system and nothing can be written twice. A window has the same
texts wherever it is encoded, thus the same batches, and the same vectors to the bit on the same kind of processor.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

from indexer.errors import UserError
from indexer.inference.encoder import Encoder, Vectors
from indexer.progress import say

ATTEMPTS = 3
"""Losses after which a window is given up."""
RESTART_DELAYS = 0.0, 5.0, 30.0
"""Seconds before each restart of a worker that finishes nothing in between; it takes a cluster some 20 to notice that a
machine is gone. After these it is given up."""
WINDOWS_PER_WORKER = 3
"""Windows that are under way for each worker: one that it encodes, and some that wait, or wait to be written in order."""


class Executor(Protocol):
    """Encodes the windows of a build; a context manager that ends its workers.

    Attributes:
        ahead: windows that may be under way before the oldest one is asked for.
    """

    ahead: int

    def submit(self, texts: list[str]) -> Future[Vectors]:
        """Encode texts of the corpus; the result has shape (len(texts), dimension)."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class InProcess:
    """Encodes in the building process, as soon as a window is submitted."""

    ahead = 0

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder

    def submit(self, texts: list[str]) -> Future[Vectors]:
        """Encode texts of the corpus now; what that raises is raised here."""
        result: Future[Vectors] = Future()
        result.set_result(self._encoder.encode_documents(texts))
        return result

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """There is nothing to end."""


class WorkerLost(Exception):  # noqa: N818 - it is an event that is dealt with
    """A worker is gone, and what it was doing with it. The message says how."""


class Worker(Protocol):
    """A process with an encoder. Its methods are called by one thread, but for `stop`.

    Attributes:
        name: for messages.
    """

    name: str

    def start(self) -> None:
        """Start the process, anew after a loss, and wait until it can encode; raise `WorkerLost` where it ends before."""

    def encode(self, texts: list[str]) -> Vectors:
        """Encode texts of the corpus; raise `WorkerLost` where the process ends meanwhile."""

    def stop(self) -> None:
        """End the process at once; a call that waits for it raises `WorkerLost`."""


@dataclass
class _Job:
    texts: list[str]
    result: Future[Vectors] = field(default_factory=Future)
    losses: int = 0


class Pool:
    """Hands windows to workers, each of which is served by a thread; the workers start with the first window.

    What a lost worker was encoding is encoded by the next that is free, and the worker is started again. One that is lost
    again and again without having finished anything is given up; so is a window of which three workers were lost.
    """

    def __init__(self, workers: Sequence[Worker]) -> None:
        self.ahead = WINDOWS_PER_WORKER * len(workers)
        self._workers = workers
        self._serving = len(workers)
        self._jobs: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._failure: Exception | None = None
        self._threads: list[threading.Thread] = []

    def submit(self, texts: list[str]) -> Future[Vectors]:
        """Encode texts of the corpus; the result has shape (len(texts), dimension).

        The future fails where no worker is left, or a worker raises an error.
        """
        job = _Job(texts)
        if not self._threads:
            self._threads = [threading.Thread(target=self._serve, args=(worker,)) for worker in self._workers]
            for thread in self._threads:
                thread.start()
        with self._changed:
            self._jobs.append(job)
            self._fail_waiting()
            self._changed.notify()
        return job.result

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for worker in self._workers:
            worker.stop()
        for thread in self._threads:
            thread.join()

    def _serve(self, worker: Worker) -> None:
        """Start a worker and let it encode, until the pool is closed or the worker is given up."""
        losses = 0
        while not self._closing:
            job = None
            try:
                worker.start()
                while job := self._next():
                    self._finish(job, worker)
                    job, losses = None, 0
            except WorkerLost as error:
                self._return(job)
                if losses == len(RESTART_DELAYS):
                    self._retire(worker, error)
                    break
                self._wait_to_restart(worker, error, RESTART_DELAYS[losses])
                losses += 1
            except Exception as error:  # noqa: BLE001 - a model that one cannot open the others cannot either
                self._give_up(error)
                break
        worker.stop()

    def _next(self) -> _Job | None:
        """Wait for a window; return None where the pool is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closing or self._jobs)
            return None if self._closing else self._jobs.popleft()

    def _finish(self, job: _Job, worker: Worker) -> None:
        try:
            vectors = worker.encode(job.texts)
        except WorkerLost:
            raise
        except Exception as error:  # noqa: BLE001 - it is raised where it is waited for
            job.result.set_exception(error)
        else:
            job.result.set_result(vectors)

    def _return(self, job: _Job | None) -> None:
        """Put the window of a lost worker before all others, or give it up."""
        if job is None:
            return
        job.losses += 1
        if job.losses == ATTEMPTS:
            job.result.set_exception(UserError(
                f"{ATTEMPTS} workers were lost while they encoded the same {len(job.texts)} passages; they may need more "
                "memory than there is: give fewer --workers, and build again to go on"
            ))  # fmt: skip
            return
        with self._changed:
            self._jobs.appendleft(job)
            self._changed.notify()

    def _wait_to_restart(self, worker: Worker, error: WorkerLost, seconds: float) -> None:
        with self._changed:
            if not self._closing:
                say(f"{worker.name} is lost ({error}): it is started again, and what it was encoding is encoded again")
                self._changed.wait_for(lambda: self._closing, seconds)

    def _retire(self, worker: Worker, error: WorkerLost) -> None:
        """Go on without a worker; where it was the last one, the build fails."""
        with self._changed:
            self._serving -= 1
            if self._closing:
                return
        say(f"{worker.name} is lost ({error}) again and again, and given up")
        if not self._serving:
            self._give_up(UserError(
                f"no worker is left to encode passages; the last one, {worker.name}, was lost: {error}. Remove the reason, "
                "and build again to go on"
            ))  # fmt: skip

    def _give_up(self, failure: Exception) -> None:
        with self._changed:
            self._failure = self._failure or failure
            self._fail_waiting()

    def _fail_waiting(self) -> None:
        while self._failure and self._jobs:
            self._jobs.popleft().result.set_exception(self._failure)
