"""`/status.json` and `/queries.json`: what is live and what was, writes, disk, queue; and what was searched for."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from example_report import example_report
from starlette.testclient import TestClient

from indexer.artifacts.store import Store
from indexer.filters.filter import Filter
from service.app import create_app
from service.security.keys import add_key
from service.serving.queries import recorder as recorders
from service.settings import ServiceSettings

STORIES = {
    "id": ["a", "b", "c"],
    "title": ["The garden cat", "The river dog", "The sea ship"],
    "text": ["The cat sits in the garden.", "The dog runs by the river.", "A ship on the sea."],
    "owner": ["x", "y", "x"],
}


@pytest.fixture
def data(tmp_path, tiny_data, publish) -> Path:
    """A data directory with two indexes, and a model that is neither live nor has won, with its report."""
    folder = tmp_path / "data"
    shutil.copytree(tiny_data, folder)
    publish(STORIES, folder)
    publish({**STORIES, "year": [1, 2, 3]}, folder)
    return folder


@pytest.fixture
def hold(monkeypatch) -> None:
    """No query waits for one that continues it."""
    monkeypatch.setattr(recorders, "HOLD_SECONDS", 0.0)
    monkeypatch.setattr(recorders, "FLUSH_SECONDS", 0.05)


def client(data: Path, **settings: object) -> TestClient:
    """Return a client of a service over a data directory."""
    return TestClient(create_app(ServiceSettings(data=data, **settings)))


def test_the_status_says_what_is_live_and_what_was(data, publish_tuned):
    """Each artifact is there with its state, its verdict, its report, and the command that makes it live."""
    base = Store("model", data).current_id()
    tie = publish_tuned(data, example_report(queries=20, unseen=10), verdict="TIE").id
    Store("model", data).activate(base)
    with client(data) as service:
        status = service.get("/status.json").json()
        report = service.get(f"/report/{tie}", headers={"Accept": "text/html"})
        absent = service.get(f"/report/{base}")
        nonsense = service.get("/report/..%2F..%2Fkeys")
    indexes = [each for each in status["artifacts"] if each["kind"] == "index"]
    live, earlier = indexes
    assert (live["id"], live["current"], live["serving"], live["activate"]) == (status["index"], True, True, None)
    assert (earlier["current"], earlier["serving"]) == (False, False)
    assert earlier["activate"] == f"python -m indexer activate {earlier['id']}"
    models = {each["id"]: each for each in status["artifacts"] if each["kind"] == "model"}
    assert models[base]["current"] and models[base]["serving"] and models[base]["report"] is None
    assert models[tie]["verdict"] == "TIE" and models[tie]["report"] == f"report/{tie}"
    assert models[tie]["activate"] == f"python -m indexer activate --kind model {tie}"
    assert models[tie]["hybrid"] == {"base": 0.2673, "tuned": 0.2914}
    assert status["documents"] == 3 and status["store"] == "files" and status["reason"] is None
    assert report.status_code == 200 and "← Status" in report.text
    assert "script" not in report.headers["Content-Security-Policy"]
    assert (absent.status_code, nonsense.status_code) == (404, 404)


def test_the_status_counts_writes_disk_and_queue(data):
    """Documents that were put or deleted since the index was built are counted; the disk is that of the folders."""
    with client(data, writable=True, queue=5, cores=1) as service:
        before = service.get("/status.json").json()
        service.put("/documents", json={"documents": [{"id": "new", "text": "A tower."}]})
        service.delete("/documents", params={"id": "a"})
        after = service.get("/status.json").json()
    assert (before["writes"]["documents"], before["writes"]["changed"], before["writes"]["last"]) == (0, 0, None)
    assert (after["writes"]["documents"], after["writes"]["changed"]) == (1, 2)
    assert after["writes"]["log_bytes"] > 0 and after["writes"]["last"] and after["writes"]["accepted"]
    assert after["disk"]["used_bytes"].keys() >= {"models", "indexes", "live"}
    assert after["disk"]["used_bytes"]["models"] <= sum(
        path.stat().st_blocks * 512 for path in (data / "models").rglob("*") if path.is_file()
    )
    assert after["queue"] == {"open": 0, "capacity": 6, "cores": 1, "workers": 1}
    assert after["queries"]["kept"] is False


def test_the_status_of_a_service_without_an_index_says_why(tmp_path):
    """Before the first index there is a reason in place of one, and nothing fails."""
    with client(tmp_path) as service:
        status = service.get("/status.json").json()
    assert status["index"] is None and "indexer build" in status["reason"]


def test_the_status_of_an_index_without_documents(data):
    """All documents can be deleted: the index is still there, with none."""
    with client(data, writable=True) as service:
        ids = [each["id"] for each in service.post("/documents/fetch", json={}).json()["documents"]]
        assert service.delete("/documents", params={"id": ids}).status_code == 200
        status = service.get("/status.json").json()
    assert status["documents"] == 0 and status["index"] is not None and status["model"] is not None


def test_a_damaged_artifact_is_listed_with_its_problem(data):
    """A manifest that cannot be read does not take the page away from the others."""
    index = Store("index", data).ids()[0]
    (data / "indexes" / index / "manifest.json").write_text("{")
    with client(data) as service:
        rows = {each["id"]: each for each in service.get("/status.json").json()["artifacts"]}
    assert rows[index]["problem"]
    assert sum(row["problem"] is None for row in rows.values()) == 2


@pytest.mark.usefixtures("hold")
def test_queries_are_counted_with_their_clicks(data, eventually):
    """The most frequent queries, those that found nothing, clicks by rank and latencies come from what was asked."""
    with client(data, query_log=True, clicks=True) as service:
        for query in ("cat", "Cat", "the dog", "cat"):
            service.post("/search", json={"query": query})
        service.get("/search", params={"q": "zzzz", "mode": "lexical"})
        service.post("/search", json={"query": "cat", "offset": 1})  # another page is no other search
        for rank, document in ((1, "a"), (2, "b"), (1, "a")):
            body = {"query": "cat", "document": document, "click": True, "rank": rank}
            assert service.post("/feedback", json=body).status_code == 200
        eventually(lambda: service.get("/queries.json").json()["searches"] == 5, "all searches are written")
        report = service.get("/queries.json?days=1&limit=2").json()
        status = service.get("/status.json").json()["queries"]
    assert report["top"] == [
        {"query": "cat", "searches": 3, "found": 3, "clicks": 3},
        {"query": "the dog", "searches": 1, "found": 1, "clicks": 0},
    ]
    assert [row["query"] for row in report["nothing_found"]] == ["zzzz"]
    assert (report["distinct"], report["nothing"], report["clicks"]) == (3, 1, 3)
    assert report["clicks_by_rank"] == [{"rank": 1, "clicks": 2}, {"rank": 2, "clicks": 1}]
    assert 0 < report["milliseconds"]["p50"] <= report["milliseconds"]["p99"]
    assert status["kept"] and status["problem"] is None and status["bytes"] > 0


def test_without_the_setting_nothing_is_kept(data):
    """By default no query is written, no click is taken, and the statistics say how to have them."""
    with client(data) as service:
        service.post("/search", json={"query": "cat"})
        refused = service.post("/feedback", json={"query": "cat", "document": "a", "click": True})
        answer = service.get("/queries.json")
    assert refused.status_code == 403 and "--clicks" in refused.json()["detail"]
    assert answer.status_code == 404 and "--query-log" in answer.json()["detail"]
    assert not (data / "live").exists()


def test_clicks_are_redacted_as_queries_are(data):
    """What the query log does not keep is not kept with a click either."""
    with client(data, query_log=True, clicks=True) as service:
        service.post("/feedback", json={"query": "mail me@example.org", "document": "a", "click": True})
    assert "mail [email]" in (data / "live" / "feedback.jsonl").read_text()


@pytest.mark.usefixtures("hold")
def test_a_key_with_a_filter_is_kept_apart(data, tmp_path, eventually):
    """Nobody but an administrator reads the statistics; past queries of a tenant are its own, and so are its examples."""
    keys = tmp_path / "keys.json"
    admin, tenant, plain = (
        {"Authorization": f"Bearer {text}"}
        for text in (
            add_key(keys, "boss", ("admin",)),
            add_key(keys, "y", ("search",), filter_=Filter.model_validate({"must": [{"field": "owner", "eq": "y"}]})),
            add_key(keys, "all", ("search",)),
        )
    )
    with client(data, query_log=True, keys=keys) as service:
        for _ in range(2):
            service.post("/search", json={"query": "tenant words"}, headers=tenant)
            service.post("/search", json={"query": "common words"}, headers=plain)
        eventually(lambda: service.get("/queries.json", headers=admin).json()["searches"] == 4, "they are written")
        refused = [service.get(path, headers=tenant).status_code for path in ("/queries.json", "/status.json")]
        recorder, keyring = service.app.state.queries, service.app.state.keyring
        tenant_key, plain_key = (
            keyring.find(each["Authorization"].removeprefix("Bearer ")) for each in (tenant, plain)
        )
        eventually(lambda: recorder.past_queries(tenant_key) and recorder.past_queries(plain_key), "they are read")
        found = [recorder.past_queries(key) for key in (tenant_key, plain_key)]
        examples = service.get("/search/examples", headers=tenant).json()["queries"]
        others = service.get("/search/examples", headers=plain).json()["queries"]
    assert refused == [403, 403]
    assert found == [{"tenant words": 2}, {"common words": 2}]
    assert set(examples) <= {"river dog"} and others
