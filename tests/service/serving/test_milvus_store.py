"""The service over Milvus: the same requests, refusals by name, and faults of the server."""

from __future__ import annotations

import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from milvus_server import MilvusServer
from starlette.testclient import TestClient

from indexer.artifacts.store import Store
from indexer.build.build import build
from indexer.build.settings import BuildSettings
from indexer.milvus.engine import Engine
from indexer.milvus.publish import Copy, publish_index
from indexer.milvus.settings import StoreSettings
from service.app import create_app
from service.check import run_checks
from service.settings import ServiceSettings

PATIENCE = 90  # seconds until something that happens by itself counts as not happening
SEARCH = {"query": "castle garden", "top_k": 5}


def service_settings(data: Path, store: StoreSettings) -> ServiceSettings:
    """Return settings of a service over Milvus."""
    return ServiceSettings(data=data, writable=True, poll_seconds=0.2, **store.model_dump())


@pytest.fixture
def client(stored_data: Path, published: StoreSettings) -> Iterator[TestClient]:
    """A client of the service over Milvus."""
    with TestClient(create_app(service_settings(stored_data, published)), base_url="http://localhost") as client:
        yield client


def search(client: TestClient, **more: object) -> list[str]:
    """Return the ids that a search finds."""
    answer = client.post("/search", json={**SEARCH, **more})
    assert answer.status_code == 200, answer.text
    return [result["id"] for result in answer.json()["results"]]


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until something has happened by itself."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)


def test_the_same_requests_have_the_same_answers(client, stored_data):
    """Whoever asks need not know where the index is: results, facets, documents and facts are those of the files."""
    files = ServiceSettings(data=stored_data)
    requests = [
        ("POST", "/search", {**SEARCH, "mode": mode, "explain": True, "highlight": True})
        for mode in ("hybrid", "dense", "lexical")
    ]
    requests += [
        ("POST", "/search", {**SEARCH, "filter": {"must": [{"field": "rooms", "lt": 3}]}, "facets": [{"field": "kind"}],
                             "group_by": "kind", "diversity": 0.3}),
        ("POST", "/search/batch", {"searches": [SEARCH, {**SEARCH, "mode": "lexical"}]}),
        ("POST", "/similar", {"ids": ["d037"], "text": "castle"}),
        ("GET", "/documents/d037", None), ("GET", "/documents/d037/similar", None), ("GET", "/documents/nobody", None),
        ("GET", "/info", None), ("GET", "/readyz", None),
    ]  # fmt: skip
    with TestClient(create_app(files), base_url="http://localhost") as other:
        for method, path, body in requests:
            found, expected = (each.request(method, path, json=body) for each in (client, other))
            assert found.status_code == expected.status_code, (path, found.text)
            assert plain(found.json()) == plain(expected.json()), path


