"""Exposure: without keys the network and pages of other sites cannot use the service; oversized heads are refused."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from uvicorn import Config
from uvicorn.server import ServerState

from indexer.errors import UserError
from service.api.request_id import SECURITY_HEADERS
from service.app import create_app
from service.security.exposure import check_exposure, is_loopback
from service.security.keys import add_key
from service.server import protocol
from service.settings import ServiceSettings

ROOT = Path(__file__).parents[3]
OTHER = "https://shop.example"
EVERYWHERE = "0.0.0.0"  # noqa: S104 - that it is refused is what is tested


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_this_machine_alone_needs_no_key(tmp_path, host):
    """On a loopback address, which other machines cannot reach, keys are optional."""
    assert is_loopback(host)
    assert check_exposure(ServiceSettings(data=tmp_path, host=host)) is None


@pytest.mark.parametrize("host", [EVERYWHERE, "::", "", "192.0.2.1"])
def test_the_network_needs_a_key_or_a_word(tmp_path, host):
    """On any other address the service requires a key file or --insecure."""
    settings = {"data": tmp_path, "host": host}
    with pytest.raises(UserError, match="--insecure"):
        check_exposure(ServiceSettings(**settings))
    assert "no key is needed" in check_exposure(ServiceSettings(**settings, insecure=True))
    add_key(tmp_path / "keys.json", "shop", ("search",))
    assert check_exposure(ServiceSettings(**settings)) is None


def test_the_program_refuses_to_be_open_by_accident(tmp_path):
    """`python -m service --host 0.0.0.0` ends with one line that names the two remedies."""
    done = subprocess.run(
        [sys.executable, "-m", "service", "--host", EVERYWHERE, "--port", "0", "--data", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "python -m service keys add NAME" in done.stderr
    assert "--insecure" in done.stderr


@pytest.mark.parametrize(
    "path", ["/", "/docs", "/livez", "/search?q=cat", "/nope", "/search?q=", "/page/search/app.js"]
)
def test_every_answer_is_careful(client, path):
    """Every answer, good or bad, says that it is not to be framed, guessed at, or run."""
    answer = client.get(path)
    for name in SECURITY_HEADERS:
        assert answer.headers[name.decode()], name
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
    assert "unsafe-inline" not in answer.headers["Content-Security-Policy"].partition("style-src")[0]


def test_the_documentation_runs_its_own_script_alone(client):
    """The policy of `/docs` names its one inline script by hash, so that another one would not run."""
    policy = client.get("/docs").headers["Content-Security-Policy"]
    assert re.search(r"script-src 'self' 'sha256-[A-Za-z0-9+/]{43}='; style-src", policy)


def test_no_other_site_may_ask_unless_it_is_named(client, built_data):
    """Without the setting no answer lets another site's page read it; with it, the named origins and no others."""
    asked = {"Origin": OTHER}
    assert "access-control-allow-origin" not in client.get("/search?q=cat", headers=asked).headers
    with TestClient(create_app(ServiceSettings(data=built_data, cors=f"{OTHER}, http://localhost:3000"))) as allowing:
        answer = allowing.get("/search?q=cat", headers=asked)
        assert answer.headers["Access-Control-Allow-Origin"] == OTHER
        assert "Access-Control-Allow-Credentials" not in answer.headers
        stranger = allowing.get("/search?q=cat", headers={"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in stranger.headers
        refused = allowing.get("/search?top_k=0", headers=asked)
        assert (refused.status_code, refused.headers["Access-Control-Allow-Origin"]) == (422, OTHER)


def test_a_preflight_is_answered_without_a_key(built_data, tmp_path):
    """A browser asks first and sends no key with that; the request itself needs one, and its refusal can be read."""
    keys = tmp_path / "keys.json"
    text = add_key(keys, "page", ("search",))
    with TestClient(create_app(ServiceSettings(data=built_data, keys=keys, cors=OTHER))) as client:
        asking = {"Origin": OTHER, "Access-Control-Request-Method": "POST",
                  "Access-Control-Request-Headers": "authorization,content-type"}  # fmt: skip
        preflight = client.options("/search", headers=asking)
        assert preflight.status_code == 200
        assert preflight.headers["X-Content-Type-Options"] == "nosniff"
        for headers, status in (({}, 401), ({"Authorization": f"Bearer {text}"}, 200)):
            answer = client.post("/search", json={"query": "cat"}, headers={"Origin": OTHER, **headers})
            assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (status, OTHER)


@pytest.mark.parametrize("origin", ["example.com", "https://example.com/", "https://*.example.com", "null"])
def test_what_is_no_origin_is_refused(tmp_path, origin):
    """An origin that no browser would ever send is a mistake that would show only much later."""
    with pytest.raises(UserError, match="--cors"):
        create_app(ServiceSettings(data=tmp_path, cors=origin))


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", None])
def test_a_form_of_another_site_does_nothing(client, content_type):
    """What a page of another site can send without asking first is no request of this API."""
    headers = {"Content-Type": content_type} if content_type else {}
    assert client.post("/search", content=b'{"query": "cat"}', headers=headers).status_code == 422


class Wire:
    """A plain connection to a service."""

    def __init__(self, port):
        """Connect."""
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)

    def answer(self):
        """Everything that comes until the service closes the connection."""
        parts = []
        while part := self.socket.recv(65_536):
            parts.append(part)
        self.socket.close()
        return b"".join(parts)


@pytest.fixture
def port(start_service, built_data):
    """The port of a real service."""
    return start_service(built_data).port


def test_a_monstrous_head_is_refused(port):
    """Headers without end are refused before they are at their end, in the one shape; so is what is no HTTP."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as endless:
        endless.sendall(b"GET /livez HTTP/1.1\r\nX-Endless: ")
        with pytest.raises(OSError):  # the service closes the connection while this still sends
            endless.sendall(b"x" * 400_000_000)
    whole = Wire(port)
    whole.socket.sendall(
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Large: " + b"x" * protocol.MAX_HEAD_BYTES + b"\r\n\r\n"
    )
    head, _, body = whole.answer().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 431 ")
    assert b"connection: close" in head and b"nosniff" in head
    assert json.loads(body)["status"] == 431
    nonsense = Wire(port)
    nonsense.socket.sendall(b"\x16\x03\x01 this is no HTTP\r\n\r\n")
    assert nonsense.answer().startswith(b"HTTP/1.1 400 ")


def test_a_head_of_usual_size_passes_and_no_server_is_named(port):
    """Large cookies do no harm, requests follow each other on a connection, and no answer tells what serves it."""
    wire = Wire(port)
    request = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nCookie: " + b"x" * 8_000 + b"\r\n"
    wire.socket.sendall(request + b"\r\n" + request + b"Connection: close\r\n\r\n")
    answer = wire.answer()
    assert answer.count(b"HTTP/1.1 200 OK") == 2
    assert b"server:" not in answer.lower()


class Transport:
    """As much of a connection as a protocol needs to be closed."""

    def __init__(self):
        """Begin open."""
        self.closing = asyncio.Event()

    def get_extra_info(self, _name):
        """Know nothing of the peer."""

    def close(self):
        """Remember it."""
        self.closing.set()

    def is_closing(self):
        """Say what is remembered."""
        return self.closing.is_set()


def test_a_head_that_does_not_come_is_given_up(monkeypatch, tmp_path):
    """A connection that sends nothing, a piece of a head, or only empty lines is closed when its time is over."""
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.01)

    async def closed_after(*pieces):
        transport = Transport()
        config = Config(create_app(ServiceSettings(data=tmp_path)), lifespan="off")
        connection = protocol.LimitedProtocol(config, ServerState(), {})
        connection.connection_made(transport)
        for piece in pieces:
            connection.data_received(piece)
        await transport.closing.wait()

    for pieces in ((), (b"GET / HT",), (b"\r\n", b"\r\n"), (b"GET / HTTP/1.1\r\nA: b", b"c")):
        asyncio.run(asyncio.wait_for(closed_after(*pieces), 60))
