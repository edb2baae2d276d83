"""uvicorn server that shuts down in an order that load balancers can follow.

After a signal, `/readyz` says 503 while everything else is answered, for ``drain_seconds``. Then new connections and new
requests are refused while open ones are finished. Then the process ends.
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
"""How long a connection stays open without a request: longer than proxies keep theirs, mostly a minute. The client must
be the one that closes first: else its next request can meet a connection that is being closed."""
GC_THRESHOLD = (20_000, 20, 20)
"""Of `gc.set_threshold`: new objects before a collection of the youngest generation, then collections of one generation
before one of the next."""


class Server(uvicorn.Server):
    """A uvicorn server that drains, and limits what a client may send.

    Args:
        application: from `create_app`. In its state, ``draining`` is set at the first signal (`/readyz` says 503 from
            then on), and ``closed`` once draining is over (new requests are refused from then on).
        drain_seconds: how long to go on answering after the first signal; a second signal ends it at once.
        on_start: called once connections are accepted.
    """

    def __init__(self, application: FastAPI, drain_seconds: float, on_start: Callable[[], None] = lambda: None) -> None:
        super().__init__(
            uvicorn.Config(
                application,
                http=LimitedProtocol,
                ws="none",
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
        self._drain: tuple[int, FrameType | None, float] | None = None
        """The first signal with its frame, and the time at which draining is over."""

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until a signal ends the server."""
        # Objects that exist by now never become garbage: frozen, they are not examined by every collection. Requests
        # leave hardly any cycles, so collections may be rarer (docs/decisions/service-load.md).
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLD)
        super().run(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the index and accept connections."""
        await super().startup(sockets)
        self._on_start()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Handle a signal: begin to drain, or shut down."""
        if self._drain_seconds and not self._draining.is_set():
            self._draining.set()
            self._drain = sig, frame, time.monotonic() + self._drain_seconds
        else:
            self._draining.set()
            self._drain = None
            super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        """Check, ten times a second, whether draining is over."""
        if self._drain and time.monotonic() >= self._drain[2]:
            self.handle_exit(*self._drain[:2])
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Shut down once open requests are answered.

        uvicorn closes idle connections at once, and a client that sends its next request at that moment sees a reset.
        Here idle connections stay open while others are being answered, and requests on them get a 503.
        """
        self._closed.set()
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        for connection in cast("set[LimitedProtocol]", self.server_state.connections):
            connection.close_after_response()
        timeout = self.config.timeout_graceful_shutdown or 0
        deadline = time.monotonic() + timeout
        while self.server_state.tasks and not self.force_exit and time.monotonic() < deadline:  # noqa: ASYNC110 - as uvicorn does
            await asyncio.sleep(0.05)
        self.config.timeout_graceful_shutdown = max(0, round(deadline - time.monotonic()))
        await super().shutdown(sockets)
