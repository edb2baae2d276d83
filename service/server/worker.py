"""Worker process of `--workers N`, started by the supervisor: `python -m service.server.worker ASSIGNMENT`."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

from indexer.errors import run
from service.observability import logs, worker_metrics
from service.server import listener
from service.server.supervisor import Assignment

PR_SET_PDEATHSIG = 1
"""Option of `prctl(2)`: the signal that this process gets when its parent dies."""


def run_worker(assignment: Assignment) -> None:
    """Serve on the reserved port until a signal arrives.

    Raises:
        UserError: a setting is wrong; the message names the flag.
    """
    die_with_parent(assignment.supervisor)
    # Until the server handles signals, they end the process without a traceback. The supervisor blocks the signals for
    # which it waits, and a child process inherits that.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    logs.configure(assignment.settings.log_format)
    worker_metrics.use_folder(assignment.folder, assignment.number)
    from service.app import create_app  # only now: this import creates the metrics, in the folder
    from service.server.server import Server

    settings = assignment.settings
    application = create_app(settings)
    application.state.workers_folder = assignment.folder
    server = Server(
        application,
        settings.drain_seconds,
        on_start=lambda: worker_metrics.mark_serving(assignment.folder, assignment.number),
    )
    server.run(sockets=[listener.bind_shared(settings.host, settings.port)])


def die_with_parent(supervisor: int) -> None:
    """Have the kernel end this process as soon as the supervisor dies, whatever either of them is doing."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != supervisor:  # it died before the call above
        sys.exit(1)


if __name__ == "__main__":
    run(lambda **_: run_worker(Assignment.model_validate_json(sys.argv[1])))
