"""`/search`: requests, answers and refusals."""

from __future__ import annotations

import base64
import datetime as dt
import itertools
import math

import pyarrow as pa
import pytest
from starlette.testclient import TestClient

from service.app import create_app
from service.settings import ServiceSettings

QUERY = "a dog in the garden"
JSON = {"Content-Type": "application/json"}
FIELDS = {"query", "results", "count", "offset", "took_ms", "timings", "index", "request_id"}


@pytest.fixture(scope="module")
def typed(serve_columns):
    """A client of a service whose two documents have metadata of many types."""
    when = dt.datetime(2026, 1, 2, 3, 4, 5, 678901)  # noqa: DTZ001 - a column without a time zone
    data = serve_columns(
        {
            "id": ["full", "bare"],
            "title": ["The cat", None],
            "text": ["The cat sits in the garden.", "The dog runs by the river."],
            "float": [1.5, math.nan],
            "infinite": [math.inf, 1.0],
            "int": [2**53 + 1, None],
            "bool": [True, False],
            "list": [["pet", "é"], []],
            "floats": [[1.0, math.nan], None],
            "struct": [{"a": 1, "b": {"c": math.nan, "d": b"\xff"}}, None],
            "time": pa.array([when, None], pa.timestamp("us")),
            "zoned": pa.array([when, None], pa.timestamp("us", "UTC")),
            "date": pa.array([when.date(), None], pa.date32()),
            "binary": pa.array([b"\xff\x00\xfe", None], pa.binary()),
            "nothing": pa.nulls(2),
        }
    )
    with TestClient(create_app(ServiceSettings(data=data))) as client:
        yield client


def post(client, **body):
    """The answer to a body that is searched."""
    answer = client.post("/search", json={"query": QUERY, **body})
    assert answer.status_code == 200, answer.text
    return answer.json()


def get(client, **params):
    """The answer to a query string that is searched."""
    answer = client.get("/search", params={"q": QUERY, **params})
    assert answer.status_code == 200, answer.text
    return answer.json()


def ids(answer):
    """The ids of the results, best first."""
    return [result["id"] for result in answer["results"]]


def test_the_answer_has_the_documented_fields_and_no_others(client):
    """A search answers with exactly the documented fields, and a result has exactly its own."""
    answer = post(client)
    assert set(answer) == FIELDS
    assert set(answer["timings"]) == {"encode", "dense", "lexical", "fuse", "fetch"}
    assert set(answer["index"]) == {"id", "model", "documents", "generation"}
    assert answer["index"]["documents"] == 6
    assert answer["query"] == QUERY
    assert answer["offset"] == 0
    assert answer["count"] == len(answer["results"]) == 6
    for result in answer["results"]:
        assert set(result) == {"id", "rank", "score", "relevance", "title", "text", "metadata"}


def test_the_timings_are_measured_and_within_the_whole(client):
    """Every stage that ran took some time, and none took longer than the whole."""
    answer = post(client)
    for stage, milliseconds in answer["timings"].items():
        assert 0 < milliseconds <= answer["took_ms"], stage
    lexical = post(client, mode="lexical")["timings"]
    assert lexical["encode"] == lexical["dense"] == 0


@pytest.mark.parametrize("mode", ["hybrid", "dense", "lexical"])
def test_post_and_get_give_the_same_results(client, mode):
    """The two ways of searching give the same results for the same choices."""
    choices = {"mode": mode, "top_k": 3, "offset": 1, "explain": True}
    body, flat = post(client, **choices), get(client, **choices)
    assert body["results"] == flat["results"] != []
    assert (body["count"], body["offset"], body["query"]) == (flat["count"], flat["offset"], flat["query"])


def test_fusion_is_chosen_alike_in_body_and_query_string(client):
    """A fusion object in the body and the flat parameters of the query string mean the same, and change the scores."""
    default = post(client)["results"]
    for method, weight in (("convex", 0.9), ("rrf", 0.2)):
        body = post(client, fusion={"method": method, "dense_weight": weight})["results"]
        assert body == get(client, fusion=method, dense_weight=weight)["results"]
        assert [r["score"] for r in body] != [r["score"] for r in default]


def test_all_the_weight_on_one_leg_gives_its_order(client):
    """With a dense weight of 1 hybrid search ranks as the dense leg alone does."""
    assert ids(post(client, fusion={"dense_weight": 1})) == ids(post(client, mode="dense"))


def test_top_k_bounds_the_number_of_results(client):
    """The number of results is the requested one where there are enough."""
    for top_k in (1, 4, 100):
        answer = post(client, top_k=top_k)
        assert answer["count"] == len(answer["results"]) == min(top_k, 6)


def test_pages_neither_repeat_nor_lose_a_document(client):
    """Pages one after the other are the whole ranking, with ranks that count on."""
    whole = post(client)["results"]
    pages = [post(client, top_k=2, offset=offset) for offset in (0, 2, 4)]
    assert [page["offset"] for page in pages] == [0, 2, 4]
    assert list(itertools.chain.from_iterable(page["results"] for page in pages)) == whole
    assert [result["rank"] for result in whole] == [1, 2, 3, 4, 5, 6]
    assert len({result["id"] for result in whole}) == 6


