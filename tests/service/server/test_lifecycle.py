"""Lifecycle of the service: start with and without an index, following `CURRENT`, and shutdown."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from indexer.artifacts.store import Store
from indexer.index.index import Index
from indexer.inference.encoder import Encoder
from indexer.retrieval.retriever import Retriever
from service.app import create_app
from service.serving import follower
from service.settings import ServiceSettings

ROOT = Path(__file__).parents[3]
CATS = {"id": ["a", "b"], "text": ["The cat sits in the garden.", "The dog runs by the river."]}
KINGS = {"id": ["k", "l", "m"], "text": ["The king eats cheese.", "The queen eats bread.", "Snow in winter."]}
SEARCH = {"query": "cat"}


def service(data):
    """A client of a service that looks for new indexes all the time."""
    return TestClient(create_app(ServiceSettings(data=data, poll_seconds=0.02, deadline_seconds=60)))


def live(client):
    """The id of the index that answers, or None."""
    answer = client.post("/search", json=SEARCH)
    return answer.json()["index"]["id"] if answer.status_code == 200 else None


def flip(path):
    """Flip one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def move_in(publish, data, columns, spoil=lambda _folder: None):
    """Publish an index that was built, and then spoiled, elsewhere; return its id."""
    elsewhere = data.with_name("elsewhere")
    shutil.copytree(data, elsewhere)
    name = publish(columns, elsewhere).manifest.id
    spoil(elsewhere / "indexes" / name)
    shutil.copytree(elsewhere / "indexes" / name, data / "indexes" / name)
    shutil.rmtree(elsewhere)
    Store("index", data).activate(name)
    return name


def test_without_an_index_it_lives_and_says_what_to_do(data):
    """Without an index the process is alive but not ready, and says which command makes one."""
    with service(data) as client:
        for path in ("/livez", "/healthz"):
            assert client.get(path).status_code == 200
            assert client.get(path).json() == {"status": "alive"}
        assert client.get("/info").json()["index"] is None
        assert client.get("/").status_code == 200
        for answer in (client.get("/readyz"), client.post("/search", json=SEARCH), client.get("/documents/a")):
            assert answer.status_code == 503
            assert "python -m indexer build" in answer.json()["detail"]
            assert answer.headers["Retry-After"]


def test_the_first_index_is_taken_up_without_a_restart(data, publish, eventually):
    """A service that was started before there was an index becomes ready once one is built."""
    with service(data) as client:
        assert client.get("/readyz").status_code == 503
        built = publish(CATS, data).manifest
        eventually(lambda: client.get("/readyz").status_code == 200, "the first index is taken up")
        assert client.get("/readyz").json() == {"status": f"ready: {built.id}"}
        answer = client.post("/search", json=SEARCH).json()
        assert answer["index"] == {
            "id": built.id,
            "generation": f"{built.id}.0",
            "model": built.parents["model"],
            "documents": 2,
        }
        assert answer["results"][0]["id"] == "a"


def test_info_describes_the_index(data, publish):
    """`/info` says how the live index was built, with which model, and which metadata it has."""
    built = publish({**CATS, "price": [1.5, 2.5]}, data).manifest
    with service(data) as client:
        body = client.get("/info").json()
    assert body["name"] == "Dowse"
    assert body["version"] == built.versions["dowse"]
    assert body["index"]["id"] == built.id
    assert body["index"]["documents"] == body["index"]["passages"] == 2
    assert body["index"]["config"] == built.config
    assert body["index"]["encoder"] == built.encoder.model_dump()
    assert body["index"]["metadata"] == {"price": "double"}


def test_a_newer_index_is_taken_up_and_a_rollback_followed(data, publish, eventually):
    """The service follows what is live: a newer index, and the way back to the one before."""
    old = publish(CATS, data).manifest.id
    with service(data) as client:
        assert live(client) == old
        new = publish(KINGS, data).manifest.id
        eventually(lambda: live(client) == new, "the newer index is taken up")
        assert client.get("/documents/k").status_code == 200
        assert client.get("/documents/a").status_code == 404
        Store("index", data).activate(old)
        eventually(lambda: live(client) == old, "the rollback is followed")
        assert client.get("/documents/a").status_code == 200


