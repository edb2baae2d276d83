"""Supervisor of `--workers N`: it starts, replaces and ends the worker processes, which share a port.

The supervisor holds the port and imports none of the code that answers. Each worker is a program of its own (`worker.py`):
a process with threads must not be forked. A worker listens once it can answer, and the kernel ends it when the
supervisor has died, for whatever reason.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import BaseModel, ConfigDict, Field

from indexer.errors import EXIT_USER_ERROR, UserError
from service.observability import worker_metrics
from service.settings import ServiceSettings

log = logging.getLogger("dowse.service")

END_SIGNALS = {signal.SIGTERM, signal.SIGINT}
HANDLED_SIGNALS = {*END_SIGNALS, signal.SIGCHLD}
POLL_SECONDS = 0.2
"""How often to check whether a worker serves or is due to start, when no signal arrives."""
MAX_FAILURES = 3
"""Workers in a row that may end before they serve; then, if no other worker serves, the service ends."""
MAX_DELAY_SECONDS = 60
"""Longest delay before a worker that ended before it served is started again."""


class Assignment(BaseModel):
    """Parameters of one worker, as JSON on its command line."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int = Field(description="of the worker, from 0; its replacement has the same one")
    folder: Path = Field(description="what all workers share: their metrics (`worker_metrics`), outcomes of re-ranking")
    supervisor: int = Field(description="process id of the supervisor; the worker ends when that process does")
    settings: ServiceSettings = Field(description="with the worker's share of cores and queue, and the reserved port")


def settings_of_worker(settings: ServiceSettings, number: int) -> ServiceSettings:
    """Return the settings of one worker: the service's, with its share of the cores and of the queue."""
    cores = settings.cores or len(os.sched_getaffinity(0))
    workers = settings.workers
    share = cores // workers + (number < cores % workers)
    return settings.model_copy(update={"cores": max(1, share), "queue": -(-settings.queue // workers)})


def supervise(settings: ServiceSettings, reserved: socket.socket, on_start: Callable[[], None]) -> None:
    """Serve with several workers until SIGTERM or SIGINT arrives and all of them have ended.

    Args:
        settings: of the service.
        reserved: from `listener.reserve`.
        on_start: called when the first worker serves.

    Raises:
        UserError: the workers end before they can serve.
    """
    # `sigtimedwait` receives the blocked signals; a handler could interrupt any line.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED_SIGNALS)
    try:
        with TemporaryDirectory(prefix="dowse-workers-") as folder:
            ended_by = Supervisor(settings, reserved, Path(folder), on_start).run()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    if ended_by == signal.SIGTERM:
        signal.raise_signal(ended_by)  # the parent process sees the signal, as it does with a single process


class Supervisor:
    """Keeps the workers running.

    Args:
        settings: of the service.
        reserved: the socket that holds the port.
        folder: an empty folder for what the workers share.
        on_start: called when the first worker serves.
    """

    def __init__(
        self, settings: ServiceSettings, reserved: socket.socket, folder: Path, on_start: Callable[[], None]
    ) -> None:
        self._settings = settings.model_copy(update={"port": reserved.getsockname()[1]})
        self._reserved = reserved
        self._folder = folder
        self._on_start: Callable[[], None] | None = on_start
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self._due = dict.fromkeys(range(settings.workers), 0.0)
        """Number of each worker that does not run → when to start it."""
        self._failures = 0

    def run(self) -> signal.Signals:
        """Start and replace workers until an end signal arrives; return it once all workers have ended."""
        while True:
            self._start_due()
            received = signal.sigtimedwait(HANDLED_SIGNALS, POLL_SECONDS)
            if received and received.si_signo in END_SIGNALS:
                return self._end(signal.Signals(received.si_signo))
            if self._on_start and self._is_serving():
                self._on_start()
                self._on_start = None
            for number, status in self._reap():
                self._schedule_restart(number, status)

    def _start_due(self) -> None:
        """Start the workers that are due; until one serves, only one, so an error that all have is reported once."""
        for number in [number for number, due in self._due.items() if due <= time.monotonic()]:
            if self._running and not self._is_serving():
                return
            assignment = Assignment(
                number=number,
                folder=self._folder,
                supervisor=os.getpid(),
                settings=settings_of_worker(self._settings, number),
            )
            # In its own process group: Ctrl-C reaches only the supervisor, so a worker gets the signal once, not twice.
            self._running[number] = subprocess.Popen(  # noqa: S603 - a program of this package
                [sys.executable, "-m", "service.server.worker", assignment.model_dump_json()],
                stdin=subprocess.DEVNULL,
                process_group=0,
            )
            del self._due[number]

    def _is_serving(self) -> bool:
        return any(worker_metrics.has_served(self._folder, number) for number in self._running)

    def _reap(self) -> list[tuple[int, int]]:
        """Return number and exit status of the workers that have ended since the last call."""
        ended = [
            (number, process.returncode) for number, process in self._running.items() if process.poll() is not None
        ]
        for number, _ in ended:
            del self._running[number]
        return ended

    def _schedule_restart(self, number: int, status: int) -> None:
        """Schedule the restart of an ended worker: at once if it had served, else after a delay that doubles."""
        how = (
            f"was ended by signal {-status} ({signal.strsignal(-status)})"
            if status < 0
            else f"ended with status {status}"
        )
        served = worker_metrics.mark_ended(self._folder, number)
        self._failures = 0 if served else self._failures + 1
        if not served and not self._is_serving():
            self._check_failures(status, how)
        delay = 0 if served else min(2 ** (self._failures - 1), MAX_DELAY_SECONDS)
        when = f" before it served; another one starts in {delay} s" if delay else "; another one starts"
        log.error("worker %d %s%s", number, how, when)
        self._due[number] = time.monotonic() + delay

    def _check_failures(self, status: int, how: str) -> None:
        """End the service, of which no worker serves, if the next worker would fail like the last ones.

        Raises:
            SystemExit: the worker reported a `UserError`.
            UserError: too many workers in a row ended before they served.
        """
        if status == EXIT_USER_ERROR:  # the worker has printed the remedy
            self._end(signal.SIGTERM)
            raise SystemExit(status)
        if self._failures >= MAX_FAILURES:
            self._end(signal.SIGTERM)
            raise UserError(
                f"--workers {self._settings.workers}: {self._failures} workers in a row ended before they served, the "
                f"last one {how}; see the log above, and try --workers 1"
            )

    def _end(self, first: signal.Signals) -> signal.Signals:
        """Forward a signal to all workers, and every later one, until they have ended; return the first."""
        self._reserved.close()  # the port is free as soon as the last worker stops listening
        number = int(first)
        while self._running:
            if number in END_SIGNALS:
                for process in self._running.values():
                    process.send_signal(number)
            received = signal.sigtimedwait(HANDLED_SIGNALS, POLL_SECONDS)
            number = received.si_signo if received else 0
            self._reap()
        return first