def test_a_page_past_the_end_is_empty(client):
    """An offset past the last result gives an empty page, not an error."""
    answer = post(client, offset=6)
    assert answer["results"] == []
    assert answer["count"] == 0


@pytest.mark.parametrize("mode", ["hybrid", "dense", "lexical"])
def test_scores_descend(client, mode):
    """The best result comes first in every mode."""
    scores = [result["score"] for result in post(client, mode=mode)["results"]]
    assert len(set(scores)) > 1
    assert scores == sorted(scores, reverse=True)


def test_equal_scores_come_in_the_order_of_their_ids(client):
    """Documents that the query says nothing about keep the order of their ids, so that pages are stable."""
    results = post(client, query="wine", fusion={"dense_weight": 0})["results"]
    assert results[0]["id"] == "d"
    assert len({result["score"] for result in results[1:]}) == 1
    assert [result["id"] for result in results[1:]] == ["a", "b", "c", "e", "f"]


def test_lexical_mode_finds_only_documents_with_a_word_of_the_query(client):
    """The lexical leg alone returns only documents with one of the words, and none for unknown words."""
    assert ids(post(client, query="wine", mode="lexical")) == ["d"]
    assert post(client, query="zeppelin", mode="lexical")["results"] == []


def test_explain_adds_the_scores_of_both_legs(client):
    """With `explain` each result has the score and rank of each leg, null where the leg has not found it."""
    results = post(client, query="wine", explain=True)["results"]
    for result in results:
        assert set(result["scores"]) == {"dense", "lexical"}
        assert set(result["scores"]["dense"]) == {"score", "rank", "part"}
        assert -1.001 <= result["scores"]["dense"]["score"] <= 1.001
        assert (result["scores"]["lexical"] is None) == (result["id"] != "d")
    assert sorted(result["scores"]["dense"]["rank"] for result in results) == [1, 2, 3, 4, 5, 6]


def test_explain_says_null_for_the_leg_that_was_not_asked(client):
    """In a mode of one leg the other has no score, and the own one is the result's."""
    for mode, other in (("dense", "lexical"), ("lexical", "dense")):
        for result in post(client, mode=mode, explain=True)["results"]:
            assert result["scores"][other] is None
            assert result["scores"][mode]["score"] == result["score"]


def test_metadata_keeps_its_types(typed):
    """Metadata arrives as JSON of its own type: numbers, lists, objects, ISO times, base64, null for NaN."""
    found = {result["id"]: result for result in post(typed)["results"]}
    metadata = found["full"]["metadata"]
    assert metadata.pop("bool") is True
    assert isinstance(metadata["float"], float)
    assert metadata == {
        "float": 1.5,
        "infinite": None,
        "int": 2**53 + 1,
        "list": ["pet", "é"],
        "floats": [1.0, None],
        "struct": {"a": 1, "b": {"c": None, "d": base64.urlsafe_b64encode(b"\xff").decode()}},
        "time": "2026-01-02T03:04:05.678901",
        "zoned": "2026-01-02T03:04:05.678901Z",
        "date": "2026-01-02",
        "binary": base64.urlsafe_b64encode(b"\xff\x00\xfe").decode(),
        "nothing": None,
    }
    bare = found["bare"]["metadata"]
    assert set(bare) == {*metadata, "bool"}
    assert bare["float"] is None
    assert bare["list"] == []
    assert bare["struct"] is None
    assert bare["bool"] is False


def test_a_document_gives_the_same_metadata_as_a_result(typed):
    """One document and a search result say the same of its metadata."""
    for result in post(typed)["results"]:
        assert typed.get(f"/documents/{result['id']}").json()["metadata"] == result["metadata"]


def test_a_missing_title_is_null(typed):
    """A document without a title has the title null; the field is there."""
    titles = {result["id"]: result["title"] for result in post(typed)["results"]}
    assert titles == {"full": "The cat", "bare": None}


@pytest.mark.parametrize(
    "query",
    [
        "Straße über den Fluß",
        "猫は庭にいる",
        "قطة",
        "🐈🐕",
        "👩‍👩‍👧",
        "e\u0301",
        "...",
        "AND OR NOT ( ] body:cat*",
        "a\u0000b",
    ],
)
def test_any_text_is_a_query(client, query):
    """Scripts, emoji, NUL, punctuation and the operators of query languages are searched as text."""
    answer = post(client, query=query)
    assert answer["query"] == query
    assert answer["count"] == 6
    assert get(client, q=query)["results"] == answer["results"]


def test_white_space_around_a_query_does_not_count(client):
    """A query is searched without the white space around it, which does not count towards its length."""
    answer = post(client, query=f" \t{'x' * 2000}\n")
    assert answer["query"] == "x" * 2000


def test_a_query_of_2000_characters_is_searched(client):
    """The longest query that is taken has 2,000 characters, however many bytes those are."""
    words = ("cat dog " * 250)[:1999] + "x"
    assert post(client, query=words)["results"][0]["score"] > 0
    assert post(client, query="🐈" * 2000)["count"] == 6


