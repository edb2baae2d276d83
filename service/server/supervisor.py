"""`--workers N`: processes that share a port, and a supervisor that starts, replaces and ends them.

The supervisor keeps the port and loads nothing that answers. Each worker is a program of its own (`worker.py`), so that
nothing is forked that has threads; it listens once it can answer, and dies with its supervisor, however that ends.
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
from service.observability import worker_metrics as shared_metrics
from service.settings import ServiceSettings

log = logging.getLogger("dowse.service")

END_SIGNALS = {signal.SIGTERM, signal.SIGINT}
WATCHED = {*END_SIGNALS, signal.SIGCHLD}
POLL_SECONDS = 0.2
MAX_FAILURES = 3
"""Workers that may die one after the other before they serve; then, if no other serves, the service ends."""
MAX_DELAY = 60


class Assignment(BaseModel):
    """What a worker is told, as JSON on its command line."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int = Field(description="of the worker, from 0; the one that replaces it has it again")
    folder: Path = Field(description="where the workers of one service keep what they count")
    supervisor: int = Field(description="process with which it ends")
    settings: ServiceSettings = Field(description="its part of the service's, and the port that is reserved")


def share_of(settings: ServiceSettings, number: int) -> ServiceSettings:
    """Return the settings of one worker: cores and queue are the whole service's, and each worker has its part."""
    cores = settings.cores or len(os.sched_getaffinity(0))
    workers = settings.workers
    own = cores // workers + (number < cores % workers)
    return settings.model_copy(update={"cores": max(1, own), "queue": -(-settings.queue // workers)})


def supervise(settings: ServiceSettings, reserved: socket.socket, on_start: Callable[[], None]) -> None:
    """Serve with several workers until SIGTERM or SIGINT comes and all of them have ended.

    Args:
        settings: the whole service's.
        reserved: from `listener.reserve`.
        on_start: called when the first worker serves.

    Raises:
        UserError: the workers die before they can serve.
    """
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)  # they are waited for; a handler could meet any line
    try:
        with TemporaryDirectory(prefix="dowse-workers-") as folder:
            ended_by = Supervisor(settings, reserved, Path(folder), on_start).run()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    if ended_by == signal.SIGTERM:
        signal.raise_signal(ended_by)  # so that the parent sees what it was, as it does of a service without workers


class Supervisor:
    """Keeps the workers running.

    Args:
        settings: the whole service's.
        reserved: the socket that keeps the port.
        folder: an empty one of its own, see `shared_metrics`.
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
        """When each worker that does not run is to be started."""
        self._failures = 0

    def run(self) -> signal.Signals:
        """Start and replace workers until a signal says to end; return it once all have ended."""
        while True:
            self._start()
            arrived = signal.sigtimedwait(WATCHED, POLL_SECONDS)
            if arrived and arrived.si_signo in END_SIGNALS:
                return self._end(signal.Signals(arrived.si_signo))
            if self._on_start and self._serving():
                self._on_start()
                self._on_start = None
            for number, status in self._ended():
                self._replace(number, status)

    def _start(self) -> None:
        """Start what is due: one worker alone until one serves, so that what is wrong with all is said once."""
        for number in [number for number, due in self._due.items() if due <= time.monotonic()]:
            if self._running and not self._serving():
                return
            assignment = Assignment(
                number=number,
                folder=self._folder,
                supervisor=os.getpid(),
                settings=share_of(self._settings, number),
            )
            # In a group of its own: Ctrl-C reaches the supervisor alone, and a worker is told to end once, not twice.
            self._running[number] = subprocess.Popen(  # noqa: S603 - this program once more
                [sys.executable, "-m", "service.server.worker", assignment.model_dump_json()],
                stdin=subprocess.DEVNULL,
                process_group=0,
            )
            del self._due[number]

    def _serving(self) -> bool:
        return any(shared_metrics.has_served(self._folder, number) for number in self._running)

    def _ended(self) -> list[tuple[int, int]]:
        """Return number and status of the workers that have ended since the last call."""
        ended = [
            (number, process.returncode) for number, process in self._running.items() if process.poll() is not None
        ]
        for number, _ in ended:
            del self._running[number]
        return ended

    def _replace(self, number: int, status: int) -> None:
        """Have a worker started again that has ended: at once where it had served, else after a growing while."""
        how = (
            f"was ended by signal {-status} ({signal.strsignal(-status)})"
            if status < 0
            else f"ended with status {status}"
        )
        served = shared_metrics.leave(self._folder, number)
        self._failures = 0 if served else self._failures + 1
        if not served and not self._serving():
            self._give_up_after(status, how)
        delay = 0 if served else min(2 ** (self._failures - 1), MAX_DELAY)
        when = f" before it served; another one starts in {delay} s" if delay else "; another one starts"
        log.error("worker %d %s%s", number, how, when)
        self._due[number] = time.monotonic() + delay

    def _give_up_after(self, status: int, how: str) -> None:
        """End the service, for which nobody works, if the next worker would fare no better than the last."""
        if status == EXIT_USER_ERROR:  # it has said what to do
            self._end(signal.SIGTERM)
            raise SystemExit(status)
        if self._failures >= MAX_FAILURES:
            self._end(signal.SIGTERM)
            raise UserError(
                f"--workers {self._settings.workers}: {self._failures} in a row died before they served, the last one "
                f"{how}; see the log above, and whether --workers 1 starts"
            )

    def _end(self, number: signal.Signals) -> signal.Signals:
        """Hand a signal on to all workers, and those that follow, until they have ended; return the first."""
        self._reserved.close()  # the port is free as soon as the last worker no longer listens
        arrived = int(number)
        while self._running:
            if arrived in END_SIGNALS:
                for process in self._running.values():
                    process.send_signal(arrived)
            following = signal.sigtimedwait(WATCHED, POLL_SECONDS)
            arrived = following.si_signo if following else 0
            self._ended()
        return number
