"""Bytes of a connection, sent by plain sockets to the real program: nothing is parsed twice, and everything has a bound."""

from __future__ import annotations

import json
import re
import resource
import socket
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from service.security.keys import add_key
from service.server import protocol

BODY = b'{"query": "the cat", "top_k": 1}'
JSON = b"Content-Type: application/json\r\n"
HOST = b"Host: localhost\r\n"
LIVEZ = b"GET /livez HTTP/1.1\r\n" + HOST
CLOSE = b"Connection: close\r\n\r\n"
UPGRADES = {
    "curl": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n",
    "java": b"Connection: HTTP2-Settings, upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\n",
    "socket": b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eHl6\r\n",
    "tls": b"Connection: upgrade\r\nUpgrade: TLS/1.0\r\n",
    "several": b"Connection: keep-alive\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nUpgrade: websocket, TLS/1.3\r\n",
}
CHUNKED = b"Transfer-Encoding: chunked\r\n"


class Wire:
    """A plain connection to a service."""

    def __init__(self, port: int) -> None:
        """Connect."""
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)

    def send(self, *pieces: bytes) -> Wire:
        """Send each piece in a packet of its own."""
        for piece in pieces:
            self.socket.sendall(piece)
            time.sleep(0.02)  # else the kernel may join them
        return self

    def answers(self) -> list[tuple[int, bytes]]:
        """Status and body of everything that comes until the service closes the connection."""
        parts = []
        with self.socket:
            while part := self.socket.recv(65_536):
                parts.append(part)
        return split(b"".join(parts))


def split(received: bytes) -> list[tuple[int, bytes]]:
    """Cut what was received into responses by their lengths."""
    found = []
    while received:
        head, _, received = received.partition(b"\r\n\r\n")
        status = int(head.split()[1])
        length = re.search(rb"(?i)content-length: (\d+)", head)
        size = int(length[1]) if length else 0
        found.append((status, received[:size]))
        received = received[size:]
    return found


def post(body: bytes, headers: bytes = b"") -> bytes:
    """A search with its length."""
    return b"POST /search HTTP/1.1\r\n" + HOST + JSON + headers + b"Content-Length: %d\r\n\r\n" % len(body) + body


def chunked(*chunks: bytes, headers: bytes = b"", path: bytes = b"/search") -> bytes:
    """A request whose body comes in chunks, without the last one."""
    head = b"POST " + path + b" HTTP/1.1\r\n" + HOST + JSON + headers + b"Transfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)


def resident(process_id: int) -> int:
    """Resident memory of a process in bytes."""
    return int(Path(f"/proc/{process_id}/statm").read_text().split()[1]) * 4096


@pytest.fixture(scope="module")
def running(start_module_service, built_data):
    """A service over the six stories."""
    return start_module_service(built_data)


@pytest.fixture(scope="module")
def locked(start_module_service, built_data, tmp_path_factory):
    """The same with a key, which nobody here has."""
    keys = tmp_path_factory.mktemp("keys") / "keys.json"
    add_key(keys, "somebody", ("search",))
    return start_module_service(built_data, "--keys", str(keys))


# --- requests to upgrade --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("upgrade", UPGRADES.values(), ids=UPGRADES)
@pytest.mark.parametrize("in_pieces", [False, True], ids=["whole", "in pieces"])
def test_an_upgrade_is_ignored_and_the_body_read(running, upgrade, in_pieces):
    """A search that offers an upgrade is answered like any other, and so is the request behind it."""
    request, last = post(BODY, upgrade), LIVEZ + CLOSE
    head = len(request) - len(BODY)
    pieces = (request[:head], request[head : head + 9], request[head + 9 :], last) if in_pieces else (request + last,)
    (searched, content), (alive, _) = Wire(running.port).send(*pieces).answers()
    assert (searched, alive) == (200, 200)
    assert json.loads(content)["query"] == "the cat"


