"""Prometheus metrics of the service, in base units, and the middleware that counts every request."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from functools import cache

from prometheus_client import Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.observability import logs, tracing

SECONDS_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""From a tenth of a millisecond, which fusion takes, to the longest deadlines."""

STAGE_SECONDS = Histogram(
    "dowse_search_stage_seconds", "Seconds spent in a stage of a search", ["stage"], buckets=SECONDS_BUCKETS
)
QUEUE_SECONDS = Histogram("dowse_queue_seconds", "Seconds that a request waited for a thread", buckets=SECONDS_BUCKETS)
BATCH_SIZE = Histogram("dowse_batch_size", "Queries that were encoded in one call", buckets=(1, 2, 3))
QUEUED = Gauge("dowse_queue_size", "Requests that wait for a thread", multiprocess_mode="livesum")
REJECTED = Counter("dowse_rejected", "Requests that were not answered, by reason", ["reason"])
SWAPPED = Counter("dowse_index_swap", "Indexes that were opened, by each worker")
REQUEST_SECONDS = Histogram(
    "http_server_request_duration_seconds",
    "Seconds from the request's head to the end of its response",
    ["http_request_method", "http_route", "http_response_status_code"],
    buckets=SECONDS_BUCKETS,
)

UNLOGGED = {"/livez", "/healthz", "/readyz", "/metrics"}
"""Routes that machines request every few seconds: their lines in the log would hide all others."""


def observe_stages(timings: Mapping[str, float], scope: Scope) -> None:
    """Count the milliseconds of each stage of a search, and add them to the trace if the request is traced.

    They are counted once the request of ``scope`` is answered, as long as it is not: no answer waits for it.
    """
    tracing.observe_stages(timings)
    noted: list[Mapping[str, float]] | None = scope.get("stages")
    if noted is None:
        _count_stages(timings)
    else:
        noted.append(timings)


def _count_stages(timings: Mapping[str, float]) -> None:
    for stage, milliseconds in timings.items():
        _stage_histogram(stage).observe(milliseconds / 1e3)


@cache
def _stage_histogram(stage: str) -> Histogram:
    """Return the histogram of a stage; cached, because looking up the label takes longer than counting."""
    return STAGE_SECONDS.labels(stage)


@cache
def _request_histogram(method: str, route: str, status: int) -> Histogram:
    return REQUEST_SECONDS.labels(method, route, status)


class MetricsMiddleware:
    """ASGI middleware that counts every request with its route, status and duration."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500
        scope["stages"] = []

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, send_and_note)
        finally:
            # In the loop's next turn: what this turn has written, the answer too, is sent at its end.
            asyncio.get_running_loop().call_soon(_count_request, scope, status, time.perf_counter() - started)


def _count_request(scope: Scope, status: int, seconds: float) -> None:
    for timings in scope.pop("stages"):
        _count_stages(timings)
    # All paths without a route share one label: clients could otherwise create any number of labels.
    route = getattr(scope.get("route"), "path", "none")
    _request_histogram(scope["method"], route, status).observe(seconds)
    if route not in UNLOGGED:
        path, client = scope["path"], scope["client"][0] if scope.get("client") else ""
        logs.log_request(f"{scope['method']} {path}", route, status, seconds, path=path, client=client)
