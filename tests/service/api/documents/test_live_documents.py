"""Documents that are written while the service runs: on the disk and found with the answer, and never lost."""

from __future__ import annotations

import datetime as dt
import errno
import json
import os
import random
import resource
import shutil
import signal
import threading
import time
from dataclasses import replace
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from starlette.testclient import TestClient

from indexer.build.compact import compact
from indexer.inference.encoder import Encoder
from indexer.live.forget import Retracted, forget
from indexer.live.inspect import log_problems
from indexer.live.log import WriteLog
from indexer.live.overlay import Overlay
from indexer.live.prepare import Preparer
from service.api.documents.routes import TOKENS_PER_TURN
from service.app import create_app
from service.check import run_checks
from service.settings import ServiceSettings

CATS = {"id": ["a", "b"], "text": ["The cat sits in the garden.", "The dog runs by the river."], "price": [1.5, 2.5]}
KINGS = {"id": ["k", "b"], "text": ["The king eats cheese.", "The queen eats bread."], "price": [3.5, 4.5]}
STORM = {"id": "s", "title": "Storm", "text": "A sailor in the storm.", "metadata": {"price": 9}}
MODES = ("dense", "lexical", "hybrid")


def service(data: Path, **settings: object) -> TestClient:
    """A client of a service that takes writes."""
    return TestClient(create_app(ServiceSettings(data=data, writable=True, poll_seconds=0.02, **settings)))


def found(client: TestClient, query: str, mode: str) -> list[str]:
    """The ids that a search finds."""
    answer = client.post("/search", json={"query": query, "mode": mode, "top_k": 100})
    assert answer.status_code == 200, answer.text
    return [result["id"] for result in answer.json()["results"]]


