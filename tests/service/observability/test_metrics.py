"""`GET /metrics`: counters, histograms and gauges of the service."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from service.app import create_app
from service.settings import ServiceSettings


def samples(client):
    """Every sample by its name and labels."""
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    families = text_string_to_metric_families(answer.text)
    return {(each.name, *sorted(each.labels.items())): each.value for family in families for each in family.samples}


def counted(before, after, name, **labels):
    """By how much a sample has grown."""
    key = (name, *sorted(labels.items()))
    return after[key] - before.get(key, 0.0)


def test_a_search_is_counted_once_with_all_its_stages(client):
    """A search adds one to its route's histogram, to each stage's and to the queue's."""
    before = samples(client)
    assert client.post("/search", json={"query": "cat"}).status_code == 200
    after = samples(client)
    labels = {"http_request_method": "POST", "http_route": "/search", "http_response_status_code": "200"}
    assert counted(before, after, "http_server_request_duration_seconds_count", **labels) == 1
    assert counted(before, after, "dowse_queue_seconds_count") == 1
    for stage in ("encode", "dense", "lexical", "fuse", "fetch"):
        assert counted(before, after, "dowse_search_stage_seconds_count", stage=stage) == 1
    assert after[("dowse_queue_size",)] == 0


def test_histograms_begin_at_a_tenth_of_a_millisecond(client):
    """Stages that take less than a millisecond are distinguishable."""
    client.post("/search", json={"query": "cat"})
    names = samples(client)
    bounds = {dict(key[1:])["le"] for key in names if key[0] == "dowse_search_stage_seconds_bucket"}
    assert {"0.0001", "0.00025", "0.0005", "+Inf"} <= bounds


def test_paths_that_lead_nowhere_share_one_label(client):
    """Requests for unknown paths create no new time series."""
    for path in ("/nope/1", "/nope/2"):
        client.get(path)
    routes = {dict(key[1:])["http_route"] for key in samples(client) if key[0].startswith("http_server_request_d")}
    assert not {route for route in routes if "nope" in route}
    client.get("/documents/a")
    assert "/documents/{document_id:path}" in {
        dict(key[1:])["http_route"] for key in samples(client) if key[0].startswith("http_server_request_d")
    }


def test_it_says_which_index_answers(client):
    """The live index and its model are labels, its size a number, as `/info` has them."""
    index = client.get("/info").json()["index"]
    after = samples(client)
    assert after[("dowse_index_info", ("index", index["id"]), ("model", index["model"]))] == 1
    assert after[("dowse_index_documents",)] == index["documents"]


def test_without_an_index_there_are_metrics_all_the_same(tmp_path):
    """An operator sees a service that is not ready, too."""
    with TestClient(create_app(ServiceSettings(data=tmp_path))) as client:
        after = samples(client)
    assert ("dowse_index_documents",) not in after
    assert after[("process_resident_memory_bytes",)] > 1e6


@pytest.mark.parametrize("reason", ["full", "deadline"])
def test_refusals_are_counted_by_reason(built_data, reason, monkeypatch):
    """An operator who sees errors sees why."""
    import threading

    from indexer.retrieval.retriever import Retriever

    gate = threading.Event()
    settings = ServiceSettings(data=built_data, cores=1, queue=0, deadline_seconds=0.05)
    with TestClient(create_app(settings)) as client:
        before = samples(client)
        monkeypatch.setattr(Retriever, "search", lambda *_args, **_kwargs: gate.wait(60))
        assert client.post("/search", json={"query": "cat"}).status_code == 504
        if reason == "full":  # the search that was given up still holds the thread
            assert client.post("/search", json={"query": "cat"}).status_code == 429
        after = samples(client)
        gate.set()
    assert counted(before, after, "dowse_rejected_total", reason=reason) == 1
