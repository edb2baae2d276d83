"""A new base, its index, and its queries on the old index: the real service goes on answering all the while."""

from __future__ import annotations

import json
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from tales import write_tales
from tests_support import make_tiny_model

from indexer.artifacts.store import Store
from indexer.build.build import build
from indexer.build.compact import compact
from indexer.build.settings import BuildSettings
from indexer.index.index import Index
from service.app import create_app
from service.settings import ServiceSettings
from trainer.models.base import publish_base
from trainer.models.settings import BaseSettings
from trainer.pipeline.bases.bridge.bridge import Bridged, bridge
from trainer.pipeline.settings import BridgeSettings

STORM = {"id": "new", "text": "The storm, the sailor and the ship: a quick green cheese for the horse."}
QUERY = {"query": "a green cheese for the horse", "top_k": 5}
SETTINGS = BuildSettings(dense_weight=0.5)
PROMPTS = {"query": "the quick ", "document": "a "}


def make_bridge(data: Path, model: Path) -> Bridged:
    """Publish the new model's queries on the live index."""
    return bridge(str(model), BridgeSettings(sample=200, budget="1m"), data)


def call(port: int, method: str, path: str, body: object = None) -> tuple[int, dict[str, Any]]:
    """Ask the service."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        content = None if body is None else json.dumps(body)
        connection.request(method, path, content, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def found(port: int, mode: str) -> list[str]:
    """The ids that a search finds."""
    status, answer = call(port, "POST", "/search", QUERY | {"mode": mode})
    assert status == 200, answer
    return [result["id"] for result in answer["results"]]


@contextmanager
def searching(port: int) -> Iterator[tuple[list[str], list[object]]]:
    """Search without a pause; yield the indexes that have answered, in their order, and what failed."""
    seen: list[str] = []
    failures: list[object] = []
    stop = threading.Event()

    def search() -> None:
        while not stop.wait(0.05):  # the builds beside it need the cores
            try:
                status, answer = call(port, "POST", "/search", QUERY)
            except (OSError, HTTPException, ValueError) as error:
                failures.append(error)
                continue
            if status != 200 or not answer["results"]:
                failures.append((status, answer))
            elif not seen or seen[-1] != answer["index"]["id"]:
                seen.append(answer["index"]["id"])

    client = threading.Thread(target=search)
    client.start()
    try:
        yield seen, failures
    finally:
        stop.set()
        client.join()


@pytest.fixture
def new_model(tmp_path: Path) -> Path:
    """A model of other dimensions and prompts."""
    return make_tiny_model(tmp_path / "new", dense=24, prompts=PROMPTS)


@pytest.fixture
def tales(tmp_path: Path) -> Path:
    """A corpus of 200 tales."""
    return write_tales(tmp_path / "tales.parquet", 200)


def test_the_old_index_serves_while_a_new_base_is_indexed(
    data: Path, tales: Path, new_model: Path, start_service: Callable[..., Any], eventually: Callable[..., None]
) -> None:
    """With another base live and its index being built, every search is answered: by the old index, then by the new one."""
    old = build(str(tales), SETTINGS, data).manifest.id
    running = start_service(data, "--poll-seconds", "0.05")
    with searching(running.port) as (seen, failures):
        eventually(lambda: seen, "the old index answers")
        base = publish_base(str(new_model), BaseSettings(), data).manifest.id
        assert Store("model", data).current_id() == base
        eventually(lambda: call(running.port, "GET", "/readyz")[0] == 200, "it is ready with a new base live")
        assert seen == [old]
        new = build(str(tales), SETTINGS, data).manifest.id
        eventually(lambda: seen[-1] == new, "the new index answers")
    assert failures == []
    assert seen == [old, new]


def test_new_queries_on_the_old_index(
    data: Path, tales: Path, new_model: Path, start_service: Callable[..., Any], eventually: Callable[..., None]
) -> None:
    """New queries are tried at once, and writes over them are found, survive a restart, a compaction and the way back.

    While they are tried, the new base's own index is built.
    """
    indexes = Store("index", data)
    old = build(str(tales), SETTINGS, data).manifest
    running = start_service(data, "--poll-seconds", "0.05", "--writable")
    with searching(running.port) as (seen, failures):
        eventually(lambda: seen, "the old index answers")
        made = make_bridge(data, new_model)
        bridged = made.index.id
        assert (indexes.current_id(), seen) == (old.id, [old.id])
        indexes.activate(bridged)
        eventually(lambda: seen[-1] == bridged, "the new queries answer")
        assert call(running.port, "GET", "/info")[1]["model"]["name"] == "model"
        assert call(running.port, "PUT", "/documents", {"documents": [STORM]})[0] == 200
        for mode in ("dense", "hybrid"):
            assert found(running.port, mode)[0] == "new"
        assert failures == []
    assert running.end(signal.SIGINT) == 0, running.said
    running = start_service(data, "--poll-seconds", "0.05", "--writable")
    with searching(running.port) as (seen, failures):
        eventually(lambda: found(running.port, "dense")[0] == "new", "the write is there after a restart")
        compacted = compact(data).manifest
        eventually(lambda: seen[-1] == compacted.id, "the compacted index answers")
        assert found(running.port, "dense")[0] == "new"
        assert (compacted.config["query_encoder"], compacted.counts["embedded"]) == ("bridge", 0)
        assert compacted.parents == made.index.parents
        settings = SETTINGS.model_copy(update={"model": made.model.config["queries_of"]})
        own = build(str(tales), settings, data).manifest.id
        eventually(lambda: seen[-1] == own, "the new base's own index answers")
        assert found(running.port, "hybrid")[0] == "new"
        indexes.activate(old.id)
        eventually(lambda: seen[-1] == old.id, "the old queries are back")
        assert found(running.port, "hybrid")[0] == "new"
    assert failures == []


def test_vectors_of_a_write_are_of_the_old_space(data: Path, tales: Path, new_model: Path, tmp_path: Path) -> None:
    """A document that is written over the new queries gets the vector that the old model gives it."""
    shown: list[Any] = []
    for number, queries in enumerate(("old", "new")):
        own = Path(shutil.copytree(data, tmp_path / f"data{number}"))
        build(str(tales), SETTINGS, own)
        if queries == "new":
            Store("index", own).activate(make_bridge(own, new_model).index.id)
        with TestClient(create_app(ServiceSettings(data=own, writable=True))) as client:
            assert client.put("/documents", json={"documents": [STORM]}).status_code == 200
            live: Index = client.app.state.searcher.live.retriever.index  # type: ignore[attr-defined]
            shown.append(live.dense.vectors(live.first_passage[live.row_of("new") :][:1])[0].tolist())
    assert shown[0] == shown[1]
