"""uvicorn, which a signal ends in an order that load balancers can follow: not ready, then no new connections, then out."""

from __future__ import annotations

import threading
import time
from types import FrameType

import uvicorn


class Server(uvicorn.Server):
    """A uvicorn server that drains.

    Args:
        config: uvicorn's.
        draining: set at the first signal; `/readyz` says 503 from then on.
        drain_seconds: how long all else goes on after that; a second signal cuts it short.
    """

    def __init__(self, config: uvicorn.Config, draining: threading.Event, drain_seconds: float) -> None:
        super().__init__(config)
        self._draining = draining
        self._drain_seconds = drain_seconds
        self._first: tuple[int, FrameType | None, float] | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take a signal: begin to drain, or end."""
        if self._drain_seconds and not self._draining.is_set():
            self._draining.set()
            self._first = sig, frame, time.monotonic() + self._drain_seconds
        else:
            self._draining.set()
            self._first = None
            super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        """Look ten times in a second whether the time to drain is over."""
        if self._first and time.monotonic() >= self._first[2]:
            self.handle_exit(*self._first[:2])
        return await super().on_tick(counter)