@pytest.mark.parametrize("upgrade", UPGRADES.values(), ids=UPGRADES)
def test_an_upgrade_with_a_body_in_chunks_or_none(running, upgrade):
    """Chunks are put together, and a request without a body ends with its head."""
    request = chunked(BODY[:7], BODY[7:], headers=upgrade) + b"0\r\n\r\n"
    answers = Wire(running.port).send(request + LIVEZ + upgrade + b"\r\n" + LIVEZ + CLOSE).answers()
    assert [status for status, _ in answers] == [200, 200, 200]


@pytest.mark.parametrize("in_pieces", [False, True], ids=["whole", "in pieces"])
def test_a_body_is_never_run_as_a_request(running, locked, in_pieces):
    """A body that is itself a request gives one answer, whether its own request is accepted or not."""
    hidden = b"DELETE /documents?id=a HTTP/1.1\r\n" + HOST + b"X: 1\r\n\r\n"
    for port, expected in ((running.port, 422), (locked.port, 401)):
        request = post(hidden, UPGRADES["curl"])
        pieces = request.partition(b"DELETE") if in_pieces else (request,)
        answers = Wire(port).send(pieces[0], b"".join(pieces[1:]), LIVEZ + CLOSE).answers()
        assert [status for status, _ in answers] == [expected, 200]


def test_connect_is_refused_and_nothing_behind_it_read(running):
    """What follows a CONNECT belongs to a tunnel that is not there."""
    ((status, content),) = Wire(running.port).send(b"CONNECT localhost:80 HTTP/1.1\r\n\r\n" + LIVEZ + CLOSE).answers()
    assert (status, json.loads(content)["type"]) == (400, "urn:dowse:problem:http")


# --- length against chunks ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        b"Content-Length: 4\r\nContent-Length: 40\r\n",
        b"Content-Length: +4\r\n",
        b"Content-Length: 4, 40\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b"Content-Length: 4\r\n Transfer-Encoding: chunked\r\n",
        b"Content-Length: 4\r\nContent-Length: 4\r\n",
        b"Content-Length: -4\r\n",
        b"Content-Length: 0x4\r\n",
        b"Content-Length: 4 0\r\n",
        b"Content-Length: 1e1\r\n",
        b"Content-Length:\r\n",
        b"Content-Length: 18446744073709551620\r\n",
        b"Content-Length: \xb2\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding: identity\r\n",
        b"Transfer-Encoding: \x0bchunked\r\n",
        b"Transfer-Encoding:\r\n",
        CHUNKED + CHUNKED,
        CHUNKED + b"Transfer-Encoding: identity\r\n",
    ],
)
@pytest.mark.parametrize("upgrade", [b"", UPGRADES["curl"]], ids=["plain", "upgrade"])
def test_contradictory_lengths_are_refused(running, headers, upgrade):
    """Where a body ends must not be a matter of opinion: one 400, and what follows is not read as a request."""
    request = b"POST /search HTTP/1.1\r\n" + HOST + JSON + upgrade + headers + b"\r\n0\r\n\r\n" + LIVEZ + CLOSE
    ((status, content),) = Wire(running.port).send(request).answers()
    assert status == 400
    assert json.loads(content)["type"] == "urn:dowse:problem:http"


