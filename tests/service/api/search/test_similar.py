"""`POST /similar`: documents like examples; and ids that end in `/similar`."""

from __future__ import annotations

from urllib.parse import quote

import numpy as np
import pytest
from starlette.testclient import TestClient

from indexer.index.dense import unit
from indexer.retrieval.rocchio import ALPHA, BETA, GAMMA
from service.app import create_app
from service.settings import ServiceSettings


def similar(client, **body):
    """The answer to examples."""
    answer = client.post("/similar", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def ids(answer):
    """The ids of the results, best first."""
    return [result["id"] for result in answer["results"]]


@pytest.fixture(scope="module")
def index(client):
    """The index behind the client."""
    return client.app.state.searcher.live.retriever.index


def brute_force(index, meant, without):
    """Ids and cosines of all documents but some, nearest first, computed one by one."""
    found = []
    for row in range(len(index)):
        passages = np.arange(index.first_passage[row], index.first_passage[row + 1])
        document = index.document(row).id
        if document not in without:
            found.append((float((index.dense.vectors(passages) @ unit(meant)).max()), document))
    return sorted(found, key=lambda each: (-each[0], each[1]))


def vector(index, name):
    """The mean of a document's passages."""
    row = index.row_of(name)
    return unit(index.dense.vectors(np.arange(index.first_passage[row], index.first_passage[row + 1])).mean(axis=0))


def test_a_text_alone_is_a_dense_search(client):
    """Without examples it is what dense search gives for the text."""
    text = "a dog by the river"
    dense = client.post("/search", json={"query": text, "mode": "dense"}).json()
    answer = similar(client, text=text)
    assert set(answer) == {"results", "count", "offset", "took_ms", "timings", "index", "request_id"}
    assert answer["results"] == dense["results"]


def test_examples_and_negatives_are_added_as_documented(client, index):
    """Order and scores are those of the formula, by brute force; none of the examples is among the results."""
    encode = index.encoder.encode_query
    text, other = unit(encode("winter snow")), unit(encode("a cat"))
    cases = [
        ({"ids": ["a"]}, BETA * vector(index, "a")),
        ({"ids": ["a", "b"]}, (vector(index, "a") + vector(index, "b"))),
        ({"text": "winter snow", "ids": ["c"]}, ALPHA * text + BETA * vector(index, "c")),
        (
            {"text": "winter snow", "negative_text": "a cat", "negative_ids": ["b"]},
            ALPHA * text - GAMMA * (vector(index, "b") + other) / 2,
        ),
        ({"ids": ["a"], "negative_ids": ["f"]}, BETA * vector(index, "a") - GAMMA * vector(index, "f")),
    ]
    for body, meant in cases:
        expected = brute_force(index, meant, {*body.get("ids", []), *body.get("negative_ids", [])})
        answer = similar(client, **body)
        assert ids(answer) == [name for _, name in expected]
        assert [r["score"] for r in answer["results"]] == pytest.approx([score for score, _ in expected], abs=1e-5)


def test_texts_are_the_results_own(serve_columns):
    """Without the examples, each result still has the nearest passage of its own document, and what is marked in it.

    Documents have passages of many lengths, so the offsets of another one would cut a text that is not there.
    """
    words = ["cat", "dog", "river", "garden", "bread", "cheese"]
    names = [f"d{number}" for number in range(24)]
    texts = [
        " ".join(f"The {words[(number + line) % 6]} {number} sits here {line} times." for line in range(number * 3 + 1))
        for number in range(len(names))
    ]
    with TestClient(create_app(ServiceSettings(data=serve_columns({"id": names, "text": texts})))) as client:
        index = client.app.state.searcher.live.retriever.index
        assert index.passages > 2 * len(names)
        for body in (
            {"ids": ["d3"]},
            {"ids": ["d20", "d0"]},
            {"text": "cat", "ids": ["d1"], "negative_ids": ["d23", "d7"]},
        ):
            results = similar(client, **body, top_k=100, highlight=True)["results"]
            left_out = {*body.get("ids", ()), *body.get("negative_ids", ())}
            assert {result["id"] for result in results} == {*names} - left_out
            for result in results:
                row = index.row_of(result["id"])
                passages = range(index.first_passage[row], index.first_passage[row + 1])
                cuts = {texts[row][slice(*index.passage_offsets(passage))].strip() for passage in passages}
                assert result["text"] in cuts
                start, end = result["highlights"]["sentence"]
                assert result["text"][start:end].startswith("The ")


def test_a_negative_puts_what_is_like_it_back(client):
    """What a negative example resembles most gets a worse score than without it."""
    plain = {r["id"]: r["score"] for r in similar(client, text="the dog in the garden")["results"]}
    less = {r["id"]: r["score"] for r in similar(client, text="the dog in the garden", negative_ids=["f"])["results"]}
    assert "f" in plain and "f" not in less
    assert less["b"] < plain["b"]


def test_pages_filters_and_choices_hold_here_too(client):
    """Pages are cut from one ranking, the filter says who may be returned, and the same choices arrange the results."""
    whole = ids(similar(client, ids=["a"], negative_ids=["e"]))
    assert sorted(whole) == ["b", "c", "d", "f"]
    assert [
        name
        for offset in range(5)
        for name in ids(similar(client, ids=["a"], negative_ids=["e"], top_k=1, offset=offset))
    ] == whole
    among = similar(
        client, ids=["a"], filter={"must": [{"field": "rooms", "gte": 4}]}, fields=["rooms"], highlight=True
    )
    assert sorted(ids(among)) == ["d", "e", "f"]
    assert all(set(r["metadata"]) == {"rooms"} and r["highlights"]["text"] == [] for r in among["results"])
    assert len(similar(client, text="cat", min_score=2)["results"]) == 0


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body"),
        ({"negative_text": "a cat"}, "body"),
        ({"ids": ["a", "nope"]}, "body.ids.1"),
        ({"text": "a", "negative_ids": ["nope"]}, "body.negative_ids.0"),
        ({"ids": ["a"] * 33}, "body.ids"),
        ({"text": " "}, "body.text"),
        ({"text": "a", "group_by": "colour"}, "body.group_by"),
        ({"text": "a", "mode": "dense"}, "body.mode"),
    ],
)
def test_examples_that_make_no_sense_are_refused(client, body, field):
    """Nothing that is meant, or documents that are not there: a 422 that names the field."""
    answer = client.post("/similar", json=body)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]


ODD = ["a", "a/similar", "a/similar/similar", "similar", "/similar"]


@pytest.fixture(scope="module")
def odd_data(serve_columns):
    """The data directory of an index whose ids look like paths."""
    return serve_columns({"id": ODD, "text": [f"The cat number {number} sits." for number in range(len(ODD))]})


def test_ids_that_end_in_similar_are_reached(odd_data):
    """An encoded slash belongs to the id: the document comes, and so do its neighbours."""
    with TestClient(create_app(ServiceSettings(data=odd_data))) as client:
        for name in ODD:
            found = client.get(f"/documents/{quote(name, safe='')}").json()
            assert found["id"] == name and "text" in found
            near = client.get(f"/documents/{quote(name, safe='')}/similar").json()
            assert near["id"] == name and near["count"] == len(ODD) - 1
        assert client.get("/documents/a/similar").json()["count"] == len(ODD) - 1


def test_the_real_server_tells_an_encoded_slash_too(odd_data, start_service):
    """The server hands on the path as it was sent."""
    running = start_service(odd_data)
    for name in ODD:
        status, body = running.get(f"/documents/{quote(name, safe='')}")
        assert status == 200 and b'"text"' in body and b'"results"' not in body
