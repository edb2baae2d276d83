"""Authentication: requests are refused before the body is read, as problems that tell the client how to go on."""

from __future__ import annotations

import asyncio
import threading

import pytest
from starlette.testclient import TestClient

from service.app import create_app
from service.security.auth import AuthMiddleware
from service.security.hosts import AllowedHosts
from service.security.keys import Keyring, add_key
from service.security.permissions import MAX_BODY_BYTES
from service.security.rate_limit import MAX_CALLERS, RateLimiter, network_of
from service.settings import ServiceSettings

SEARCH = {"query": "cat"}


@pytest.fixture
def guarded(tmp_path, built_data):
    """Makes a client of a service that needs keys, and returns it with a key of the scope `search`."""
    file = tmp_path / "keys.json"
    opened = []

    def make(limit=None, **settings):
        text = add_key(file, f"key-{len(opened)}", ("search",), limit)
        client = TestClient(create_app(ServiceSettings(data=built_data, keys=file, **settings)))
        opened.append(client.__enter__())
        return client, {"Authorization": f"Bearer {text}"}

    yield make
    for client in opened:
        client.__exit__(None, None, None)


class Fed:
    """A body that comes in pieces and counts how many were taken."""

    def __init__(self, *pieces, seconds=0.0):
        self.pieces, self.seconds, self.taken = list(pieces), seconds, 0

    async def __call__(self):
        """Give the next piece."""
        self.taken += 1
        if not self.pieces:
            await asyncio.sleep(self.seconds or 3600)
            return {"type": "http.disconnect"}
        piece = self.pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(self.pieces) or self.seconds > 0}


async def inner(_scope, receive, send):
    """An application that answers with the size of the body."""
    size, more = 0, True
    while more:
        message = await receive()
        size, more = size + len(message["body"]), message["more_body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(size).encode()})


def through(door, fed, method="POST", path="/search", headers=()):
    """Send a request through a door; return status, headers and body of the answer."""
    sent = []

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http", "method": method, "path": path, "query_string": b"", "client": ("127.0.0.1", 1), "request_id": "x",
        "headers": [(b"transfer-encoding", b"chunked"), *headers],
    }  # fmt: skip
    asyncio.run(door(scope, fed, send))
    if not sent:
        return None
    head = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], head, b"".join(message.get("body", b"") for message in sent[1:])


def open_door(tmp_path, **settings):
    """A door that needs no keys."""
    settings = ServiceSettings(data=tmp_path, **settings)
    return AuthMiddleware(inner, Keyring(settings.key_file), settings, AllowedHosts(settings), threading.Event())