def test_no_request_fails_while_indexes_change(data, publish, eventually):
    """While one index replaces another, every request is answered from one of the two."""
    old = publish(CATS, data).manifest.id
    stop = threading.Event()
    answers = []
    with service(data) as client:

        def ask():
            while not stop.is_set():
                answer = client.post("/search", json=SEARCH)
                answers.append((answer.status_code, answer.json()["index"]["id"], answer.json()["count"]))

        with ThreadPoolExecutor(2) as threads:
            asking = [threads.submit(ask) for _ in range(2)]
            try:
                new = publish(KINGS, data).manifest.id
                eventually(lambda: live(client) == new, "the newer index is taken up")
            finally:
                stop.set()
            for each in asking:
                each.result()
    assert {answer for answer in answers if answer[1] == old} == {(200, old, 2)}
    assert {answer for answer in answers if answer[1] != old} <= {(200, new, 3)}


def test_one_answer_comes_from_one_index(data, publish, eventually, monkeypatch):
    """A request that began with one index ends with it, whatever is published meanwhile."""
    old = publish(CATS, data).manifest.id
    found, published = threading.Event(), threading.Event()
    hits = Retriever.hits

    def slow_hits(retriever, *args, **kwargs):
        if retriever.index.manifest.id == old:  # the newer one is warmed up by a search of its own
            found.set()
            assert published.wait(60)
        return hits(retriever, *args, **kwargs)

    with service(data) as client, ThreadPoolExecutor(1) as threads:
        monkeypatch.setattr(Retriever, "hits", slow_hits)
        asked = threads.submit(lambda: client.post("/search", json=SEARCH).json())
        try:
            assert found.wait(60)
            new = publish(KINGS, data).manifest.id
            eventually(lambda: client.get("/readyz").json()["status"] == f"ready: {new}", "the newer index is taken up")
        finally:
            published.set()
        answer = asked.result()
        assert answer["index"]["id"] == old
        assert {result["id"] for result in answer["results"]} == {"a", "b"}
        assert live(client) == new


@pytest.mark.parametrize(
    "name",
    ["indexes/*/vectors.faiss", "indexes/*/documents/*.arrow", "indexes/*/manifest.json", "models/*/onnx/model.onnx"],
)
def test_a_damaged_file_is_noticed_at_the_start(data, publish, name, caplog):
    """One flipped bit in index or model: the service lives, is not ready, says what to run, and logs the file."""
    publish(CATS, data)
    (path,) = data.glob(name)
    flip(path)
    with service(data) as client:
        assert client.get("/livez").status_code == 200
        answer = client.get("/readyz")
        assert answer.status_code == 503
        assert "python -m indexer verify" in answer.json()["detail"]
        assert str(data) not in answer.text
        assert client.post("/search", json=SEARCH).status_code == 503
        assert client.get("/info").json()["index"] is None
    assert str(path) in caplog.text


def test_a_good_index_heals_a_damaged_start(data, publish, eventually):
    """A service that found a damaged index takes up a good one as soon as it is built."""
    bad = publish(CATS, data).manifest.id
    flip(data / "indexes" / bad / "vectors.faiss")
    with service(data) as client:
        assert client.get("/readyz").status_code == 503
        good = publish(CATS, data, force=True).manifest.id
        eventually(lambda: client.get("/readyz").status_code == 200, "the good index is taken up")
        assert live(client) == good != bad


