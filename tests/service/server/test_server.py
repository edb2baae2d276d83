"""Shutdown of the server: open requests are finished, and later ones get an error that says so."""

from __future__ import annotations

import json
import signal
import socket
from http.client import HTTPConnection

import pytest

BODY = b'{"query": "cat"}'
HEAD = (
    b"POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n"
    b"Content-Length: %d\r\n\r\n" % len(BODY)
)


@pytest.fixture
def running(built_data, start_service, eventually):
    """A service of its own, ready."""
    running = start_service(built_data)
    eventually(lambda: running.status("/readyz") == 200, "the service is ready")
    return running


@pytest.fixture
def kept(running):
    """Opens connections to it that have been used once and are kept open."""
    opened = []

    def open_():
        opened.append(HTTPConnection("127.0.0.1", running.port, timeout=60))
        assert ask(opened[-1], "GET", "/livez")[0].status == 200
        return opened[-1]

    yield open_
    for connection in opened:
        connection.close()


def ask(connection, method, path, body=None):
    """Send a request over a kept connection; return its answer and its body."""
    connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
    answer = connection.getresponse()
    return answer, answer.read()


def test_what_comes_too_late_is_refused_and_what_is_open_is_finished(running, kept, eventually):
    """After SIGTERM kept connections hear a 503 that closes them, health checks go on, and an open search gets its 200."""
    searching, idle, watching = kept(), kept(), kept()
    with socket.create_connection(("127.0.0.1", running.port), timeout=60) as slow:
        slow.sendall(HEAD)
        assert slow.recv(4096).startswith(b"HTTP/1.1 100")  # the request has begun
        running.process.send_signal(signal.SIGTERM)
        eventually(lambda: not running.accepts(), "new connections are refused")
        refused, content = ask(searching, "POST", "/search", BODY)
        assert (refused.status, refused.headers["Connection"]) == (503, "close")
        assert refused.headers["Retry-After"]
        assert json.loads(content)["type"] == "urn:dowse:problem:draining"
        assert ask(watching, "GET", "/livez")[0].status == 200
        assert ask(watching, "GET", "/metrics")[0].status == 200
        assert ask(idle, "GET", "/readyz")[0].status == 503
        slow.sendall(BODY)
        answer = b"".join(iter(lambda: slow.recv(4096), b""))  # until the service closes the connection
    head, _, content = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert b"connection: close" in head.lower()
    assert json.loads(content)["results"]
    assert running.process.wait(60) == -signal.SIGTERM