def test_a_stranger_is_told_what_is_needed(guarded):
    """Without a key the answer is a 401 with a challenge; with a wrong one it says that the key is wrong."""
    client, _ = guarded()
    for headers, challenge in (
        ({}, 'Bearer realm="dowse"'),
        ({"Authorization": "Basic YTpi"}, 'Bearer realm="dowse"'),
        ({"Authorization": "Bearer "}, 'Bearer realm="dowse"'),
        ({"Authorization": f"Bearer dowse_00000000_{'A' * 43}"}, 'Bearer realm="dowse", error="invalid_token"'),
    ):
        answer = client.post("/search", json=SEARCH, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == challenge
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json()["type"] == "urn:dowse:problem:unauthorized"
        assert answer.json()["request_id"] == answer.headers["X-Request-ID"]


def test_the_key_opens(guarded):
    """With its key a client searches; the scheme's name may be written as anybody likes."""
    client, headers = guarded()
    assert client.post("/search", json=SEARCH, headers=headers).status_code == 200
    spelt = {"Authorization": headers["Authorization"].replace("Bearer", "bearer")}
    assert client.post("/search", json=SEARCH, headers=spelt).status_code == 200


def test_what_is_open_stays_open(guarded):
    """Health checks, the page and the documentation answer without a key."""
    client, _ = guarded()
    for path in ("/livez", "/healthz", "/readyz", "/", "/page/search/app.js", "/docs", "/openapi.json"):
        assert client.get(path).status_code == 200, path


def test_an_unknown_path_tells_a_stranger_nothing(guarded):
    """Without a key, unknown paths are answered like known ones; with one they are a 404, or a 405 with `Allow`."""
    client, headers = guarded()
    assert client.get("/nope").status_code == 401
    assert client.get("/nope", headers=headers).status_code == 404
    assert client.delete("/search").status_code == 401
    assert client.delete("/search", headers=headers).headers["Allow"] == "GET, POST"


def test_nothing_of_a_strangers_body_is_read(tmp_path):
    """The decision is made on the headers alone: an attacker without a key cannot make the service take anything in."""
    add_key(tmp_path / "keys.json", "shop", ("search",))
    fed = Fed(b"x", b"y")
    status, _, _ = through(open_door(tmp_path), fed)
    assert status == 401
    assert fed.taken == 0


def test_a_body_within_the_limit_arrives_whole(tmp_path):
    """A body that comes in pieces reaches the route as it was sent."""
    assert through(open_door(tmp_path), Fed(b"ab", b"", b"cde"))[::2] == (200, b"5")
    assert through(open_door(tmp_path), Fed(b"x" * MAX_BODY_BYTES))[::2] == (200, str(MAX_BODY_BYTES).encode())


def test_a_body_beyond_the_limit_is_not_taken_in(tmp_path):
    """A body with too large a Content-Length is refused unread, another one once it exceeds the limit.

    Both close the connection, since the rest is not read.
    """
    declared = Fed(b"x" * (MAX_BODY_BYTES + 1))
    status, headers, _ = through(
        open_door(tmp_path), declared, headers=[(b"content-length", str(MAX_BODY_BYTES + 1).encode())]
    )
    assert (status, headers["connection"], declared.taken) == (413, "close", 0)
    streamed = Fed(b"x" * MAX_BODY_BYTES, b"x", b"never")
    status, headers, body = through(open_door(tmp_path), streamed)
    assert (status, headers["connection"], streamed.taken) == (413, "close", 2)
    assert b"1,000,000 bytes" in body


def test_a_slow_body_is_given_up(tmp_path):
    """A body that does not arrive in time is a 408: a client cannot hold a connection by sending nothing."""
    status, headers, _ = through(open_door(tmp_path, body_seconds=0.05), Fed(b"x", seconds=3600))
    assert (status, headers["connection"]) == (408, "close")


def test_a_client_that_hangs_up_is_not_answered(tmp_path):
    """When the client is gone before its request was whole, no route is called."""
    assert through(open_door(tmp_path), Fed(b"x", seconds=0.01)) is None


def test_a_body_on_a_route_that_takes_none_is_limited_too(tmp_path):
    """Also a GET, and a path that does not exist, cannot be used to send without end."""
    for method, path in (("GET", "/search"), ("POST", "/nope"), ("GET", "/livez")):
        assert through(open_door(tmp_path), Fed(b"x" * MAX_BODY_BYTES, b"x"), method, path)[0] == 413


def test_limits_are_kept_per_key(guarded):
    """A key over its rate limit gets a 429 with Retry-After; another key is not affected."""
    client, headers = guarded(limit=12)
    statuses = [client.get("/search?q=cat", headers=headers).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]
    answer = client.get("/search?q=cat", headers=headers)
    assert 1 <= int(answer.headers["Retry-After"]) <= 5
    assert answer.json()["type"] == "urn:dowse:problem:too-many-requests"
    other, other_headers = guarded()
    assert other.get("/search?q=cat", headers=other_headers).status_code == 200


def test_limits_are_kept_per_address_where_there_are_no_keys(built_data):
    """Without keys addresses are counted; health checks are not, since a full bucket must not restart a container."""
    with TestClient(create_app(ServiceSettings(data=built_data, requests_per_minute=6))) as client:
        assert [client.get("/search?q=cat").status_code for _ in range(2)] == [200, 429]
        assert {client.get("/readyz").status_code for _ in range(5)} == {200}


def test_guessing_keys_is_counted(guarded):
    """Requests without a good key count against their address, so that wrong keys cannot be tried without end."""
    client, headers = guarded(requests_per_minute=6)
    wrong = {"Authorization": "Bearer wrong"}
    assert [client.get("/search?q=cat", headers=wrong).status_code for _ in range(2)] == [401, 429]
    assert client.get("/search?q=cat", headers=headers).status_code == 200


def test_a_bucket_fills_evenly():
    """A burst of a sixth of a minute's requests goes through; then they go on at the rate, neither faster nor slower."""
    now = [0.0]
    limiter = RateLimiter(lambda: now[0])
    assert [limiter.wait_seconds("a", 60) for _ in range(11)] == [0] * 10 + [1]
    now[0] = 0.9
    assert limiter.wait_seconds("a", 60) == 1
    now[0] = 1.0
    assert [limiter.wait_seconds("a", 60), limiter.wait_seconds("a", 60)] == [0, 1]
    now[0] = 1e6
    assert [limiter.wait_seconds("a", 60) for _ in range(11)].count(0) == 10
    assert limiter.wait_seconds("b", 60) == 0
    slow = RateLimiter(lambda: now[0])
    assert [slow.wait_seconds("a", 1), slow.wait_seconds("a", 1)] == [0, 60]


def test_buckets_are_bounded():
    """Addresses without end do not fill the memory."""
    limiter = RateLimiter()
    for number in range(MAX_CALLERS + 50):
        limiter.wait_seconds(str(number), 60)
    assert len(limiter._buckets) == MAX_CALLERS


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_an_ipv6_network_is_one_caller(address, network):
    """Who has one IPv6 network has 2^64 addresses; it is counted as one."""
    assert network_of(address) == network