def test_a_damaged_newer_index_leaves_the_old_one_in_place(data, publish, eventually, caplog):
    """A newer index that is damaged is refused once, with a line in the log, and the one before goes on answering."""
    old = publish(CATS, data).manifest.id
    with service(data) as client:
        bad = move_in(publish, data, KINGS, lambda folder: flip(folder / "vectors.faiss"))
        eventually(lambda: "vectors.faiss" in caplog.text, "the damaged index is noticed")
        assert Store("index", data).current_id() == bad
        assert live(client) == old
        assert client.get("/readyz").status_code == 200
        good = publish(KINGS, data, force=True).manifest.id
        eventually(lambda: live(client) == good, "the good index is taken up")
    refusals = [record for record in caplog.records if "vectors.faiss" in record.getMessage()]
    assert [record.levelno for record in refusals] == [logging.ERROR]


def test_what_the_machine_would_not_let_be_opened_is_tried_again(data, publish, eventually, monkeypatch):
    """Where files ran out or a disk is full the index is not to blame: it comes up by itself once there is room."""
    index = publish(CATS, data).manifest.id
    room, attempts = threading.Event(), []

    def open_(*given, **named):
        if not room.is_set():
            attempts.append(None)
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return opened(*given, **named)

    opened = Index.open
    monkeypatch.setattr(Index, "open", open_)
    monkeypatch.setattr(follower, "RETRY_SECONDS", 0.1)
    with service(data) as client:
        detail = client.get("/readyz").json()["detail"]
        assert "Too many open files" in detail and "tried again" in detail
        eventually(lambda: len(attempts) > 2, "it is tried again")
        room.set()
        eventually(lambda: live(client) == index, "the index is taken up")


def test_a_lasting_error_is_reported_once(data, publish, eventually, monkeypatch, caplog):
    """Without free descriptors `CURRENT` cannot be read either, every second: each kind of artifact has one line."""
    index = publish(CATS, data).manifest.id
    attempts = []

    def fail(store):
        attempts.append(store)
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with service(data) as client:
        with monkeypatch.context() as scarce:
            scarce.setattr(Store, "activation", fail)
            eventually(lambda: len(attempts) > 12, "three attempts for each of four kinds")
        lines = [record for record in caplog.records if "Too many open files" in record.getMessage()]
        # Other tests' services may still run in this process, and follow stores of their own.
        assert len(lines) == len({id(store) for store in attempts}) >= 4
        assert not any(record.exc_info for record in lines)
        assert live(client) == index


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("bad allocation"), OSError(errno.EMFILE, "none left")])
def test_no_transient_error_of_opening_is_final(data, publish, eventually, monkeypatch, error):
    """A lack of memory or of descriptors, also while a manifest is read, is tried again by itself."""
    index = publish(CATS, data).manifest.id
    room = threading.Event()
    read = Path.read_bytes

    def scarce(path):
        if path.name == "manifest.json" and not room.is_set():
            raise error
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", scarce)
    monkeypatch.setattr(follower, "RETRY_SECONDS", 0.1)
    with service(data) as client:
        assert "tried again" in client.get("/readyz").json()["detail"]
        room.set()
        eventually(lambda: live(client) == index, "the index is taken up")


def test_a_nonsense_current_leaves_the_old_one_in_place(data, publish, eventually, caplog):
    """A `CURRENT` that names no index changes nothing about what is served."""
    old = publish(CATS, data).manifest.id
    with service(data) as client:
        (data / "indexes" / "CURRENT").write_text("../../etc\n")
        eventually(lambda: "is no artifact id" in caplog.text, "the nonsense is noticed")
        assert live(client) == old


def test_queries_are_encoded_off_the_event_loop(data, publish, monkeypatch):
    """Encoding never runs on the thread of the event loop, where it would hold up every other request."""
    publish(CATS, data)
    encoding, loops = [], set()
    encode = Encoder.encode_query

    def recording(self, query):
        encoding.append(threading.current_thread())
        with pytest.raises(RuntimeError, match="no running event loop"):
            asyncio.get_running_loop()
        return encode(self, query)

    monkeypatch.setattr(Encoder, "encode_query", recording)
    app = create_app(ServiceSettings(data=data))

    async def watched(scope, receive, send):
        loops.add(threading.current_thread())
        await app(scope, receive, send)

    with TestClient(watched) as client:
        assert encoding, "the encoder was not warmed up"
        warm = len(encoding)
        assert client.post("/search", json=SEARCH).status_code == 200
        assert client.get("/search?q=cat").status_code == 200
    assert len(encoding) == warm + 2
    assert loops
    assert not loops.intersection(encoding)


