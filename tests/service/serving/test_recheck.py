"""Background check: what was not read at the opening is read afterwards, and damage ends the index."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from indexer.artifacts import verified
from indexer.artifacts.store import Store
from indexer.live.log import WriteLog
from service.app import create_app
from service.serving import recheck
from service.serving.recheck import Stopped, read_sha256
from service.settings import ServiceSettings

CATS = {"id": ["a", "b"], "text": ["The cat sits in the garden.", "The dog runs by the river."]}
DOCUMENT = {"id": "c", "text": "A cat, too."}


@pytest.fixture
def silent_damage(monkeypatch):
    """Let a file's state be its inode and size alone, so that nothing shows a flipped bit but the content."""

    def states(directory, names):
        return {name: [(directory / name).stat().st_ino, (directory / name).stat().st_size, 0, 0] for name in names}

    monkeypatch.setattr(verified, "file_states", states)
    monkeypatch.setattr("indexer.artifacts.store.file_states", states)


def service(data):
    """A client of a service that takes writes and looks for new indexes all the time."""
    return TestClient(create_app(ServiceSettings(data=data, poll_seconds=0.02, deadline_seconds=60, writable=True)))


@pytest.mark.usefixtures("silent_damage")
@pytest.mark.parametrize("kind", ["index", "model"])
def test_damage_of_the_disk_ends_the_index(data, publish, eventually, caplog, kind):
    """A bit that flipped on the disk itself: the index is withdrawn, with a log line; a good one is taken up."""
    caplog.set_level(logging.INFO)
    name = publish(CATS, data).manifest.id
    store = Store(kind, data)
    store.verify_once(store.current_id())  # the model came as a copy
    name = store.current_id() if kind == "model" else name
    path = store.path(name) / ("vectors.faiss" if kind == "index" else "README.md")
    if kind == "model":
        path = max((file for file in store.path(name).rglob("*.json")), key=lambda file: file.stat().st_size)
    good, content = path.read_bytes(), bytearray(path.read_bytes())
    content[-1 if kind == "index" else content.rindex(b" ")] ^= 1 if kind == "index" else 0x2A  # a space, a line feed
    path.write_bytes(content)
    with service(data) as client:
        eventually(lambda: client.get("/readyz").status_code == 503, "the damage is noticed")
        assert "python -m indexer verify" in client.get("/readyz").json()["detail"]
        assert client.post("/search", json={"query": "cat"}).status_code == 503
        assert client.put("/documents", json={"documents": [DOCUMENT]}).status_code == 503
        with (log := WriteLog(data)).locked():  # of another process
            log.read()
            log.append(log.draft("", [], ("a",)))
        time.sleep(0.3)  # it is looked for every 0.02 s
        assert client.post("/search", json={"query": "cat"}).status_code == 503  # and brings nothing back
        assert path.name in caplog.text
        path.write_bytes(good)
        Store("index", data).activate(Store("index", data).current_id())
        eventually(lambda: client.get("/readyz").status_code == 200, "the restored index is taken up")


@pytest.mark.usefixtures("silent_damage")
def test_a_sound_index_is_read_in_the_background(data, publish, eventually, caplog):
    """After an opening by the record all files are read, and the index stays."""
    caplog.set_level(logging.INFO)
    name = publish(CATS, data).manifest.id
    with service(data) as client:
        eventually(lambda: f"{name}: all files were read again" in caplog.text, "the files are read")
        assert client.get("/readyz").status_code == 200


def test_an_index_that_was_read_is_not_read_twice(data, publish, monkeypatch):
    """Where the opening has read all files, nothing is read in the background."""
    name = publish(CATS, data).manifest.id
    (data / "indexes" / f".verified-{name}").unlink()
    for record in (data / "models").glob(".verified-*"):
        record.unlink()
    monkeypatch.setattr(recheck.Recheck, "start", lambda *_: pytest.fail("read again"))
    with service(data) as client:
        assert client.get("/readyz").status_code == 200


@pytest.mark.parametrize("keep", [True, False])
def test_reading_a_file(tmp_path: Path, monkeypatch, keep):
    """The digest is that of the content, whatever the block; a stop ends the reading."""
    monkeypatch.setattr(recheck, "BLOCK_BYTES", 7)
    (tmp_path / "file").write_bytes(bytes(range(100)))
    stop = threading.Event()
    assert read_sha256(tmp_path / "file", stop, keep=keep) == hashlib.sha256(bytes(range(100))).hexdigest()
    stop.set()
    with pytest.raises(Stopped):
        read_sha256(tmp_path / "file", stop, keep=keep)
