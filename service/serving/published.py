"""What is live of one kind of artifact: opened at start, replaced when another one is published.

For models that stand by themselves; the index, which pins its model, has `searcher.py`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from indexer.artifacts.manifest import Kind, Manifest
from indexer.artifacts.store import MAKERS, NAMES, Store
from indexer.errors import UserError
from service.problems import Problem

log = logging.getLogger("dowse.service")

Opened = TypeVar("Opened")


class Published(Generic[Opened]):
    """Holds what `open_` made of the live artifact of one kind, and follows its ``CURRENT``.

    A request takes `live` once and keeps it. An artifact that cannot be opened leaves the one before in place.

    Attributes:
        opened: what is open, or None.
        reason: why nothing is, and what to run.
    """

    def __init__(
        self, kind: Kind, data: Path, open_: Callable[[Path, Manifest], Opened], poll_seconds: float = 1.0
    ) -> None:
        self._store = Store(kind, data)
        self._open = open_
        self._poll_seconds = poll_seconds
        self.opened: Opened | None = None
        self._activated: tuple[str, int] | None = None
        self.reason = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name=f"follow-{kind}", daemon=True)

    def start(self) -> None:
        """Open what is live, if anything is, and follow what is published."""
        self._look()
        self._thread.start()

    def stop(self) -> None:
        """Stop following."""
        self._stop.set()
        self._thread.join()

    @property
    def live(self) -> Opened:
        """What is open.

        Raises:
            Problem: there is none; the detail says why and what to run.
        """
        if self.opened is None:
            raise Problem(503, "not-ready", self.reason)
        return self.opened

    def refresh(self) -> None:
        """Open the live artifact unless it is the one that is open, or one that was refused already."""
        kind = self._store.kind
        try:
            current = self._store.current_id()
            if current is None:
                self.reason = f"There is no {NAMES[kind]} yet; run `{MAKERS[kind]}`"
                return
            activated = (current, self._store.activated())
            if activated == self._activated:
                return
            self._activated = activated  # once, until `activate` is called again, perhaps after a repair
            manifest = self._store.verify(current)
            self.opened = self._open(self._store.path(current), manifest)
            log.info("%s %s", NAMES[kind], current)
        except (UserError, OSError) as error:
            self.reason = f"The {NAMES[kind]} cannot be opened; run `{MAKERS[kind]}` again"
            log.error("%s", error)  # noqa: TRY400 - the message says all that a traceback could

    def _look(self) -> None:
        try:
            self.refresh()
        except Exception:  # it must not keep the service, which does without, from starting
            self.reason = f"The {NAMES[self._store.kind]} cannot be opened; see the service's log"
            log.exception("opening the %s failed; the one before stays", NAMES[self._store.kind])

    def _follow(self) -> None:
        while not self._stop.wait(self._poll_seconds):
            self._look()
