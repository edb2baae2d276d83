"""Arrangement of search results: minimum score, columns, groups, diversity, highlights and pages."""

from __future__ import annotations

import itertools
import random

import pytest
from starlette.testclient import TestClient
from stories import WORDS

from indexer.index.index import Index
from service.app import create_app
from service.settings import ServiceSettings

MODES = ("hybrid", "dense", "lexical")
QUERY = "the dog eats bread in the garden"
KINDS = ["pet", "wild", None]
DOCUMENTS = 150


@pytest.fixture(scope="module")
def crowd(serve_columns):
    """A client of a service over 150 texts of few words, each text twice and many scores equal."""
    chance = random.Random(11)
    texts = [
        ". ".join(" ".join(chance.choices(WORDS, k=9)) for _ in range(chance.choice([1, 2, 9]))) for _ in range(75)
    ]
    data = serve_columns(
        {
            "id": [f"d{number:03}" for number in range(DOCUMENTS)],
            "text": texts + texts,
            "kind": [chance.choice(KINDS) for _ in range(DOCUMENTS)],
            "size": [float("nan") if number % 7 == 0 else float(number % 5) for number in range(DOCUMENTS)],
            "tags": [["a", "b"] for _ in range(DOCUMENTS)],
        }
    )
    with TestClient(create_app(ServiceSettings(data=data))) as client:
        yield client


def search(client, **body):
    """The results of a search."""
    answer = client.post("/search", json={"query": QUERY, **body})
    assert answer.status_code == 200, answer.text
    return answer.json()["results"]


def walk(client, size, **body):
    """All pages of a search, one after the other."""
    found = page = search(client, top_k=size, **body)
    while len(page) == size:
        page = search(client, top_k=size, offset=len(found), **body)
        found = found + page
    return found


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "choices",
    [
        {}, {"diversity": 0.4}, {"diversity": 1}, {"group_by": "kind"}, {"group_by": "size", "group_size": 3},
        {"filter": {"must_not": [{"field": "kind", "eq": "wild"}]}, "diversity": 0.3}, {"min_score": 0.1}, {"diversity": 0.7, "group_by": "kind", "group_size": 4, "min_score": 0.05},
    ],
    ids=str,
)  # fmt: skip
def test_pages_of_any_size_are_the_same_ranking(crowd, mode, choices):
    """However the results are cut into pages, no document is repeated, lost or moved: in every mode, with any choices."""
    whole = walk(crowd, 100, mode=mode, **choices)
    assert len({result["id"] for result in whole}) == len(whole) > 3
    assert [result["rank"] for result in whole] == list(range(1, len(whole) + 1))
    for size in (1, 7, 31):
        pages = walk(crowd, size, mode=mode, **choices) if size > 1 else search(crowd, top_k=1, mode=mode, **choices)
        assert pages == whole[: len(pages)]
        assert len(pages) == (1 if size == 1 else len(whole))


def test_equal_scores_come_in_the_order_of_their_ids(crowd):
    """Every text is there twice: of two documents with the same words the one with the smaller id comes first."""
    whole = walk(crowd, 13, mode="lexical")
    keys = [(-result["score"], result["id"]) for result in whole]
    assert keys == sorted(keys)
    assert sum(one["text"] == next_["text"] for one, next_ in itertools.pairwise(whole)) > 10


