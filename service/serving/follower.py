"""Follower of `CURRENT`: the live artifact of one kind, opened at start and replaced when another one is activated."""

from __future__ import annotations

import gc
import logging
import math
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from indexer.artifacts.manifest import Kind
from indexer.artifacts.store import CREATE_COMMANDS, KIND_NAMES, Store
from indexer.errors import UserError, is_transient
from service.problems import Problem

log = logging.getLogger("dowse.service")

RETRY_SECONDS = 30.0
"""Between attempts to open an artifact after an error of the machine; rare, because each attempt verifies all files."""

COLLECT_SECONDS = 5.0
"""After an artifact went live, until Python looks once more for circles of references to the one before."""
STOP_SECONDS = 5.0
"""How long `stop` waits; the thread ends with the process."""

Opened = TypeVar("Opened")


class Follower(Generic[Opened]):
    """Holds the live artifact of one kind open, and follows its ``CURRENT``.

    A request takes `live` once and keeps it. When an artifact cannot be opened, the previous one stays live. A damaged
    artifact is tried again once it is activated again, perhaps after a repair. After an error of the machine (too many
    open files, a full disk) it is tried again automatically.

    Attributes:
        opened: the open artifact, or None.
        reason: why none is open, and what to run.

    Args:
        kind: of artifact.
        data: the data directory.
        open_: opens the artifact in a directory and verifies it.
        poll_seconds: seconds between checks of ``CURRENT``.
    """

    def __init__(self, kind: Kind, data: Path, open_: Callable[[Path], Opened], poll_seconds: float = 1.0) -> None:
        self._store = Store(kind, data)
        self._open = open_
        self._poll_seconds = poll_seconds
        self.opened: Opened | None = None
        self.reason = ""
        self._id: str | None = None
        self._tried: tuple[str | None, int] | None = None
        self._retry_at = math.inf
        self._collect_at = math.inf
        self._reported = ""  # the last line of the log, where the attempt before this one failed
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name=f"follow-{kind}", daemon=True)

    def start(self) -> None:
        """Open the live artifact, if there is one, and follow ``CURRENT`` from now on."""
        self.refresh()
        self._thread.start()

    def stop(self) -> None:
        """Stop following; an artifact that is being opened is not waited for beyond `STOP_SECONDS`."""
        self._stop.set()
        self._thread.join(STOP_SECONDS)

    @property
    def live(self) -> Opened:
        """The open artifact.

        Raises:
            Problem: none is open; the detail says why and what to run.
        """
        if self.opened is None:
            raise Problem(503, "not-ready", self.reason)
        return self.opened

    def withdraw(self, artifact: str, error: UserError, release: Callable[[], None]) -> None:
        """Show no longer an artifact that proved to be damaged, unless another one is open by now.

        Like one that cannot be opened, it is tried again once it is activated again. ``release`` drops what else is held
        of it; nothing is opened meanwhile.
        """
        with self._lock:
            if artifact == self._id:
                self._tried, self._retry_at = self._store.activation(), math.inf
                self._id = self.opened = None
                self._explain(error)
                release()

    def refresh(self) -> None:
        """Open the live artifact unless it is open already or has failed. No error is raised: `reason` keeps it."""
        with self._lock:
            if time.monotonic() >= self._collect_at:
                self._collect_at = math.inf
                gc.collect()
            try:
                self._open_current()
            except Exception as error:  # noqa: BLE001 - `_explain` logs it; it must not keep the service from starting
                self._explain(error)
            else:
                self._reported = ""

    def _open_current(self) -> None:
        name = KIND_NAMES[self._store.kind]
        activation = self._store.activation()
        current, _ = activation
        if current is None:
            self.reason = f"There is no {name} yet; run `{CREATE_COMMANDS[self._store.kind]}`"
            return
        if current == self._id or (activation == self._tried and time.monotonic() < self._retry_at):
            return
        self._tried, self._retry_at = activation, math.inf
        self.opened = self._open(self._store.path(current))
        self._id = current
        gc.collect()  # free the previous artifact now, not at some later collection
        # Requests that were under way hold it still, and those that failed may leave it in a circle of references.
        self._collect_at = time.monotonic() + COLLECT_SECONDS
        log.info("%s %s is live", name, current)

    def _explain(self, error: Exception) -> None:
        """Set `reason` after an error; one that may pass is followed by another attempt."""
        name = KIND_NAMES[self._store.kind]
        if is_transient(error):
            self._retry_at = time.monotonic() + RETRY_SECONDS
            why = getattr(error, "strerror", None) or type(error).__name__
            self.reason = f"The {name} could not be opened ({why}); it is tried again every {RETRY_SECONDS:g} s"
            self._report(f"{str(error) or why}; the {name} is tried again, at most every {RETRY_SECONDS:g} s")
        elif isinstance(error, UserError):
            verify = self._store.command("verify")
            self.reason = f"The {name} cannot be opened; run `{verify}`, then activate or make another"
            self._report(str(error))
        else:  # it must not keep the service from starting; libraries have errors of their own for a lack of memory
            self._retry_at = time.monotonic() + RETRY_SECONDS
            self.reason = (
                f"The {name} cannot be opened; see the service's log. It is tried again every {RETRY_SECONDS:g} s"
            )
            self._report(f"opening the {name} failed; the previous one stays live", error)

    def _report(self, line: str, traceback_of: Exception | None = None) -> None:
        """Log an error, once where attempts fail in a row: `CURRENT` is looked at every second."""
        if line != self._reported:
            log.error("%s", line, exc_info=traceback_of)
        self._reported = line

    def _follow(self) -> None:
        while not self._stop.wait(self._poll_seconds):
            self.refresh()
