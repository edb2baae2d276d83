"""`POST /search/batch`: each answer equals that of the single search, and all are from one index."""

from __future__ import annotations

import shutil

import pytest
from starlette.testclient import TestClient

from indexer.inference.encoder import Encoder, _Graph
from service.app import create_app
from service.settings import ServiceSettings

SEARCHES = [
    {"query": "the cat in the garden", "explain": True},
    {"query": "wine", "mode": "lexical", "highlight": True},
    {"query": "a dog by the river", "mode": "dense", "top_k": 2, "offset": 1, "fields": ["rooms"]},
    {"query": "winter", "filter": {"must": [{"field": "rooms", "gte": 3}]}, "facets": [{"field": "tags"}]},
    {"query": "the storm at sea", "min_score": -1, "diversity": 0.3, "group_by": "rooms"},
]  # fmt: skip


def lasting(answer):
    """An answer without what differs from one request to the next."""
    return {name: value for name, value in answer.items() if name not in {"took_ms", "timings", "request_id"}}


def test_each_answer_is_that_of_its_own_search(client):
    """Modes, filters and all other options apply to their own search only; the order is that of the batch."""
    answer = client.post("/search/batch", json={"searches": SEARCHES})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert set(body) == {"responses", "took_ms", "request_id"}
    for asked, given in zip(SEARCHES, body["responses"], strict=True):
        assert given["request_id"] == body["request_id"] == answer.headers["X-Request-ID"]
        alone = client.post("/search", json=asked).json()
        assert lasting(given) == lasting(alone)
        assert given["took_ms"] <= body["took_ms"]


def test_all_queries_are_encoded_in_one_go(client, monkeypatch):
    """The encoder is called once, for the searches that have a dense leg."""
    asked, encode = [], Encoder.encode_queries
    monkeypatch.setattr(Encoder, "encode_queries", lambda self, queries: asked.append(queries) or encode(self, queries))
    monkeypatch.delattr(Encoder, "encode_query")
    assert client.post("/search/batch", json={"searches": SEARCHES[:1] + SEARCHES[2:]}).status_code == 200
    assert asked == [[search["query"] for search in SEARCHES if search.get("mode") != "lexical"]]


def test_searches_by_words_alone_encode_nothing(client, monkeypatch):
    """A batch without a dense leg does without the encoder."""
    monkeypatch.delattr(_Graph, "run")
    searches = [{"query": "wine", "mode": "lexical"}, {"query": "cat", "mode": "lexical"}]
    responses = client.post("/search/batch", json={"searches": searches}).json()["responses"]
    assert [response["results"][0]["id"] for response in responses] == ["d", "a"]


def test_a_deleted_document_is_in_no_batch(built_data, tmp_path):
    """Searches of a batch see what a search by itself sees: no document that was deleted meanwhile."""
    data = shutil.copytree(built_data, tmp_path / "data")
    with TestClient(create_app(ServiceSettings(data=data, writable=True))) as client:
        assert client.delete("/documents", params={"id": "a"}).status_code == 200
        answer = client.post("/search/batch", json={"searches": [{"query": "the cat", "mode": "dense"}]}).json()
        assert sorted(result["id"] for result in answer["responses"][0]["results"]) == ["b", "c", "d", "e", "f"]


@pytest.mark.parametrize(
    ("searches", "field"),
    [
        ([], "body.searches"),
        ([{"query": "a"}] * 33, "body.searches"),
        ([{"query": "a"}, {"query": "x" * 2_001}], "body.searches.1.query"),
        ([{"query": "a"}, {"query": "b", "group_by": "colour"}], "body.searches.1.group_by"),
        ([{"query": "a", "filter": {"must": [{"field": "colour", "eq": "red"}]}}], "body.searches.0.filter"),
        ([{"query": "a", "facets": [{"field": "rooms"}, {"field": "colour"}]}], "body.searches.0.facets.1"),
    ],
)
def test_a_batch_with_a_wrong_search_is_refused(client, searches, field):
    """The refusal names the search that is wrong and its field; none of the others is answered."""
    answer = client.post("/search/batch", json={"searches": searches})
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]