@pytest.mark.parametrize("mode", MODES)
def test_min_score_leaves_out_exactly_what_is_below(crowd, mode):
    """The least score is a cosine in dense and hybrid mode and BM25 in lexical mode; what reaches it stays, in its order."""
    leg = "lexical" if mode == "lexical" else "dense"
    whole = walk(crowd, 100, mode=mode, explain=True)
    scores = sorted(result["scores"][leg]["score"] for result in whole)
    least = scores[len(scores) // 2] + 1e-6
    kept = [result["id"] for result in whole if result["scores"][leg]["score"] >= least]
    assert 0 < len(kept) < len(whole)
    assert [result["id"] for result in walk(crowd, 20, mode=mode, min_score=least)] == kept
    assert search(crowd, mode=mode, min_score=1e6) == []


@pytest.mark.parametrize("mode", MODES)
def test_min_score_keeps_what_has_just_that_score(crowd, mode):
    """The least score is inclusive: a result of exactly that score stays, to the last bit."""
    leg = "lexical" if mode == "lexical" else "dense"
    whole = walk(crowd, 100, mode=mode, explain=True)
    scores = sorted(result["scores"][leg]["score"] for result in whole)
    least = scores[len(scores) // 2]
    kept = [result["id"] for result in whole if result["scores"][leg]["score"] >= least]
    at = [result["id"] for result in whole if result["scores"][leg]["score"] == least]
    assert at
    assert [result["id"] for result in walk(crowd, 20, mode=mode, min_score=least)] == kept


def test_a_score_of_a_leg_keeps_its_rank_among_all_candidates(crowd):
    """What `explain` says of a result does not change because others were left out."""
    whole = {result["id"]: result["scores"] for result in walk(crowd, 100, explain=True)}
    for result in walk(crowd, 100, explain=True, min_score=0.2, diversity=0.3, group_by="size", group_size=9):
        assert result["scores"] == whole[result["id"]]


def test_groups_have_no_more_than_their_size(crowd):
    """The best results of each value stay, in their order; documents without a value are not grouped."""
    whole = walk(crowd, 100)
    for column, size in (("kind", 1), ("kind", 4), ("size", 2)):
        left: dict[object, int] = {}
        expected = []
        for result in whole:
            value = result["metadata"][column]
            left[value] = left.get(value, size) - (value is not None)
            if left[value] >= 0:
                expected.append((result["id"], value))
        found = walk(crowd, 9, group_by=column, group_size=size)
        assert [(result["id"], result["group"]) for result in found] == expected
        assert any(value is None for _, value in expected)


def test_diversity_separates_copies_and_keeps_the_best(crowd):
    """The best result stays the best; its copy, which came second, comes later; scores are those of the ranking."""
    plain, diverse = search(crowd, mode="dense", top_k=10), search(crowd, mode="dense", top_k=10, diversity=0.5)
    assert plain[0]["text"] == plain[1]["text"]
    assert diverse[0] == plain[0]
    assert len({result["text"] for result in diverse}) == 10
    scores = {result["id"]: result["score"] for result in walk(crowd, 100, mode="dense")}
    assert all(result["score"] == scores[result["id"]] for result in diverse)


def test_fields_chooses_columns(client):
    """Only the requested columns are returned, with their values; an empty list means none."""
    whole = {result["id"]: result["metadata"] for result in search(client)}
    for fields in (["rooms"], ["tags", "price"], []):
        for result in search(client, fields=fields):
            assert result["metadata"] == {name: whole[result["id"]][name] for name in fields}
    flat = client.get("/search", params={"q": QUERY, "fields": ["rooms", "tags"]}).json()["results"]
    assert flat == search(client, fields=["rooms", "tags"])


def test_the_flat_form_takes_the_same_choices(crowd):
    """`GET /search` arranges as `POST /search` does."""
    choices = {"min_score": 0.05, "diversity": 0.5, "group_by": "kind", "group_size": 2, "highlight": True}
    flat = crowd.get("/search", params={"q": QUERY, **choices}).json()["results"]
    assert flat == search(crowd, **choices) != []


@pytest.mark.parametrize("mode", MODES)
def test_highlights_mark_words_and_a_sentence(client, mode):
    """Spans lead to the words of the query, stop words left out, and to one whole sentence of the passage."""
    by_id = {
        result["id"]: result for result in search(client, query="dogs running by the river", mode=mode, highlight=True)
    }
    dog = by_id["b"]
    assert [dog["title"][start:end] for start, end in dog["highlights"]["title"]] == ["dog"]
    assert [dog["text"][start:end] for start, end in dog["highlights"]["text"]] == ["dog", "runs", "river"]
    start, end = dog["highlights"]["sentence"]
    assert dog["text"][start:end] == "The dog runs by the river."
    if mode != "lexical":
        king = by_id["d"]
        assert king["highlights"] == {"title": [], "text": [], "sentence": [0, len(king["text"])]}


def test_nothing_is_added_that_was_not_asked(client):
    """Without the choices a result has its own fields, and no time is spent on highlights."""
    answer = client.post("/search", json={"query": QUERY}).json()
    assert "highlight" not in answer["timings"]
    assert all(not {"highlights", "group", "scores"} & set(result) for result in answer["results"])
    assert "highlight" in client.post("/search", json={"query": QUERY, "highlight": True}).json()["timings"]


def test_a_page_reads_no_more_documents_than_it_needs(crowd, monkeypatch):
    """A plain search fetches the documents of its page and no others, however many candidates there are."""
    fetched = []
    document = Index.document
    monkeypatch.setattr(Index, "document", lambda self, row: fetched.append(row) or document(self, row))
    search(crowd, top_k=5)
    assert len(fetched) == 5


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"fields": ["colour"]}, "body.fields"),
        ({"fields": ["id"]}, "body.fields"),
        ({"group_by": "colour"}, "body.group_by"),
        ({"group_by": "tags"}, "body.group_by"),
        ({"group_by": ""}, "body.group_by"),
        ({"group_by": "kind", "group_size": 0}, "body.group_size"),
        ({"diversity": 1.1}, "body.diversity"),
        ({"diversity": -0.1}, "body.diversity"),
        ({"min_score": "high"}, "body.min_score"),
        ({"fields": ["kind"] * 101}, "body.fields"),
    ],
)
def test_what_cannot_be_done_is_refused(crowd, body, field):
    """A column that is not there, one of lists, a value out of bounds: a 422 that names the field."""
    answer = crowd.post("/search", json={"query": QUERY, **body})
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["field"] == field
    if isinstance(body.get("group_by", body.get("fields")), (str, list)) and "no column" in error["message"]:
        assert "kind" in error["message"]


