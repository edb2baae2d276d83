"""A Milvus server for tests: `milvus-lite server`, in a process of its own, called over gRPC."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

PATIENCE = 120  # seconds until a start counts as failed; importing it takes most of them


class MilvusServer:
    """A server with its data in a folder; the port stays the same over restarts.

    Args:
        folder: for its data and its log.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]

    @property
    def uri(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Self:
        """Start it, and return when it listens."""
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "milvus_lite.cmdline", "server", "--data-dir", str(self._folder / "data"),
                 "--host", "127.0.0.1", "--port", str(self.port)],
                stdout=log, stderr=log,
            )  # fmt: skip
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            assert self._process.poll() is None, (self._folder / "log").read_text()[-2000:]
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            time.sleep(0.1)
        raise AssertionError("milvus-lite did not start")

    def send(self, number: signal.Signals) -> None:
        """Send a signal: SIGSTOP and SIGCONT make it slow."""
        assert self._process
        self._process.send_signal(number)

    def kill(self) -> None:
        """Kill it."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None