def test_searches_side_by_side_give_what_they_give_alone(client):
    """Answers do not mix when many queries are sent at the same time."""
    queries = [f"{one} {other}" for one in ("cat", "dog", "king", "snow") for other in ("river", "wine", "sun", "ship")]

    def results(query):
        return client.post("/search", json={"query": query, "explain": True}).json()["results"]

    alone = [results(query) for query in queries]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(results, queries)) == alone


def test_it_listens_on_this_machine_alone(tmp_path, start_service):
    """By default only this machine reaches the service, and the first line says where."""
    assert ServiceSettings().host == "127.0.0.1"
    running = start_service(tmp_path)
    assert running.line.startswith(f"http://127.0.0.1:{running.port} ")
    listening = {
        line.split()[1]
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/{running.process.pid}/net/{name}").read_text().splitlines()[1:]
        if line.split()[3] == "0A" and line.split()[1].endswith(f":{running.port:04X}")
    }
    assert listening == {f"0100007F:{running.port:04X}"}


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_taken_port_is_one_line_and_exit_2(tmp_path, workers):
    """A port that another program has is an error of one line that names the flag, not a traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "service", "--port", port, "--data", str(tmp_path), "--workers", workers]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 2
    assert ended.stdout == ""
    (line,) = ended.stderr.splitlines()
    assert line.startswith("error: ")
    assert "--port" in line
    assert port in line


# Ctrl-C is how an operator ends the program, which is no failure. SIGTERM, the way of Docker and systemd, ends it as
# cleanly; uvicorn then hands the signal on, so that the parent sees that it was a signal: 143 in a shell.
@pytest.mark.parametrize("ending", [(signal.SIGINT, 0), (signal.SIGTERM, -signal.SIGTERM)], ids=["SIGINT", "SIGTERM"])
def test_a_signal_ends_it_once_open_requests_are_answered(data, publish, start_service, eventually, ending):
    """On Ctrl-C and SIGTERM it takes no new requests, answers the open one and ends without a traceback."""
    number, code = ending
    publish(CATS, data)
    running = start_service(data)
    eventually(lambda: running.status("/readyz") == 200, "the service is ready")
    body = b'{"query": "cat"}'
    with socket.create_connection(("127.0.0.1", running.port), timeout=60) as connection:
        connection.sendall(
            b"POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body)
        )
        assert connection.recv(4096).startswith(b"HTTP/1.1 100")  # the request has begun
        running.process.send_signal(number)
        eventually(lambda: not running.accepts(), "new connections are refused")
        connection.sendall(body)
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    said = running.process.communicate(timeout=60)[1]
    assert answer.startswith(b"HTTP/1.1 200")
    assert b'"results":[{"id":"a"' in answer
    assert running.process.returncode == code
    assert "Traceback" not in said


def test_a_damaged_index_does_not_end_the_program(data, publish, start_service):
    """The program stays up when the index is damaged, says so in its log without a traceback, and ends cleanly."""
    name = publish(CATS, data).manifest.id
    flip(data / "indexes" / name / "vectors.faiss")
    running = start_service(data)
    assert running.status("/readyz") == 503
    assert running.status("/livez") == 200
    assert running.process.poll() is None
    assert running.end(signal.SIGINT) == 0
    assert "vectors.faiss" in running.said
    assert "Traceback" not in running.said


def test_connections_do_not_wait_for_acknowledgements():
    """A connection that the service accepts sends small packets at once, instead of 40 ms later."""
    from service.server.listener import listen

    with (
        listen("127.0.0.1", 0) as listener,
        socket.create_connection(listener.getsockname()) as _,
        listener.accept()[0] as accepted,
    ):
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
