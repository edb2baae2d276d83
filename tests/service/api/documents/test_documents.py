"""`/documents/{id}` and `/documents/{id}/similar`: one document, and those near to it."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from starlette.testclient import TestClient

from service.app import create_app
from service.settings import ServiceSettings

IDS = [
    "docs/guide/index.html", "https://example.org/a?b=c&d=e#f", "/leading", "trailing/", "two words", " around ",
    "100%", "%41", "%2F", "question?", "hash#", "plus+and&", "naïve/é", "猫", "🐈", "quote\"'<b>", "back\\slash",
    "a;b,c:d@e", "similar",
]  # fmt: skip


@pytest.fixture(scope="module")
def odd_data(serve_columns):
    """The data directory of an index whose ids need care in a URL."""
    return serve_columns(
        {"id": IDS, "text": [f"The cat number {number} sits in the garden." for number in range(len(IDS))]}
    )


@pytest.fixture(scope="module")
def odd(odd_data):
    """A client of a service over ids that need care in a URL."""
    with TestClient(create_app(ServiceSettings(data=odd_data))) as client:
        yield client


def path(name, tail=""):
    """The path of a document, its id percent-encoded."""
    return f"/documents/{quote(name, safe='')}{tail}"


def test_a_document_comes_whole(client):
    """A document is found by its id, with its whole text, its metadata and the index that it is from."""
    answer = client.get("/documents/a")
    assert answer.status_code == 200
    body = answer.json()
    assert body == {
        "id": "a",
        "title": "The cat",
        "text": "The cat sits in the garden. It sleeps in the sun and eats fish at night.",
        "metadata": {"price": 1.5, "rooms": 1, "tags": ["pet"]},
        "index": client.post("/search", json={"query": "cat"}).json()["index"],
        "request_id": answer.headers["X-Request-ID"],
    }


def test_a_document_without_title_and_metadata_has_nulls(client):
    """What a document lacks is null or empty; the fields are there."""
    body = client.get("/documents/d").json()
    assert body["title"] is None
    assert body["metadata"] == {"price": 4.0, "rooms": 4, "tags": None}


@pytest.mark.parametrize("name", [name for name in IDS if "%" not in name])
def test_any_id_is_found_when_it_is_percent_encoded(odd, name):
    """Slashes, spaces, question marks and other scripts in an id lead to its document once they are encoded."""
    answer = odd.get(path(name))
    assert answer.status_code == 200
    assert answer.json()["id"] == name


def test_ids_survive_the_real_server(odd_data, start_service):
    """The real server decodes a path once: an id that holds a percent sign, or looks encoded, is found too."""
    running = start_service(odd_data)
    for name in IDS:
        for asked in (path(name), path(name, "/similar?top_k=2")):
            status, body = running.get(asked)
            assert status == 200, asked
            assert json.loads(body)["id"] == name


def test_slashes_may_stand_as_they_are(odd):
    """An id with slashes needs no encoding of them."""
    assert odd.get("/documents/docs/guide/index.html").json()["id"] == "docs/guide/index.html"


@pytest.mark.parametrize("name", ["nope", "docs/guide", "A", "", " ", "a ", "x" * 5000, "\u0000"])
def test_an_unknown_id_is_not_found(client, name):
    """An id that the index does not hold, exactly as it is written, is a 404."""
    answer = client.get(path(name))
    assert answer.status_code == 404
    assert answer.json()["type"] == "urn:dowse:problem:not-found"


def test_similar_leaves_the_document_out(client):
    """The documents similar to one are the others, nearest first."""
    for name in "abcdef":
        answer = client.get(f"/documents/{name}/similar")
        assert answer.status_code == 200
        body = answer.json()
        assert set(body) == {"id", "results", "count", "took_ms", "timings", "index", "request_id"}
        assert body["id"] == name
        assert {result["id"] for result in body["results"]} == set("abcdef") - {name}
        scores = [result["score"] for result in body["results"]]
        assert scores == sorted(scores, reverse=True)
        assert all(-1.001 <= score <= 1.001 for score in scores)
        assert [result["rank"] for result in body["results"]] == [1, 2, 3, 4, 5]


def test_similar_is_a_matter_of_both(client):
    """Two documents of one passage each are as similar one way as the other."""
    score = {
        (one, other["id"]): other["score"]
        for one in "de"
        for other in client.get(f"/documents/{one}/similar").json()["results"]
    }
    assert score["d", "e"] == pytest.approx(score["e", "d"], abs=1e-5)


@pytest.mark.parametrize("top_k", [1, 3, 100])
def test_similar_gives_as_many_as_asked(client, top_k):
    """`top_k` bounds the similar documents, and the nearest stay."""
    body = client.get("/documents/a/similar", params={"top_k": top_k}).json()
    assert body["count"] == len(body["results"]) == min(top_k, 5)
    assert body["results"] == client.get("/documents/a/similar").json()["results"][:top_k]


@pytest.mark.parametrize("top_k", ["0", "101", "x", ""])
def test_similar_refuses_a_top_k_out_of_bounds(client, top_k):
    """A number of similar documents out of bounds is a 422 that names the parameter."""
    answer = client.get("/documents/a/similar", params={"top_k": top_k})
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == ["query.top_k"]


def test_similar_of_an_unknown_document_is_not_found(client):
    """There is nothing similar to a document that does not exist: a 404."""
    answer = client.get("/documents/nope/similar")
    assert answer.status_code == 404
    assert answer.json()["type"] == "urn:dowse:problem:not-found"
    assert "'nope'" in answer.json()["detail"]


@pytest.mark.parametrize("name", ["docs/guide/index.html", "trailing/", "similar", "猫", "question?"])
def test_similar_works_for_any_id(odd, name):
    """An id with slashes, or one that is itself called similar, has similar documents too."""
    body = odd.get(path(name, "/similar"), params={"top_k": 100}).json()
    assert body["id"] == name
    assert {result["id"] for result in body["results"]} == set(IDS) - {name}