def call(port: int, method: str, path: str, body: object = None) -> tuple[int, dict]:
    """Ask a real service; raise OSError or HTTPException where it dies meanwhile."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(
            method, path, None if body is None else json.dumps(body), {"Content-Type": "application/json"}
        )
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def put(*names: str, text: str = "The ship at sea.") -> dict:
    """A request with some documents."""
    return {"documents": [{"id": name, "text": text} for name in names]}


def test_what_is_put_is_found_at_once_and_after_a_restart(data, publish):
    """A document that was put is found by both legs with the answer, whole, and by the next service too."""
    built = publish(CATS, data).manifest
    with service(data) as client:
        answer = client.put("/documents", json={"documents": [STORM, {"id": "a", "text": "The horse."}]}).json()
        assert (answer["put"], answer["replaced"], answer["deleted"]) == (2, 1, 0)
        assert answer["index"]["generation"] == f"{built.id}.1"
        assert answer["index"]["documents"] == 3
        seen = {mode: found(client, "the storm", mode) for mode in MODES}
        assert seen["lexical"] == ["s"]
        assert set(seen["dense"]) == set(seen["hybrid"]) == {"a", "b", "s"}
        assert client.get("/documents/a").json()["text"] == "The horse."
        assert found(client, "cat", "lexical") == []
        assert client.post("/search", json={"query": "cat"}).json()["index"]["generation"] == f"{built.id}.1"
    with service(data) as client:
        assert {mode: found(client, "the storm", mode) for mode in MODES} == seen
        whole = client.get("/documents/s").json()
        assert (whole["title"], whole["text"], whole["metadata"]) == ("Storm", STORM["text"], {"price": 9.0})
        assert client.get("/documents/s/similar").json()["count"] == 2


def test_what_is_deleted_is_gone(data, publish):
    """A deleted document is found by no leg and no id; deleting what is not there is no error."""
    publish(CATS, data)
    with service(data) as client:
        client.put("/documents", json={"documents": [STORM]})
        answer = client.delete("/documents", params={"id": ["a", "s", "nope", "a"]}).json()
        assert (answer["deleted"], answer["index"]["documents"]) == (2, 1)
    with service(data) as client:
        for mode in ("dense", "hybrid"):
            assert found(client, "the cat in the storm", mode) == ["b"]
        assert client.get("/documents/a").status_code == client.get("/documents/s").status_code == 404


def test_another_process_follows(data, publish, eventually):
    """Two services over one data directory, one of them read-only, soon show the same."""
    publish(CATS, data)
    with service(data) as one, TestClient(create_app(ServiceSettings(data=data, poll_seconds=0.02))) as other:
        one.put("/documents", json={"documents": [STORM]})
        eventually(lambda: found(other, "storm", "lexical") == ["s"], "the other service shows the document")
        assert other.put("/documents", json={"documents": [STORM]}).status_code == 403


def test_writes_are_off_by_default(data, publish):
    """A service without --writable refuses writes, and names the flag."""
    publish(CATS, data)
    with TestClient(create_app(ServiceSettings(data=data))) as client:
        for answer in (
            client.put("/documents", json={"documents": [STORM]}),
            client.delete("/documents?id=a"),
            client.post("/feedback", json={"query": "cat", "document": "a", "click": True}),
        ):
            assert answer.status_code == 403
            assert "--writable" in answer.json()["detail"]
    assert not (data / "live").exists()


def test_a_write_is_not_refused_and_yet_applied(data, publish, monkeypatch):
    """Before it is begun, a write that takes too long is a 504 and nothing is written; once it has begun, it is answered."""
    publish(CATS, data)
    gate = threading.Event()

    def slow(work):
        return lambda *args: (gate.wait(60), work(*args))[1]

    with service(data, deadline_seconds=0.3) as client:
        with monkeypatch.context() as patched:
            patched.setattr(Encoder, "encode_documents", slow(Encoder.encode_documents))
            assert client.put("/documents", json={"documents": [STORM]}).status_code == 504
            gate.set()
        gate.clear()
        monkeypatch.setattr(WriteLog, "append", slow(WriteLog.append))
        threading.Timer(0.6, gate.set).start()
        answer = client.put("/documents", json={"documents": [{"id": "a", "text": "The horse."}]}).json()
        assert (answer["put"], answer["index"]["generation"][-2:]) == (1, ".1")
        assert client.get("/documents/s").status_code == 404


def test_many_documents_are_put_together(data, publish):
    """More documents than are prepared in one turn are written by one write, with their own vectors each."""
    publish(CATS, data)
    words = ("cat", "dog", "king", "ship")
    documents = [{"id": f"{words[number % 4]}-{number}", "text": f"The {words[number % 4]}."} for number in range(40)]
    with service(data) as client:
        answer = client.put("/documents", json={"documents": documents}).json()
        assert (answer["put"], answer["index"]["generation"][-2:]) == (40, ".1")
        for word in words:
            assert {each.split("-")[0] for each in found(client, f"The {word}.", "dense")[:10]} == {word}


def test_metadata_must_fit_the_index(data, publish):
    """Columns that the index has not, and values of another type, are refused and all named; nothing is written."""
    publish(CATS, data)
    wrong = {"id": "w", "text": "x", "metadata": {"price": "cheap", "rooms": 2}}
    with service(data) as client:
        answer = client.put("/documents", json={"documents": [STORM, wrong]})
        assert answer.status_code == 422
        fields = {error["field"]: error["message"] for error in answer.json()["errors"]}
        assert fields.keys() == {"body.documents.1.metadata.price", "body.documents.1.metadata.rooms"}
        assert "double" in fields["body.documents.1.metadata.price"]
        assert "price" in fields["body.documents.1.metadata.rooms"]
        assert client.get("/documents/s").status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {"documents": []},
        {"documents": [{"id": "x", "text": " \n"}]},
        {"documents": [{"id": " ", "text": "x"}]},
        {"documents": [{"id": "x"}]},
        {"documents": [{"id": "x", "text": "x"}, {"id": "x", "text": "y"}]},
        {"documents": [{"id": "x", "text": "a\ud800"}]},
        {"documents": [{"id": "x", "text": "x", "metadata": {"\ud800": 1}}]},
        {"documents": [{"id": "x", "text": "x", "metadata": {"price": "\ud800"}}]},
        {"documents": [{"id": "x", "text": "x", "metadata": {"price": 10**400}}]},
        {"documents": [{"id": "x", "text": "x", "color": 1}]},
    ],
)
def test_what_is_no_document_is_refused(data, publish, body):
    """A malformed document is the client's error, never the service's."""
    publish(CATS, data)
    with service(data) as client:
        answer = client.put("/documents", content=json.dumps(body), headers={"Content-Type": "application/json"})
        assert answer.status_code == 422
        assert answer.json()["type"] == "urn:dowse:problem:invalid-request"
    assert not list((data / "live").glob("*.log"))


def test_writes_stay_over_a_new_index(data, publish, eventually):
    """An index that is built meanwhile is taken up with all that was written over it, whatever it holds itself."""
    publish(CATS, data)
    with service(data) as client:
        client.put("/documents", json={"documents": [STORM, {"id": "k", "text": "The moon."}]})
        client.delete("/documents?id=b")
        new = publish(KINGS, data).manifest.id
        eventually(lambda: client.get("/info").json()["index"]["generation"] == f"{new}.2", "the new index")
        assert set(found(client, "king", "dense")) == {"k", "s"}
        assert client.get("/documents/k").json()["text"] == "The moon."


def test_a_running_service_follows_what_is_forgotten(data, publish, eventually):
    """A running service drops forgotten writes, and continues writing with the next number."""
    built = publish(CATS, data).manifest
    with service(data) as client:
        client.put("/documents", json={"documents": [STORM, {"id": "a", "text": "The horse."}]})
        client.delete("/documents?id=b")
        assert forget(data, ids=["a", "b"]) == Retracted(puts=1, deletes=1)
        eventually(lambda: found(client, "cat", "lexical") == ["a"], "the index speaks for its document again")
        assert set(found(client, "the dog", "dense")) == {"a", "b", "s"}
        assert found(client, "horse", "lexical") == []
        answer = client.delete("/documents?id=s").json()
        assert (answer["deleted"], answer["index"]["generation"]) == (1, f"{built.id}.4")
    with service(data) as client:
        assert set(found(client, "the dog", "dense")) == {"a", "b"}


def test_a_damaged_log_is_not_served(data, publish):
    """One flipped bit in the log: the service lives, is not ready, and names the command that says where."""
    publish(CATS, data)
    with service(data) as client:
        client.put("/documents", json={"documents": [STORM]})
        client.put("/documents", json={"documents": [STORM]})
    (path,) = (data / "live").glob("*.log")
    content = bytearray(path.read_bytes())
    content[50] ^= 1
    path.write_bytes(content)
    with service(data) as client:
        answer = client.get("/readyz")
        assert answer.status_code == 503
        assert "python -m indexer verify" in answer.json()["detail"]


def test_damage_under_way_is_reported_once(data, publish, eventually, caplog):
    """A log that is damaged while the service runs: searches go on, writes are refused, and one line tells it."""
    publish(CATS, data)
    with service(data) as client:
        client.put("/documents", json={"documents": [STORM]})
        (path,) = (data / "live").glob("*.log")
        with path.open("ab") as file:
            file.write(b"12345678 {}\n")
        eventually(lambda: "is damaged; restore" in caplog.text, "the damage is noticed")
        answer = client.put("/documents", json={"documents": [STORM]})
        assert answer.status_code == 503
        assert "python -m indexer verify" in answer.json()["detail"]
        assert found(client, "storm", "lexical") == ["s"]
        time.sleep(0.2)  # ten more looks
    assert caplog.text.count("is damaged; restore") == 1


def test_a_disk_that_cannot_be_written(data, publish, monkeypatch):
    """On a read-only disk writes are refused with clear words, and searches go on."""
    publish(CATS, data)

    def refuse(*_args, **_options):
        raise OSError(30, "Read-only file system")

    with service(data) as client:
        monkeypatch.setattr(Path, "mkdir", refuse)  # root may write where others may not
        for answer in (
            client.put("/documents", json={"documents": [STORM]}),
            client.post("/feedback", json={"query": "cat", "document": "a", "grade": 2}),
        ):
            assert answer.status_code == 503
            assert answer.json()["type"] == "urn:dowse:problem:not-written"
            assert "writable" in answer.json()["detail"]
        assert found(client, "cat", "lexical") == ["a"]


def test_a_full_disk_loses_nothing(data, publish, start_service, monkeypatch):
    """Where the disk is full in the middle of a write, it is refused as a whole; all before stays, searches go on."""
    publish(CATS, data)
    limit = 8_192
    monkeypatch.setattr("subprocess.Popen", limited(limit))
    running = start_service(data, "--writable")
    answers = [call(running.port, "PUT", "/documents", put(f"d{number}", text="word " * 300))[0] for number in range(6)]
    assert sorted(set(answers)) == [200, 507]
    written = [f"d{number}" for number, status in enumerate(answers) if status == 200]
    (path,) = (data / "live").glob("*.log")
    assert path.read_bytes().endswith(b"\n")
    assert running.status("/documents/a") == 200
    running.kill()
    with service(data) as client:
        there = [f"d{number}" for number in range(6) if client.get(f"/documents/d{number}").status_code == 200]
        assert there == written


def test_writes_go_on_when_there_is_room_again(data, publish, small_disk, caplog):
    """On a real disk that is full, and then read-only, searches go on; with room again so do writes, without a restart."""
    publish(CATS, data)
    disk = small_disk(data / "live", "256k")
    written = []
    troubles = {disk.fill: (507, "disk-full"), disk.forbid_writing: (503, "not-written")}
    with service(data) as client:
        for turn, (trouble, (status, kind)) in enumerate(troubles.items()):
            assert client.put("/documents", json=put(f"{turn} before", text="word " * 100)).status_code == 200
            trouble()
            refused = [client.put("/documents", json=put(f"{turn} {n}", text="word " * 2_000)) for n in range(3)]
            refused.append(client.post("/feedback", json={"query": "cat" * 600, "document": "a", "click": True}))
            for answer in refused:
                assert (answer.status_code, answer.json()["type"]) == (status, f"urn:dowse:problem:{kind}")
            assert found(client, "cat", "lexical") == ["a"]
            disk.relieve()
            assert client.put("/documents", json=put(f"{turn} after")).status_code == 200
            written += [f"{turn} before", f"{turn} after"]
    with service(data) as client:
        assert set(found(client, "word ship", "dense")) == {"a", "b", *written}
    assert caplog.text.count("write refused") == 8


def limited(size: int):
    """A Popen whose process cannot make a file longer than some bytes: what a full disk does to it."""
    import subprocess

    popen = subprocess.Popen

    def start(*arguments, **options):
        return popen(*arguments, **options, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)))

    return start


def test_kill_loses_nothing_that_was_answered(data, publish, start_service):
    """Killed in the middle of writes, again and again: the next service has all that was answered, and no half."""
    publish(CATS, data)
    chance = random.Random(5)
    possible: dict[str, list[str]] = {}
    """Of each document the text that was answered last, and those that were sent after it."""
    answers: list[str] = []

    def write(port: int, worker: int, first: int) -> None:
        for number in range(first, first + 10_000):
            name, text = f"{worker}-{number % 7}", f"The ship number {number}."
            possible.setdefault(name, []).append(text)
            try:
                status, _ = call(port, "PUT", "/documents", put(name, text=text))
            except (OSError, HTTPException):
                return
            assert status == 200
            possible[name] = [text]
            answers.append(name)

    for turn in range(3):
        running = start_service(data, "--writable", "--cores", "1")
        threads = [threading.Thread(target=write, args=(running.port, worker, 1_000 * turn)) for worker in range(3)]
        for thread in threads:
            thread.start()
        enough = len(answers) + chance.randint(5, 10)
        while len(answers) < enough and all(thread.is_alive() for thread in threads):
            threads[0].join(0.01)
        running.process.send_signal(signal.SIGKILL)
        for thread in threads:
            thread.join()
    assert len(answers) >= 15
    with service(data) as client:
        for name in set(answers):
            assert client.get(f"/documents/{name}").json()["text"] in possible[name]


def test_feedback_is_stored(data, publish):
    """Clicks and grades are on the disk, one JSON object per line, when they are answered."""
    publish(CATS, data)
    with service(data) as client:
        for body in ({"query": " cat ", "document": "a", "click": True}, {"query": "dog", "document": "b", "grade": 3}):
            assert client.post("/feedback", json=body).json()["stored"] is True
        for body in (
            {"query": "cat", "document": "a"},
            {"query": "cat", "document": "a", "click": True, "grade": 1},
            {"query": "cat", "document": "a", "grade": 4},
            {"query": "cat", "document": "a", "click": False},
        ):
            assert client.post("/feedback", json=body).status_code == 422
        assert client.post("/feedback", json={"query": "cat", "document": "z", "grade": 1}).status_code == 404
    lines = [json.loads(line) for line in (data / "live" / "feedback.jsonl").read_text().splitlines()]
    assert [(line["query"], line["document"], line["grade"]) for line in lines] == [("cat", "a", None), ("dog", "b", 3)]


def compacted(data: Path) -> None:
    """Put two documents, and fold them into a new index."""
    with service(data) as client:
        assert client.put("/documents", json=put("x")).status_code == 200
        assert client.put("/documents", json=put("y", text="The moon.")).status_code == 200
    compact(data)


@pytest.mark.parametrize("copy", ["absent", "older"])
def test_writes_count_where_the_log_is_older_than_the_index(data, publish, copy, caplog):
    """A data directory whose log was lost or restored from an older copy takes writes that are seen, and says so."""
    publish(CATS, data)
    with service(data) as client:
        client.put("/documents", json=put("w"))
    older = data.parent / "older"
    shutil.copytree(data / "live", older)
    compacted(data)
    shutil.rmtree(data / "live")
    if copy == "older":
        older.rename(data / "live")
    with service(data) as client:
        assert "has folded writes up to 3" in caplog.text
        assert client.put("/documents", json=put("z", text="The comet.")).json()["put"] == 1
        assert client.get("/documents/z").json()["text"] == "The comet."
        assert found(client, "comet", "lexical") == ["z"]
        assert client.delete("/documents", params={"id": "x"}).json()["deleted"] == 1
        assert client.get("/documents/x").status_code == 404
    assert forget(data, ids=["z"]) == Retracted(puts=1)
    with service(data) as client:
        assert client.get("/documents/z").status_code == 404
        client.put("/documents", json=put("z"))
    assert compact(data).fresh
    with service(data) as client:
        assert client.get("/documents/z").status_code == 200
        assert client.get("/documents/x").status_code == 404


def test_a_running_service_follows_a_log_that_was_replaced(data, publish, eventually, caplog):
    """A service over whose log an older copy is restored shows what that copy holds, says so, and takes writes."""
    publish(CATS, data)
    with service(data) as client:
        client.put("/documents", json=put("w"))
        older = data.parent / "older"
        shutil.copytree(data / "live", older)
        client.put("/documents", json=put("x", "y"))
        client.put("/documents", json=put("a", text="The comet."))
        shutil.rmtree(data / "live")
        older.rename(data / "live")
        eventually(lambda: client.get("/documents/x").status_code == 404, "the restored log")
        assert "writes up to 3 were shown" in caplog.text
        # The service may have looked between the removal and the return of the folder.
        eventually(lambda: client.get("/documents/w").status_code == 200, "the older copy")
        assert client.get("/documents/a").json()["text"] == CATS["text"][0]
        client.put("/documents", json=put("z"))
        with service(data) as other:
            for reader in (client, other):
                assert reader.get("/documents/z").status_code == 200
                assert reader.get("/documents/y").status_code == 404


def test_a_transient_error_hides_no_write(data, publish, eventually, monkeypatch):
    """Another process's write that could not be shown at once, for lack of memory, is shown by the next attempt."""
    publish(CATS, data)
    with service(data) as reader, service(data) as writer:
        failures = []
        real = Overlay.with_writes

        def fail_once(overlay: Overlay, writes: list) -> Overlay:
            if threading.current_thread().name == "follow-writes" and not failures:
                failures.append(writes)
                raise MemoryError
            return real(overlay, writes)

        monkeypatch.setattr(Overlay, "with_writes", fail_once)
        writer.put("/documents", json=put("x"))
        eventually(lambda: failures, "the failure")
        for client in (reader, writer):
            eventually(lambda client=client: client.get("/documents/x").status_code == 200, "the write")