REFUSED = {
    "too long": {"query": "x" * 2001},
    "null query": {"query": None},
    "a number": {"query": 5},
    "top_k 0": {"query": QUERY, "top_k": 0},
    "top_k 101": {"query": QUERY, "top_k": 101},
    "top_k 1.5": {"query": QUERY, "top_k": 1.5},
    "negative offset": {"query": QUERY, "offset": -1},
    "deep offset": {"query": QUERY, "offset": 10_001},
    "mode": {"query": QUERY, "mode": "sparse"},
    "fusion name": {"query": QUERY, "fusion": "rrf"},
    "fusion method": {"query": QUERY, "fusion": {"method": "max"}},
    "dense_weight": {"query": QUERY, "fusion": {"dense_weight": 1.1}},
    "rrf constant": {"query": QUERY, "fusion": {"method": "rrf", "k": 0}},
    "unknown field": {"query": QUERY, "topk": 5},
    "unknown field of fusion": {"query": QUERY, "fusion": {"weight": 0.5}},
    "GET's name of the query": {"q": QUERY},
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_body_that_is_not_valid_is_refused(client, name):
    """A value out of bounds or a field that is not known is a 422 that names the field."""
    answer = client.post("/search", json=REFUSED[name])
    assert answer.status_code == 422
    problem = answer.json()
    assert problem["type"] == "urn:dowse:problem:invalid-request"
    assert problem["errors"]
    assert all(error["field"].startswith("body.") for error in problem["errors"])


@pytest.mark.parametrize(
    "params",
    [
        {"q": "x" * 2001}, {"q": QUERY, "top_k": 0}, {"q": QUERY, "top_k": 101}, {"q": QUERY, "top_k": "x"},
        {"q": QUERY, "offset": -1}, {"q": QUERY, "mode": "x"}, {"q": QUERY, "fusion": "x"}, {"q": QUERY, "dense_weight": -0.1},
        {"q": QUERY, "dense_weight": "nan"}, {"q": QUERY, "query": QUERY}, {"q": QUERY, "topk": 3},
    ],
)  # fmt: skip
def test_a_query_string_that_is_not_valid_is_refused(client, params):
    """The query string is checked as strictly as the body, unknown parameters included."""
    answer = client.get("/search", params=params)
    assert answer.status_code == 422
    assert all(error["field"].startswith("query.") for error in answer.json()["errors"])


@pytest.mark.parametrize(
    "body",
    [
        rb'{"query": "\ud800"}', rb'{"query": "a\udfff b"}', rb'{"query": "a", "\ud800": 1}', rb'{"query": "a", "mode": "\ud800"}',
        rb'{"query": "a", "fusion": {"\ud800": 1}}', b'{"query": "a", "fusion": {"dense_weight": NaN}}',
        b'{"query": "a", "top_k": 1e999}', b"{", b"", b"null", b'"query"', b"[]",
    ],
)  # fmt: skip
def test_a_broken_body_is_the_client_s_mistake(client, body):
    """Broken JSON, no body, another type and half a surrogate pair are a 422, never a 500."""
    answer = client.post("/search", content=body, headers=JSON)
    assert answer.status_code == 422
    assert answer.json()["type"] == "urn:dowse:problem:invalid-request"


@pytest.mark.parametrize(
    "body", [b'{"query": "\xff"}', b"[" * 100_000, b'{"query": "a", "top_k": ' + b"9" * 5000 + b"}"]
)
def test_a_body_that_cannot_be_parsed_is_a_400(client, body):
    """Bytes that are no UTF-8, endless nesting and endless numbers are a 400, never a 500."""
    answer = client.post("/search", content=body, headers=JSON)
    assert answer.status_code == 400
    assert answer.json()["type"] == "urn:dowse:problem:http"


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", None])
def test_a_body_has_to_say_that_it_is_json(client, kind):
    """Only JSON that is called JSON is taken, so that no form of another site can post a search."""
    headers = {"Content-Type": kind} if kind else {}
    answer = client.post("/search", content=b'{"query": "a"}', headers=headers)
    assert answer.status_code == 422
    assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("method", ["HEAD", "DELETE", "PUT", "PATCH"])
def test_other_methods_are_not_allowed(client, method):
    """A method that `/search` does not have is a 405 that says so in the one shape of errors."""
    answer = client.request(method, "/search")
    assert answer.status_code == 405
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert "POST" in answer.headers["Allow"]
    if method != "HEAD":  # which has no body
        assert answer.json()["type"] == "urn:dowse:problem:method-not-allowed"


@pytest.mark.parametrize("name", ["group_size", "top_k", "offset", "diversity", "min_relevance"])
def test_a_boolean_is_no_number(client, name):
    """True is not taken for 1; what is true or false may be so."""
    answer = client.post("/search", json={"query": "cat", name: True})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"].endswith(name)
    assert client.post("/search", json={"query": "cat", "highlight": True, "rerank": False}).status_code == 200