@pytest.mark.parametrize(
    "body",
    [
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b"+5\r\nhello\r\n0\r\n\r\n",
        b"-1\r\nhello\r\n0\r\n\r\n",
        b" 5\r\nhello\r\n0\r\n\r\n",
        b"5 \r\nhello\r\n0\r\n\r\n",
        b"5\nhello\n0\n\n",
        b"5;a\nhello\r\n0\r\n\r\n",
        b'5;a="\r\n"\r\nhello\r\n0\r\n\r\n',
        b"5\r\nhello0\r\n\r\n",
        b"FFFFFFFFFFFFFFFF5\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhello\r\n0\r\nX: a\r\n folded\r\n\r\n",
        b"5\r\nhello\r\n0\r\nno colon\r\n\r\n",
        b"5\r\nhello\r\n0\r\nX: \0\r\n\r\n",
        b"5\r\nhello\r\n0\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
@pytest.mark.parametrize("upgrade", [b"", UPGRADES["curl"]], ids=["plain", "upgrade"])
def test_malformed_chunks_and_trailers_are_refused(running, upgrade, body):
    """A size, an end of line or a trailer that others may read in another way: one 400, whole and byte by byte."""
    request = b"POST /search HTTP/1.1\r\n" + HOST + JSON + upgrade + CHUNKED + b"\r\n" + body + LIVEZ + CLOSE
    for pieces in ([request], [request[at : at + 40] for at in range(0, len(request), 40)]):
        ((status, content),) = Wire(running.port).send(*pieces).answers()
        assert (status, json.loads(content)["type"]) == (400, "urn:dowse:problem:http")


# --- heads ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "head",
    [
        b"GET /livez HTTP/1.1\nHost: localhost\n\n",
        b"GET /livez HTTP/1.1\r\nHost: localhost\nX: y\r\n\r\n",
        b"GET /livez HTTP/1.1\rHost: localhost\r\r",
        b"GET /livez HTTP/1.1\r\n" + HOST + b"X: a\rb\r\n\r\n",
        b"GET /livez HTTP/1.1\r\n" + HOST + b"X: a\0b\r\n\r\n",
        b"GET /livez HTTP/1.1\r\n" + HOST + b"X : y\r\n\r\n",
        b"GET /livez HTTP/1.1\r\n" + HOST + b"no colon\r\n\r\n",
        b"GET /livez HTTP/1.1\r\n" + HOST + b"X: a\r\n folded\r\n\r\n",
        b"GET /livez HTTP/1.1\r\n" + HOST + b"Host: another\r\n\r\n",
        b"GET /livez\r\n",
        b"GET /livez HTTP/3.0\r\n" + HOST + b"\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"NONSENSE /livez HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET livez HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET http://[bad/livez HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET http://localhost:99999/livez HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET http://a:b:c/ HTTP/1.1\r\n" + HOST + UPGRADES["curl"] + b"\r\n",
        b"POST http://[bad HTTP/1.1\r\n" + HOST + CHUNKED + b"\r\n0\r\n\r\n",
        b"GET /caf\xe9 HTTP/1.1\r\n" + HOST + b"\r\n",
    ],
)
def test_a_malformed_head_is_refused_once(running, head):
    """What is no request line or no header gets one 400 in the one shape, after earlier answers, and an end."""
    for earlier, statuses in ((b"", [400]), (LIVEZ + b"\r\n", [200, 400])):
        answers = Wire(running.port).send(earlier + head + LIVEZ + CLOSE).answers()
        assert [status for status, _ in answers] == statuses
        assert json.loads(answers[-1][1])["type"] == "urn:dowse:problem:http"


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (b"http://localhost/livez", 200),
        (b"http://localhost", 200),
        (b"http://localhost?x=y", 200),
        (b"https://user:pw@another:8443/livez?x", 200),
        (b"//localhost/livez", 404),
        (b"*", 404),
        (b"/livez#fragment", 200),
        (b"/" + b"x" * 32_000, 404),
        (b"/" + b"x" * 40_000, 431),
        (b"http://localhost/" + b"x" * 40_000, 431),
    ],
)
def test_targets_of_every_form(running, target, status):
    """A whole URL is a path; what is too long is refused; none ends the connection without an answer."""
    answers = Wire(running.port).send(b"GET " + target + b" HTTP/1.1\r\n" + HOST + b"\r\n" + LIVEZ + CLOSE).answers()
    assert [each for each, _ in answers] == ([status] if status == 431 else [status, 200])