def test_a_lasting_error_of_following_is_reported_once(data, publish, eventually, monkeypatch, caplog):
    """Without free descriptors every attempt to read new writes fails: the log has one line, without a traceback."""
    publish(CATS, data)
    attempts = []

    def fail(_log: WriteLog) -> bool:
        attempts.append(None)
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with service(data) as client:
        monkeypatch.setattr(WriteLog, "has_new", fail)
        eventually(lambda: len(attempts) > 2, "three attempts")
        assert caplog.text.count("Too many open files") == 1
        assert "Traceback" not in caplog.text
        monkeypatch.undo()
        assert client.put("/documents", json=put("x")).status_code == 200


def poison(data: Path, *, both: bool = False, **fields: Any) -> None:
    """Append a write to the log as it was appended before writes were tried: one or two documents that fit no index."""
    with service(data) as client:
        client.put("/documents", json=put("good", text="The good one."))
    log = WriteLog(data)
    with log.locked():
        (good,) = log.read()
        bad = replace(good.documents[0], id="bad", **fields)
        log.append(log.draft(good.recipe, [bad, replace(bad, id="good") if both else good.documents[0]]))


def test_a_line_that_cannot_be_applied_stops_nothing(data, publish, caplog):
    """A poison line is set aside with its reason, seen by check and verify, and kept by compaction until forgotten."""
    publish(CATS, data)
    poison(data, vectors=np.zeros((1, 3), dtype=np.float32))
    with service(data) as client:
        assert "write 2 of the log cannot be applied" in caplog.text
        assert client.get("/documents/good").status_code == 200
        assert client.get("/documents/bad").status_code == 404
        assert client.put("/documents", json=put("next")).status_code == 200
    assert "write 2" in "\n".join(log_problems(data))
    findings = [finding for finding in run_checks(ServiceSettings(data=data, port=0)) if finding.level == "problem"]
    assert any("write 2" in finding.text for finding in findings)
    assert compact(data).fresh
    with service(data) as client:
        assert client.get("/documents/good").status_code == client.get("/documents/next").status_code == 200
    assert [write.sequence for write in WriteLog(data).read()] == [1, 2, 3]
    (problem,) = log_problems(data)
    assert "write 2" in problem and "'bad'" in problem
    with service(data) as client:
        client.put("/documents", json=put("other"))
    assert compact(data).fresh  # a second one, whose index knows of the write from the first alone
    assert [write.sequence for write in WriteLog(data).read()] == [1, 2, 3, 4]
    assert "write 2" in "\n".join(log_problems(data))
    with service(data) as client:
        assert client.get("/documents/good").status_code == 200
        client.put("/documents", json=put("bad", "good"))
    assert log_problems(data) == []
    assert compact(data).fresh
    assert [write.sequence for write in WriteLog(data).read()] == [3, 4, 5]
    forget(data, ids=["bad", "good"])
    assert log_problems(data) == []