@pytest.mark.parametrize("value", [b"NaN", b"Infinity", b"-Infinity"])
def test_a_least_score_is_a_number(crowd, value):
    """JSON that is none, as Python writes it, is no least score."""
    body = b'{"query": "a", "min_score": ' + value + b"}"
    answer = crowd.post("/search", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422


def test_a_refused_parameter_is_named_as_it_was_sent(crowd):
    """In a query string the field is one of the query."""
    answer = crowd.get("/search", params={"q": QUERY, "group_by": "colour"})
    assert [error["field"] for error in answer.json()["errors"]] == ["query.group_by"]


@pytest.mark.parametrize("mode", ["hybrid", "lexical"])
def test_a_query_whose_words_find_nothing_gets_a_suggestion(client, mode):
    """Words that the corpus does not have are replaced by the nearest of it; with nothing near there is null."""
    answer = client.post("/search", json={"query": "gardn castel", "mode": mode}).json()
    assert answer["suggestion"] == "garden castle"
    assert client.post("/search", json={"query": "zeppelin", "mode": mode}).json()["suggestion"] is None


@pytest.mark.parametrize("body", [{"query": "gardn of the cat"}, {"query": "gardn", "mode": "dense"}])
def test_no_spelling_is_looked_at_where_words_find_something(client, monkeypatch, body):
    """For a query with a known word, and without the lexical leg, the dictionary is not read."""
    monkeypatch.delattr("indexer.index.lexical.indexed.IndexedWords.vocabulary")
    answer = client.post("/search", json={**body, "typos": False})
    assert answer.status_code == 200 and "suggestion" not in answer.json()