def plain(value: object) -> object:
    """Return an answer without times and ids of requests, and with rounded numbers."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items() if key not in {"took_ms", "timings", "request_id"}}
    if isinstance(value, list):
        return [plain(each) for each in value]
    return round(value, 3) if isinstance(value, float) else value


def test_what_the_store_does_not_do_is_a_problem(client):
    """A condition and writes that Milvus as a store has not are named, and nothing is answered in their place."""
    circle = {"latitude": "lat", "longitude": "lon", "within": {"lat": 41, "lon": 10, "km": 100}}
    answers = [
        client.post("/search", json={**SEARCH, "filter": {"must": [circle]}}),
        client.put("/documents", json={"documents": [{"id": "new", "text": "a castle"}]}),
        client.delete("/documents", params={"id": "d037"}),
        client.post("/documents/fetch", json={"filter": {}}),
        client.post("/documents/delete", json={"filter": {}}),
    ]
    for answer in answers:
        assert answer.status_code == 501, answer.text
        assert answer.json()["type"] == "urn:dowse:problem:not-supported"
        assert "Milvus as a store" in answer.json()["detail"]
    assert client.get("/documents/d037").status_code == 200
    fetched = client.post("/documents/fetch", json={"ids": ["d037", "nope"]}).json()
    assert [document["id"] for document in fetched["documents"]] == ["d037"]


def test_check_counts_the_rows(stored_data, published):
    """`python -m service check` says what is live in Milvus."""
    findings = [finding.text for finding in run_checks(service_settings(stored_data, published))]
    assert any("150 documents in Milvus" in text for text in findings)


@pytest.fixture
def own(tmp_path: Path, stored_data: Path) -> Iterator[tuple[MilvusServer, Path, StoreSettings]]:
    """A server of this test alone, a copy of the data directory, and the index live in it."""
    data = tmp_path / "data"
    shutil.copytree(stored_data, data)
    folder = tmp_path / "milvus"
    folder.mkdir()
    server = MilvusServer(folder).start()
    store = StoreSettings(store="milvus", uri=server.uri)
    try:
        publish_index(Store("index", data).resolve().name, store, data)
        yield server, data, store
    finally:
        server.kill()


def test_faults_of_the_server(own):
    """While Milvus is away, slow or has lost rows, every answer is a 503 with the reason; then the same answers again."""
    server, data, store = own
    with TestClient(create_app(service_settings(data, store)), base_url="http://localhost") as client:
        expected = search(client)

        def refusal() -> str:
            answer = client.post("/search", json=SEARCH)
            if answer.status_code == 200:
                assert [result["id"] for result in answer.json()["results"]] == expected
                return ""
            assert answer.status_code == 503, answer.text
            assert answer.json()["type"] == "urn:dowse:problem:store-unavailable"
            assert "Retry-After" in answer.headers
            return str(answer.json()["detail"])

        ended = threading.Event()

        def ask_on() -> int:
            refused = 0
            while not ended.is_set():
                refused += bool(refusal())  # fails at any other answer
            return refused

        with ThreadPoolExecutor(2) as load:
            asking = [load.submit(ask_on) for _ in range(2)]
            try:
                server.kill()
                wait_for(lambda: "does not answer" in refusal())
                assert client.get("/readyz").status_code == 503
                assert client.get("/livez").status_code == 200
                server.start()
                wait_for(lambda: not refusal())
            finally:
                ended.set()
            assert all(each.result(PATIENCE) for each in asking)

        server.send(signal.SIGSTOP)
        assert "does not answer" in refusal()
        server.send(signal.SIGCONT)
        wait_for(lambda: not refusal())

        engine = Engine(server.uri)
        names = Store("index", data).resolve().name.replace("-", "_")
        engine.call("delete", f"dowse_{names}_passages", filter="document == 3")
        server.kill()
        server.start()
        wait_for(lambda: "rows of" in refusal())
        engine = Engine(server.uri)
        engine.call("drop_alias", "dowse")
        engine.call("drop_collection", f"dowse_{names}_passages")
        engine.close()
        wait_for(lambda: client.get("/readyz").status_code == 503)
        publish_index(Store("index", data).resolve().name, store, data)
        wait_for(lambda: client.post("/search", json=SEARCH).status_code == 200)
        assert search(client) == expected


def test_another_index_goes_live_and_back(own, monkeypatch):
    """A published index replaces the one before, which comes back without a copy, also after a restart of Milvus."""
    server, data, store = own
    first = Store("index", data).resolve().name
    with TestClient(create_app(service_settings(data, store)), base_url="http://localhost") as client:

        def live() -> str | None:
            index = client.get("/info").json()["index"]  # None while Milvus is away
            return index and index["id"]

        assert live() == first
        second = build(str(data / "corpus.parquet"), BuildSettings(language="en", limit=20), data).manifest.id
        publish_index(second, store, data)
        wait_for(lambda: live() == second)
        assert client.get("/info").json()["index"]["documents"] == 20
        server.kill()
        server.start()
        monkeypatch.setattr(Copy, "write", lambda _: pytest.fail("it is there"))
        publish_index(first, store, data)
        wait_for(lambda: live() == first)