def test_a_line_that_cannot_be_applied_is_forgotten(data, publish):
    """A poison line that a compaction has set aside is no problem any more once its documents are forgotten."""
    publish(CATS, data)
    poison(data, vectors=np.zeros((1, 3), dtype=np.float32))
    with service(data) as client:
        client.put("/documents", json=put("next"))
    compact(data)
    assert log_problems(data) != []
    forget(data, ids=["bad", "good"])
    assert log_problems(data) == []


@pytest.mark.parametrize("compacted_before", [False, True])
def test_forgetting_another_document_keeps_what_a_poison_line_would_replace(data, publish, compacted_before):
    """The log is folded after that, and a line that nobody can apply takes the place of no earlier version."""
    publish(CATS, data)
    poison(data, both=True, vectors=np.zeros((1, 3), dtype=np.float32))
    with service(data) as client:
        client.put("/documents", json=put("next"))
    if compacted_before:
        compact(data)
    assert forget(data, ids=["bad"])
    publish(CATS, data)  # an index without writes: all of them are read from the log
    with service(data) as client:
        assert client.get("/documents/good").json()["text"] == "The good one."
        assert client.get("/documents/next").status_code == 200


def test_a_write_that_an_index_hides_is_reported(data, publish):
    """A line that was numbered below what the index has folded, though it is newer than the index, is no silent loss."""
    publish(CATS, data)
    compacted(data)
    shutil.rmtree(data / "live")
    log = WriteLog(data)
    with log.locked():
        log.append(replace(log.draft("", (), ("a",)), sequence=1, time="2999-01-01T00:00:00.000+00:00"))
    (problem,) = log_problems(data)
    assert "write 1 of 2999-01-01" in problem
    assert "indexer build" in problem


