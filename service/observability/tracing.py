"""OpenTelemetry: a span for every request, sent where the standard variables say (extra `otel`).

The instrumentation for ASGI makes the span; here it is told what to leave out and what to call things. The stages of a
search are events of its span, with their milliseconds: the legs run side by side, and their spans would be too short to
be worth sending. Nothing is loaded, and nothing costs anything, where the variables do not ask for it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from contextvars import Context
from importlib.util import find_spec
from typing import TYPE_CHECKING

from indexer import __version__

if TYPE_CHECKING:  # the log knows this module, and --help needs neither
    from fastapi import FastAPI
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

ASKING = ("OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
NEEDED = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http", "opentelemetry.instrumentation.asgi")
UNTRACED = r"^[a-z]+://[^/]*/(livez|healthz|readyz|metrics)$"
"""URLs that machines ask for every few seconds."""
LAST_SECONDS = 3.0
"""How long the end of the service waits for a collector that does not answer."""

_current_span: Callable[[], Span] | None = None
"""How to find the span of the request; None where requests are not traced."""


def configuration_warning() -> str | None:
    """Return why requests are not traced although the variables ask for it, and what to do; None where all is well."""
    asking = _asking()
    if asking is None:
        return None
    exporter = os.environ.get("OTEL_TRACES_EXPORTER", "")
    if exporter not in {"", "otlp"}:
        return f"OTEL_TRACES_EXPORTER={exporter}: requests are not traced, for the service sends by otlp alone"
    for name in PROTOCOLS:
        if (protocol := os.environ.get(name, "")) not in {"", "http/protobuf"}:
            return f"{name}={protocol}: requests are not traced, for the service sends by http/protobuf alone"
    if not all(map(_is_there, NEEDED)):
        return f"{asking} is set, but requests are not traced: `pip install -r requirements-otel.lock`"
    return None


def is_on() -> bool:
    """Say whether requests are to be traced."""
    return _asking() is not None and configuration_warning() is None


def install(app: FastAPI) -> Callable[[], None]:
    """Trace the requests of ``app`` where the variables ask for it; return what has to be called in the end."""
    global _current_span  # noqa: PLW0603 - one process has one place to send to
    if not is_on():
        return lambda: None
    from opentelemetry import trace
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware

    # Today's names of attributes; those before them would bring the query string along.
    os.environ["OTEL_SEMCONV_STABILITY_OPT_IN"] = "http"
    provider = _provider()
    _current_span = trace.get_current_span
    app.add_middleware(RouteNameMiddleware, current_span=trace.get_current_span)
    app.add_middleware(
        OpenTelemetryMiddleware,
        excluded_urls=UNTRACED,
        default_span_details=_named,
        server_request_hook=_without_query,
        tracer_provider=provider,
        exclude_spans=["receive", "send"],
    )

    def stop() -> None:
        sending = threading.Thread(target=provider.shutdown, name="last-spans", daemon=True)
        sending.start()
        sending.join(LAST_SECONDS)

    return stop


def observe_stages(timings: Mapping[str, float], context: Context | None = None) -> None:
    """Note the milliseconds of stages at the span of the request, which is that of ``context`` where one is given."""
    if _current_span is None:
        return
    span = context.run(_current_span) if context else _current_span()
    if span.is_recording():
        for stage, spent in timings.items():
            span.add_event(stage, {"dowse.duration_ms": round(spent, 3)})


def identity() -> dict[str, str]:
    """Return ``trace_id`` and ``span_id`` of the request that is being answered, for a line of the log."""
    found = _current_span().get_span_context() if _current_span else None
    if not found or not found.is_valid:
        return {}
    return {"trace_id": f"{found.trace_id:032x}", "span_id": f"{found.span_id:016x}"}


class RouteNameMiddleware:
    """ASGI middleware inside of the span: names it after the route, and writes the request's id into it."""

    def __init__(self, app: ASGIApp, current_span: Callable[[], Span]) -> None:
        self.app = app
        self._current_span = current_span

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        span = self._current_span()

        async def naming(message: Message) -> None:
            if message["type"] == "http.response.start" and span.is_recording():
                if route := getattr(scope.get("route"), "path", None):  # known by now
                    span.update_name(f"{scope['method']} {route}")
                    span.set_attribute("http.route", route)
                span.set_attribute("dowse.request_id", scope["request_id"])
            await send(message)

        await self.app(scope, receive, naming)


def _asking() -> str | None:
    """Return the variable that asks for traces."""
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or os.environ.get("OTEL_TRACES_EXPORTER") == "none":
        return None
    return next((name for name in ASKING if os.environ.get(name)), None)


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # nor is the package that it is in
        return False


def _provider() -> TracerProvider:
    """Return what makes spans and sends them, by the standard variables (endpoint, headers, sampler, …)."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    name = OTELResourceDetector().detect().attributes.get("service.name", "dowse")
    resource = Resource.create({"service.name": name, "service.version": __version__})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def _named(scope: Scope) -> tuple[str, dict[str, str]]:
    """Return the name of a span whose route is not known yet: clients could make as many paths as they like."""
    from opentelemetry.util.http import sanitize_method

    method = sanitize_method(scope["method"])
    return ("HTTP" if method == "_OTHER" else method), {}


def _without_query(span: Span, scope: Scope) -> None:
    """Take the query string out, which may be what somebody searches for."""
    if scope.get("query_string"):
        span.set_attribute("url.query", "REDACTED")
