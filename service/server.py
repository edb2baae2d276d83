"""uvicorn, which a signal ends in an order that load balancers can follow.

Not ready, while all else is answered (``drain_seconds``); then no new connections and no new requests, while those that
are open are finished; then out.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from types import FrameType
from typing import cast

import uvicorn

from service.protocol import LimitedProtocol


class Server(uvicorn.Server):
    """A uvicorn server that drains.

    Args:
        config: uvicorn's.
        draining: set at the first signal; `/readyz` says 503 from then on.
        closed: set once the time to drain is over; new requests are refused from then on.
        drain_seconds: how long all else goes on after the first signal; a second one cuts it short.
    """

    def __init__(
        self, config: uvicorn.Config, draining: threading.Event, closed: threading.Event, drain_seconds: float
    ) -> None:
        super().__init__(config)
        self._draining = draining
        self._closed = closed
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

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End once open requests are answered.

        uvicorn closes idle connections at once, and a client that sends its next request at that moment sees a reset.
        Here they stay open for as long as others are being answered, and hear a 503.
        """
        self._closed.set()
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        for connection in cast("set[LimitedProtocol]", self.server_state.connections):
            connection.end_when_answered()
        patience = self.config.timeout_graceful_shutdown or 0
        end = time.monotonic() + patience
        while self.server_state.tasks and not self.force_exit and time.monotonic() < end:  # noqa: ASYNC110 - as uvicorn does
            await asyncio.sleep(0.05)
        self.config.timeout_graceful_shutdown = max(0, round(end - time.monotonic()))
        await super().shutdown(sockets)