@pytest.mark.parametrize(
    ("method", "path", "body", "key"),
    [
        ("PUT", "/documents", '{"documents": [{"id": "n", "text": "One.", "text": "Two."}]}', "text"),
        (
            "PUT",
            "/documents",
            '{"documents": [{"id": "n", "text": "One.", "metadata": {"price": 1, "price": 2}}]}',
            "price",
        ),
        ("POST", "/search", '{"query": "cat", "top_k": 1, "top_k": 2}', "top_k"),
        ("POST", "/search", '{"query": "cat"' + " " * 70_000 + ', "query": "dog"}', "query"),
        ("POST", "/feedback", '{"query": "cat", "document": "a", "grade": 1, "grade": 3}', "grade"),
    ],
)
def test_a_key_twice_in_a_body_is_refused(data, publish, method, path, body, key):
    """No route keeps the last of two values silently: the answer is 422 and names the key."""
    publish(CATS, data)
    with service(data) as client:
        answer = client.request(method, path, content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 422, answer.text
        assert f"'{key}' is there twice" in answer.json()["detail"]
        assert answer.json()["errors"][0]["field"] == "body"


def test_metadata_that_is_given_out_is_taken_back(data, publish):
    """A document's own metadata can be put back, and is the same after a compaction: durations, maps and lists too."""
    columns = {
        **CATS,
        "length": pa.array([dt.timedelta(seconds=3), None], pa.duration("ms")),
        "codes": pa.array([[("a", 1)], None], pa.map_(pa.string(), pa.int64())),
        "place": pa.array([[1.5, 2.5], None], pa.list_(pa.float32(), 2)),
    }
    publish(columns, data)
    with service(data) as client:
        given = client.get("/documents/a").json()["metadata"]
        document = {"id": "copy", "text": "A copy.", "metadata": given}
        assert client.put("/documents", json={"documents": [document]}).status_code == 200
        for unfit in ({"place": [1.5]}, {"codes": [[None, 1]]}, {"length": "3 seconds"}, {"place": [1e300, 0]}):
            answer = client.put("/documents", json={"documents": [document | {"metadata": given | unfit}]})
            assert answer.status_code == 422, unfit
    compact(data)
    with service(data) as client:
        assert client.get("/documents/copy").json()["metadata"] == given


def test_a_long_document_is_encoded_in_many_turns(data, publish, monkeypatch):
    """A turn is bounded by tokens, not by documents: one long text leaves the thread to searches in between."""
    publish(CATS, data)
    texts = ["A ship sails over the sea. " * 3_000, "The storm.", "A cat in the garden. " * 2_000]
    turns: list[int] = []
    encode = Encoder.encode_documents

    def counting(encoder: Encoder, inputs: list[str]) -> Any:
        turns.append(sum(count.tokens for count in encoder.count_tokens(inputs, queries=False)))
        return encode(encoder, inputs)

    with service(data, cores=1) as client:
        monkeypatch.setattr(Encoder, "encode_documents", counting)
        documents = [{"id": str(number), "text": text} for number, text in enumerate(texts)]
        assert client.put("/documents", json={"documents": documents}).json()["put"] == 3
        assert len(turns) > 5
        assert max(turns) <= TOKENS_PER_TURN
        monkeypatch.undo()
        for number, text in enumerate(texts):
            assert client.get(f"/documents/{number}").json()["text"] == text
        live = client.app.state.searcher.live.retriever.index
        whole = Preparer(live.overlay.base).prepare(live.overlay.versions)
        for one, other in zip(whole, live.overlay.versions, strict=True):
            assert one.passages == other.passages
            np.testing.assert_allclose(one.vectors, other.vectors, atol=1e-5)


def test_work_stops_where_its_client_gives_up(data, publish, monkeypatch):
    """A PUT that is given up takes no further turn: nothing more is encoded for it, and nothing written."""
    publish(CATS, data)
    gate, turns = threading.Event(), []
    encode = Encoder.encode_documents

    def held(encoder: Encoder, inputs: list[str]) -> Any:
        turns.append(len(inputs))
        gate.wait(60)
        return encode(encoder, inputs)

    with service(data, cores=1, deadline_seconds=0.3) as client:
        monkeypatch.setattr(Encoder, "encode_documents", held)
        document = {"id": "long", "text": "A ship sails over the sea. " * 6_000}
        assert client.put("/documents", json={"documents": [document]}).status_code == 504
        gate.set()
        assert found(client, "cat", "lexical") == ["a"]  # the one thread is free again
        assert len(turns) == 1
        assert client.get("/documents/long").status_code == 404
