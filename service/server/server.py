"""uvicorn, which a signal ends in an order that load balancers can follow.

Not ready, while all else is answered (``drain_seconds``); then no new connections and no new requests, while those that
are open are finished; then out.
"""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import cast

import uvicorn
from fastapi import FastAPI

from service.server.protocol import LimitedProtocol

KEEP_ALIVE_SECONDS = 65
"""How long a connection stays open without a request: longer than proxies keep theirs, mostly a minute. Whoever closes
first must be the one that asks, or a request meets a connection that is just being closed."""
GC_THRESHOLD = (20_000, 20, 20)
"""After how many new objects the collector looks among the youngest; and how many looks there are to one further."""


class Server(uvicorn.Server):
    """A uvicorn server that drains, and limits what a client may send.

    Args:
        application: from `create_app`; of its state ``draining`` is set at the first signal (`/readyz` says 503 from
            then on), and ``closed`` once the time to drain is over (new requests are refused from then on).
        drain_seconds: how long all else goes on after the first signal; a second one cuts it short.
        on_start: called once connections are accepted.
    """

    def __init__(self, application: FastAPI, drain_seconds: float, on_start: Callable[[], None] = lambda: None) -> None:
        super().__init__(
            uvicorn.Config(
                application,
                http=LimitedProtocol,
                server_header=False,
                log_config=None,
                log_level="warning",
                access_log=False,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=10,
            )
        )
        self._draining: threading.Event = application.state.draining
        self._closed: threading.Event = application.state.closed
        self._drain_seconds = drain_seconds
        self._on_start = on_start
        self._first: tuple[int, FrameType | None, float] | None = None

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until a signal ends it."""
        # Nothing of what was imported and made so far ever becomes garbage: the collector need not look at it again and
        # again. Requests leave hardly any cycles either, so that it may look more seldom (DECISIONS.md).
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLD)
        super().run(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the index and accept connections."""
        await super().startup(sockets)
        self._on_start()

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