@pytest.mark.parametrize(("count", "status"), [(5_000, 200), (50_000, 431)])
def test_many_headers(running, count, status):
    """Thousands of tiny headers are taken as far as a head may be long."""
    ((answered, _),) = Wire(running.port).send(LIVEZ + b"A:\r\n" * count + CLOSE).answers()
    assert answered == status


# --- trailers -------------------------------------------------------------------------------------------------------


def endless(kind: str, size: int) -> bytes:
    """A request of ``size`` bytes that never ends."""
    if kind == "one trailer":
        return chunked() + b"0\r\nX-Long: " + b"y" * size
    if kind == "many trailers":
        return chunked(BODY) + b"0\r\n" + b"X-Many: yes\r\n" * (size // 13)
    return chunked(BODY) + b"5;name=" + b"y" * size


@pytest.mark.parametrize("kind", ["one trailer", "many trailers", "extension"])
def test_what_is_no_body_has_a_bound(running, kind):
    """Trailers and extensions of chunks that are longer than a head may be: 431, in the one shape."""
    request = endless(kind, 3 * protocol.MAX_HEAD_BYTES)
    half = len(request) // 2
    ((status, content),) = Wire(running.port).send(request[:half], request[half:]).answers()
    assert status == 431
    problem = json.loads(content)
    assert problem["type"] == "urn:dowse:problem:http"
    assert "railers" in problem["detail"]


@pytest.mark.parametrize("kind", ["one trailer", "many trailers", "extension"])
def test_endless_trailers_take_no_memory(locked, kind):
    """Two hundred megabytes of what is no body, without a key: the connection ends and memory stays as it was."""
    assert locked.status("/livez") == 200
    before = resident(locked.process.pid)
    with Wire(locked.port).socket as wire, pytest.raises(OSError):  # noqa: PT012 - closed at any of the calls
        wire.sendall(endless(kind, 200_000_000))
        wire.recv(1)
        raise ConnectionError
    assert locked.status("/livez") == 200
    assert resident(locked.process.pid) - before < 20_000_000


def test_trailers_are_no_headers(locked):
    """A key in a trailer opens nothing, and usual trailers do no harm."""
    request = chunked(BODY) + b"0\r\nAuthorization: Bearer x\r\nX-Checksum: 1\r\n\r\n"
    answers = Wire(locked.port).send(request + LIVEZ + CLOSE).answers()
    assert [status for status, _ in answers] == [401, 200]


def test_trailers_of_a_search_are_dropped(running):
    """They reach no application: a second Host or a request id in a trailer changes nothing."""
    request = chunked(BODY) + b"0\r\nX-Request-ID: of-the-trailer\r\nHost: [bad\r\n\r\n"
    (searched, content), _ = Wire(running.port).send(request + LIVEZ + CLOSE).answers()
    assert searched == 200
    assert json.loads(content)["request_id"] != "of-the-trailer"


# --- one after the other --------------------------------------------------------------------------------------------


def test_a_refusal_waits_for_the_answers_before_it(running):
    """Nonsense behind two requests is refused third, so that nobody takes the 400 for an answer to the first."""
    answers = Wire(running.port).send(post(BODY) + LIVEZ + b"\r\n" + b"\x16\x03\x01 nonsense\r\n\r\n").answers()
    assert [status for status, _ in answers] == [200, 200, 400]


def test_a_body_that_breaks_off_is_refused_in_its_turn(running):
    """A wrong chunk behind a search: the search is answered, the request of the chunk is refused, nothing else runs."""
    broken = chunked(BODY[:5]) + b"zz\r\n" + LIVEZ + CLOSE
    assert [status for status, _ in Wire(running.port).send(post(BODY) + broken).answers()] == [200, 400]
    assert [status for status, _ in Wire(running.port).send(broken).answers()] == [400]


def test_a_thousand_requests_in_one_go(running):
    """Pipelined requests are answered in their order, each once; those that offer an upgrade, too."""
    numbered = [b"GET /nowhere/%d HTTP/1.1\r\n" % n + HOST + UPGRADES["curl"] * (n % 2) + b"\r\n" for n in range(1000)]
    answers = Wire(running.port).send(b"".join(numbered) + LIVEZ + CLOSE).answers()
    assert [status for status, _ in answers] == [404] * 1000 + [200]
    paths = [re.search(rb"/nowhere/\d+", content)[0] for _, content in answers[:-1]]
    assert paths == [b"/nowhere/%d" % n for n in range(1000)]


def test_a_flood_of_requests_waits_outside(running):
    """Requests that are sent faster than they are answered are not read ahead: memory does not grow with them."""
    assert running.status("/livez") == 200
    before = resident(running.process.pid)
    wire = Wire(running.port).socket
    wire.settimeout(2)
    with wire, pytest.raises(TimeoutError):
        wire.sendall((LIVEZ + b"\r\n") * 2_000_000)
    assert running.status("/livez") == 200
    assert resident(running.process.pid) - before < 60_000_000


# --- slow clients ---------------------------------------------------------------------------------------------------


@pytest.fixture
def hasty(start_service, built_data, tmp_path):
    """A service in which all times are short."""
    return start_service(built_data, "--body-seconds", "0.5", **short_times(tmp_path))


def short_times(folder: Path) -> dict[str, str]:
    """Variables under which the program's times are tenths of seconds."""
    (folder / "sitecustomize.py").write_text(
        "import sys\n"
        "if 'service' in sys.orig_argv:\n"
        "    from service.server import protocol\n"
        "    protocol.HEAD_SECONDS = protocol.WRITE_SECONDS = 0.5\n"
    )
    root = Path(__file__).parents[3]
    return {"PYTHONPATH": f"{folder}:{root}"}


def trickle(wire: socket.socket, request: bytes) -> bytes:
    """Send a request byte by byte until the service ends the connection; return what it has said."""
    received = b""
    wire.settimeout(0.1)
    with wire:
        for at in range(len(request)):
            try:
                wire.sendall(request[at : at + 1])
                part = wire.recv(65_536)
            except TimeoutError:
                continue
            except ConnectionError:
                return received
            received += part
            if not part:
                return received
    pytest.fail("the connection was not ended")


def test_slow_heads_and_bodies_have_an_end(hasty):
    """A head byte by byte is cut off, and a body byte by byte gets 408; so does one for an upgrade."""
    assert trickle(Wire(hasty.port).socket, LIVEZ + b"X: " + b"y" * 100) == b""
    for upgrade in (b"", UPGRADES["java"]):
        wire = Wire(hasty.port).send(post(b" " * 100, upgrade)[:-100]).socket
        assert trickle(wire, b" " * 100).startswith(b"HTTP/1.1 408 ")
        wire = Wire(hasty.port).send(chunked(BODY, headers=upgrade)).socket
        assert trickle(wire, b"5;name=" + b"y" * 100).startswith(b"HTTP/1.1 408 ")


def test_a_body_that_waits_for_nothing_has_an_end(hasty):
    """A client that asks whether to send its body, hears yes, and does not, gets 408; the next one is served."""
    answers = Wire(hasty.port).send(post(BODY, b"Expect: 100-continue\r\n")[: -len(BODY)]).answers()
    assert [status for status, _ in answers] == [100, 408]
    wire = Wire(hasty.port).send(post(BODY, b"Expect: 100-continue\r\n")[: -len(BODY)], BODY + LIVEZ + CLOSE)
    assert [status for status, _ in wire.answers()] == [100, 200, 200]


def test_empty_lines_keep_no_connection_open(hasty):
    """Line ends sent forever, before the first request and after one, are no request."""
    assert trickle(Wire(hasty.port).socket, b"\r\n" * 50) == b""
    wire = Wire(hasty.port).send(LIVEZ + b"\r\n").socket
    assert trickle(wire, b"\r\n" * 50).startswith(b"HTTP/1.1 200 ")


def test_the_rest_of_a_refused_body_has_an_end(start_service, built_data, tmp_path):
    """A client without a key that goes on sending its body, or its trailers, after the 401 is cut off."""
    keys = tmp_path / "keys.json"
    add_key(keys, "somebody", ("search",))
    service = start_service(built_data, "--keys", str(keys), **short_times(tmp_path))
    for request in (post(b" " * 200)[:-200], chunked() + b"0\r\nX-Slow: "):
        wire = Wire(service.port).send(request).socket
        assert trickle(wire, b"y" * 200).startswith(b"HTTP/1.1 401 ")


def descriptors(process_id: int) -> int:
    """How many descriptors a process has open."""
    return len(list(Path(f"/proc/{process_id}/fd").iterdir()))


def test_silent_readers_are_given_up(hasty, eventually):
    """Clients that send requests and never read lose the connection, and the service its descriptors for them."""
    assert hasty.status("/livez") == 200
    before = descriptors(hasty.process.pid)
    wires = []
    for _ in range(10):
        wire = socket.socket()
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        wire.connect(("127.0.0.1", hasty.port))
        wire.settimeout(1)
        with pytest.raises(OSError):
            wire.sendall((b"GET /static-offline-docs/swagger-ui-bundle.js HTTP/1.1\r\n" + HOST + b"\r\n") * 200_000)
        wires.append(wire)
    eventually(lambda: descriptors(hasty.process.pid) <= before + 1, "silent readers are given up")
    for wire in wires:
        wire.close()


def test_a_silent_reader_of_a_kept_connection_is_given_up(hasty):
    """A client that reads its first answers, then sends on and reads nothing more, is cut off."""
    wire = socket.socket()
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    wire.connect(("127.0.0.1", hasty.port))
    for _ in range(20):
        wire.sendall(LIVEZ + b"\r\n")
        received = b""
        while not received.endswith(b'"alive"}'):
            received += wire.recv(65_536)
    wire.settimeout(30)
    with wire, pytest.raises(ConnectionError):
        wire.sendall((b"GET /openapi.json HTTP/1.1\r\n" + HOST + b"\r\n") * 2_000_000)


def test_readers_are_watched_without_a_free_descriptor():
    """What a client has received is known also where clients have taken all descriptors."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as reader:
        accepted, _ = listener.accept()
        with accepted:
            accepted.sendall(b"x" * 1000)
            assert len(reader.recv(1000, socket.MSG_WAITALL)) == 1000
            limits = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
            try:
                received = protocol.acknowledged_bytes(SimpleNamespace(get_extra_info=lambda _: accepted))
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            assert received in (1000, 1001)  # the handshake may count
            accepted.sendall(b"still open")


def test_slow_readers_get_everything(hasty):
    """A client that reads slowly, and yet reads, gets its whole response, though that takes longer than the time-out."""
    wire = socket.socket()
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    wire.connect(("127.0.0.1", hasty.port))
    wire.sendall(b"GET /static-offline-docs/swagger-ui-bundle.js HTTP/1.1\r\n" + HOST + CLOSE)
    received = b""
    started = time.monotonic()
    with wire:
        while part := wire.recv(65_536):
            received += part
            time.sleep(0.05)
    ((status, content),) = split(received)
    assert status == 200
    assert len(content) > 500_000
    assert time.monotonic() - started > 0.6


# --- one shape ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", [b"[bad", b"a]b", b"[::1", b"x/v1/", b"\xff"])
def test_a_malformed_host_is_no_fault_of_the_service(running, host):
    """Whatever stands in `Host`, an error is a problem of the client and in the one shape."""
    request = b"GET /nowhere HTTP/1.1\r\nHost: " + host + b"\r\n" + CLOSE
    ((status, content),) = Wire(running.port).send(request).answers()
    assert status in (404, 421)
    assert json.loads(content)["status"] == status
    assert "error" not in json.loads(content)
