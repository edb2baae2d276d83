"""One of several workers. Only the supervisor starts it: `python -m service.server.worker ASSIGNMENT`."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

from indexer.errors import run
from service.observability import logs
from service.observability import worker_metrics as shared_metrics
from service.server import listener
from service.server.supervisor import Assignment

PR_SET_PDEATHSIG = 1
"""`prctl(2)`: the signal that this process gets when its parent has died."""


def run_worker(assignment: Assignment) -> None:
    """Serve at the reserved port until a signal comes.

    Raises:
        UserError: a setting is wrong; the message names the flag.
    """
    die_with_parent(assignment.supervisor)
    # Until the server takes them, signals end the process without a traceback. The supervisor blocks those for which
    # it waits, and a child inherits that.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    logs.configure(assignment.settings.log_format)
    shared_metrics.use_folder(assignment.folder, assignment.number)
    from service.app import create_app  # makes the metrics
    from service.server.server import Server

    settings = assignment.settings
    application = create_app(settings)
    application.state.metrics_folder = assignment.folder
    server = Server(
        application,
        settings.drain_seconds,
        on_start=lambda: shared_metrics.join(assignment.folder, assignment.number),
    )
    server.run(sockets=[listener.shared(settings.host, settings.port)])


def die_with_parent(supervisor: int) -> None:
    """Let the kernel end this process as soon as the supervisor is dead, whatever either of them is doing."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != supervisor:  # it died before it was asked for
        sys.exit(1)


if __name__ == "__main__":
    run(lambda **_: run_worker(Assignment.model_validate_json(sys.argv[1])))
