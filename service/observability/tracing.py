"""OpenTelemetry tracing: a span for every request, exported as the standard variables say (extra `otel`).

The ASGI instrumentation creates the span; this module sets its name and attributes and drops the rest. The stages of a
search are events of its span, with their milliseconds. They have no spans of their own: the legs run in parallel, and
such spans would be too short to be worth sending. Unless the variables enable tracing, nothing is loaded and nothing costs time.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from contextvars import Context
from importlib.util import find_spec
from typing import TYPE_CHECKING

from indexer import __version__

if TYPE_CHECKING:  # `logs` imports this module, and --help must not load either package
    from fastapi import FastAPI
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

ENABLING_VARIABLES = ("OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOL_VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
REQUIRED_MODULES = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http", "opentelemetry.instrumentation.asgi")
UNTRACED_URLS = r"^[a-z]+://[^/]*/(livez|healthz|readyz|metrics)$"
"""URLs that machines request every few seconds."""
SHUTDOWN_SECONDS = 3.0
"""How long the end of the service waits for a collector that does not answer."""

_current_span: Callable[[], Span] | None = None
"""Returns the span of the current request; None if requests are not traced."""


def configuration_warning() -> str | None:
    """Return why requests are not traced although the variables enable it, and what to do; None if all is well."""
    variable = _enabling_variable()
    if variable is None:
        return None
    exporter = os.environ.get("OTEL_TRACES_EXPORTER", "")
    if exporter not in {"", "otlp"}:
        return f"OTEL_TRACES_EXPORTER={exporter}: requests are not traced; the only supported exporter is otlp"
    for name in PROTOCOL_VARIABLES:
        if (protocol := os.environ.get(name, "")) not in {"", "http/protobuf"}:
            return f"{name}={protocol}: requests are not traced; the only supported protocol is http/protobuf"
    if not all(map(_is_installed, REQUIRED_MODULES)):
        return f"{variable} is set, but requests are not traced: `pip install -r requirements-otel.lock`"
    return None


def is_enabled() -> bool:
    """Say whether requests are traced."""
    return _enabling_variable() is not None and configuration_warning() is None


def install(app: FastAPI) -> Callable[[], None]:
    """Trace the requests of ``app`` if the variables enable it; return a function to call at the end."""
    global _current_span  # noqa: PLW0603 - a process exports to one collector
    if not is_enabled():
        return lambda: None
    from opentelemetry import trace
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware

    # The stable names of attributes; with the older ones the query string would be exported.
    os.environ["OTEL_SEMCONV_STABILITY_OPT_IN"] = "http"
    provider = _make_provider()
    _current_span = trace.get_current_span
    app.add_middleware(RouteNameMiddleware, current_span=trace.get_current_span)
    app.add_middleware(
        OpenTelemetryMiddleware,
        excluded_urls=UNTRACED_URLS,
        default_span_details=_initial_name,
        server_request_hook=_redact_query,
        tracer_provider=provider,
        exclude_spans=["receive", "send"],
    )

    def stop() -> None:
        thread = threading.Thread(target=provider.shutdown, name="last-spans", daemon=True)
        thread.start()
        thread.join(SHUTDOWN_SECONDS)

    return stop


def observe_stages(timings: Mapping[str, float], context: Context | None = None) -> None:
    """Add the milliseconds of stages to the span of the current request, or of the request of ``context``."""
    if _current_span is None:
        return
    span = context.run(_current_span) if context else _current_span()
    if span.is_recording():
        for stage, milliseconds in timings.items():
            span.add_event(stage, {"dowse.duration_ms": round(milliseconds, 3)})


def trace_ids() -> dict[str, str]:
    """Return ``trace_id`` and ``span_id`` of the current request for a line of the log; empty if it is not traced."""
    context = _current_span().get_span_context() if _current_span else None
    if not context or not context.is_valid:
        return {}
    return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}


class RouteNameMiddleware:
    """ASGI middleware inside the span: names the span after the route, and adds the request's id to it."""

    def __init__(self, app: ASGIApp, current_span: Callable[[], Span]) -> None:
        self.app = app
        self._current_span = current_span

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        span = self._current_span()

        async def name_and_send(message: Message) -> None:
            if message["type"] == "http.response.start" and span.is_recording():
                if route := getattr(scope.get("route"), "path", None):  # known by now
                    span.update_name(f"{scope['method']} {route}")
                    span.set_attribute("http.route", route)
                span.set_attribute("dowse.request_id", scope["request_id"])
            await send(message)

        await self.app(scope, receive, name_and_send)


def _enabling_variable() -> str | None:
    """Return the variable that enables tracing; None if no variable does, or if one disables it."""
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or os.environ.get("OTEL_TRACES_EXPORTER") == "none":
        return None
    return next((name for name in ENABLING_VARIABLES if os.environ.get(name)), None)


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # its parent package is missing
        return False


def _make_provider() -> TracerProvider:
    """Return the provider of spans and their exporter, by the standard variables (endpoint, headers, sampler, …)."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    name = OTELResourceDetector().detect().attributes.get("service.name", "dowse")
    resource = Resource.create({"service.name": name, "service.version": __version__})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def _initial_name(scope: Scope) -> tuple[str, dict[str, str]]:
    """Return the name of a span until its route is known: the method, because clients could send any number of paths."""
    from opentelemetry.util.http import sanitize_method

    method = sanitize_method(scope["method"])
    return ("HTTP" if method == "_OTHER" else method), {}


def _redact_query(span: Span, scope: Scope) -> None:
    """Remove the query string, which may hold a user's query."""
    if scope.get("query_string"):
        span.set_attribute("url.query", "REDACTED")
