"""A running `python -m service` for a measurement: its URL, its log, and a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

ROOT = Path(__file__).parents[1]


class ServiceProcess:
    """The program over a data directory, on a free port.

    Attributes:
        url: where it answers.
        log: the lines of its log so far.
    """

    def __init__(self, data: Path, *options: str) -> None:
        self.log: list[str] = []
        environment = {name: value for name, value in os.environ.items() if not name.startswith("DOWSE_")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "service", "--port", "0", *options],
            cwd=ROOT, env=environment | {"DOWSE_DATA": str(data)}, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.url = ""
        for line in self.process.stderr or ():
            if line.startswith("http"):
                self.url = line.split()[0]
                break
            self.log.append(line)
        if not self.url:
            raise RuntimeError("the service did not start:\n" + "".join(self.log))
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def port(self) -> int:
        """Its port."""
        return int(self.url.rpartition(":")[2])

    @property
    def tracebacks(self) -> list[str]:
        """The end of each traceback in the log, from its first line on."""
        log = "".join(self.log)
        return log.split("Traceback (most recent call last):")[1:]

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send a signal and wait for the end."""
        self.process.send_signal(number)
        self.process.wait(60)
        self._reader.join(10)

    def _read(self) -> None:
        self.log.extend(self.process.stderr or ())
