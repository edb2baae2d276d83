"""Traces: which spans and attributes a collector receives from the real program, and which it never does."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from service.observability import tracing

ROOT = Path(__file__).parents[3]
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
WANTED = "gardenparty"


@pytest.fixture
def collector():
    """A collector: its URL, and the bodies that it was sent."""
    bodies = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200 if self.path == "/v1/traces" else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", bodies
    server.shutdown()
    thread.join()
    server.server_close()


def plain(attributes):
    """Attributes as a dictionary."""
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


def ask(port, method, path, body=None, **headers):
    """Send a request; return status and headers."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        content = None if body is None else json.dumps(body)
        connection.request(method, path, content, {"Content-Type": "application/json", **headers})
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.headers
    finally:
        connection.close()


def test_a_request_is_a_span(built_data, start_service, eventually, collector):
    """Its span goes on with the caller's trace and has route, status, request id and stages; never what was searched for."""
    url, bodies = collector
    running = start_service(
        built_data, "--log-format", "json", OTEL_EXPORTER_OTLP_ENDPOINT=url, OTEL_RESOURCE_ATTRIBUTES="site=here"
    )
    eventually(lambda: running.status("/readyz") == 200, "the service is ready")
    search = {"query": f"the {WANTED}"}
    status, headers = ask(running.port, "POST", "/search", search, traceparent=f"00-{TRACE}-{PARENT}-01")
    assert status == 200
    assert ask(running.port, "GET", f"/search?q={WANTED}")[0] == 200
    assert ask(running.port, "GET", "/nowhere/at/all")[0] == 404
    assert running.status("/livez") == running.status("/metrics") == 200
    assert running.end(signal.SIGINT) == 0  # what was not sent yet is sent now
    assert not any(WANTED.encode() in body for body in bodies)

    batches = [each for body in bodies for each in ExportTraceServiceRequest.FromString(body).resource_spans]
    resource = plain(batches[0].resource.attributes)
    assert (resource["service.name"], resource["site"]) == ("dowse", "here")
    spans = {each.name: each for batch in batches for scope in batch.scope_spans for each in scope.spans}
    assert set(spans) == {"POST /search", "GET /search", "GET"}
    posted = spans["POST /search"]
    assert (posted.trace_id.hex(), posted.parent_span_id.hex(), posted.kind) == (TRACE, PARENT, Span.SPAN_KIND_SERVER)
    said = plain(posted.attributes)
    assert said["http.request.method"] == "POST"
    assert said["http.route"] == "/search"
    assert said["http.response.status_code"] == 200
    assert said["dowse.request_id"] == headers["X-Request-ID"]
    stages = {each.name: plain(each.attributes)["dowse.duration_ms"] for each in posted.events}
    assert set(stages) == {"queue", "encode", "dense", "lexical", "fuse", "fetch"}
    assert all(
        0 <= spent <= 1e-6 * (posted.end_time_unix_nano - posted.start_time_unix_nano) for spent in stages.values()
    )
    assert plain(spans["GET /search"].attributes)["url.query"] == "REDACTED"
    assert "http.route" not in plain(spans["GET"].attributes)

    lines = [json.loads(line) for line in running.said.splitlines() if line.startswith("{")]
    (line,) = [each for each in lines if each.get("request_id") == headers["X-Request-ID"]]
    assert (line["trace_id"], line["span_id"]) == (TRACE, posted.span_id.hex())


VARIABLES = [*tracing.ENABLING_VARIABLES, *tracing.PROTOCOL_VARIABLES, "OTEL_SDK_DISABLED"]
ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}


@pytest.fixture
def variables(monkeypatch):
    """Sets the standard variables, and takes away all others of them."""

    def set_(given):
        for name in VARIABLES:
            monkeypatch.delenv(name, raising=False)
        for name, value in given.items():
            monkeypatch.setenv(name, value)

    return set_


@pytest.mark.parametrize(
    ("given", "on"),
    [
        ({}, False),
        (ENDPOINT, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}, False),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "TRUE"}, False),
    ],
)
def test_the_standard_variables_decide(variables, given, on):
    """Without them there is no tracing, and nothing to say about it."""
    variables(given)
    assert tracing.is_enabled() == on
    assert tracing.configuration_warning() is None


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER=zipkin"),
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "OTEL_EXPORTER_OTLP_PROTOCOL=grpc"),
    ],
)
def test_what_cannot_be_sent_is_said(variables, given, words):
    """Where the variables ask for what is not there, the reason names the variable, and nothing is traced."""
    variables(given)
    assert not tracing.is_enabled()
    assert words in (tracing.configuration_warning() or "")


def test_the_start_says_why_nothing_is_traced(tmp_path):
    """It is one line before the service listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        command = [sys.executable, "-m", "service", "--data", str(tmp_path), "--port", str(taken.getsockname()[1])]
        variables = {"OTEL_TRACES_EXPORTER": "zipkin", "PATH": ""}
        ended = subprocess.run(
            command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False, timeout=60
        )
    warning, error = ended.stderr.splitlines()
    assert warning.startswith("warning: OTEL_TRACES_EXPORTER=zipkin")
    assert error.startswith("error: --host")
