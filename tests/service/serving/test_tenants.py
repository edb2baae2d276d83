"""Tenants: no answer to a key with a filter contains anything of a document outside that filter."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from indexer.errors import UserError
from indexer.filters.filter import Filter
from service.app import create_app
from service.security.keys import add_key
from service.settings import ServiceSettings

COUNT = 12


def of(tenant):
    """The filter of a tenant."""
    return Filter.model_validate({"must": [{"field": "tenant", "eq": tenant}]})


@pytest.fixture(scope="module")
def house(serve_columns):
    """Client of a service with alternating documents of two tenants, a key of each, and a key that sees none."""
    data = serve_columns(
        {
            "id": [f"{'ab'[number % 2]}{number}" for number in range(COUNT)],
            "text": [f"The cat number {number} sits on a wall." for number in range(COUNT)],
            "tenant": ["ab"[number % 2] for number in range(COUNT)],
        }
    )
    file = data / "keys.json"
    texts = {
        "a": add_key(file, "a", ("search",), filter_=of("a")),
        "all": add_key(file, "all", ("search",)),
        "lost": add_key(file, "lost", ("search",), filter_=Filter.model_validate({"must": [{"field": "gone", "eq": 1}]})),
    }  # fmt: skip
    with TestClient(create_app(ServiceSettings(data=data))) as client:
        yield client, {name: {"Authorization": f"Bearer {text}"} for name, text in texts.items()}


def ids(answer):
    """The ids of the results of an answer."""
    assert answer.status_code == 200, answer.text
    return {result["id"] for result in answer.json()["results"]}


@pytest.mark.parametrize("mode", ["dense", "lexical", "hybrid"])
def test_a_search_finds_the_tenants_own_and_all_of_them(house, mode):
    """In every mode a tenant finds all of its documents and no other; who has no filter finds all."""
    client, keys = house
    asked = {"query": "cat on a wall", "top_k": 100, "mode": mode}
    assert ids(client.post("/search", json=asked, headers=keys["a"])) == {f"a{number}" for number in range(0, COUNT, 2)}
    assert len(ids(client.post("/search", json=asked, headers=keys["all"]))) == COUNT


@pytest.mark.parametrize(
    "asked",
    [
        {"should": [{"field": "tenant", "eq": "b"}, {"field": "id", "eq": "a2"}]},
        {"must_not": [{"field": "tenant", "eq": "a"}]},
        {},
    ],
)
def test_no_filter_of_a_request_leads_out(house, asked):
    """A filter narrows what a tenant sees, and never widens it."""
    client, keys = house
    answer = client.post("/search", json={"query": "cat", "top_k": 100, "filter": asked}, headers=keys["a"])
    assert all(each.startswith("a") for each in ids(answer))
    assert answer.json()["matches"] == len(ids(answer))


def test_counts_tell_nothing_of_others(house):
    """Facets and the size of the index are the tenant's own."""
    client, keys = house
    answer = client.post("/search", json={"query": "cat", "facets": [{"field": "tenant"}]}, headers=keys["a"]).json()
    assert answer["facets"]["tenant"]["values"] == [{"value": "a", "count": COUNT // 2}]
    assert answer["matches"] == answer["index"]["documents"] == COUNT // 2
    assert client.get("/info", headers=keys["a"]).json()["index"]["documents"] == COUNT // 2


def test_other_documents_are_not_there(house):
    """By its id, and as what to be similar to, another tenant's document is a 404 like one that does not exist."""
    client, keys = house
    assert client.get("/documents/a0", headers=keys["a"]).status_code == 200
    for path in ("/documents/b1", "/documents/b1/similar"):
        answer = client.get(path, headers=keys["a"])
        assert answer.status_code == 404
        assert answer.json()["detail"] == "The index holds no document 'b1'"
        assert client.get(path, headers=keys["all"]).status_code == 200
    assert ids(client.get("/documents/a0/similar?top_k=100", headers=keys["a"])) == {
        f"a{number}" for number in range(2, COUNT, 2)
    }


def test_examples_are_the_tenants_own(house):
    """What is like a text is the tenant's own, and another tenant's document is no example, as if it did not exist."""
    client, keys = house
    asked = {"text": "The cat number 1 sits on a wall.", "top_k": 100}
    own = {f"a{number}" for number in range(0, COUNT, 2)}
    assert ids(client.post("/similar", json=asked, headers=keys["a"])) == own
    assert ids(client.post("/similar", json={"ids": ["a0"], "top_k": 100}, headers=keys["a"])) == own - {"a0"}
    for field in ("ids", "negative_ids"):
        answer = client.post("/similar", json={**asked, field: ["b1"]}, headers=keys["a"])
        assert answer.status_code == 422
        assert "the index holds no document 'b1'" in answer.json()["detail"]
        assert client.post("/similar", json={**asked, field: ["b1"]}, headers=keys["all"]).status_code == 200


def test_every_search_of_a_batch_is_the_tenants_own(house):
    """The searches of a batch, whose neighbours are found together, see no more than single ones."""
    client, keys = house
    others = {"must": [{"field": "tenant", "eq": "b"}]}
    asked = [{"query": "cat on a wall", "top_k": 100, "mode": mode} for mode in ("dense", "lexical", "hybrid")]
    batch = {"searches": [*asked, {**asked[0], "filter": others}]}
    *all_, narrowed = client.post("/search/batch", json=batch, headers=keys["a"]).json()["responses"]
    for answer in all_:
        assert {result["id"] for result in answer["results"]} == {f"a{number}" for number in range(0, COUNT, 2)}
    assert narrowed["results"] == []
    assert narrowed["matches"] == 0


def test_an_assistant_sees_the_tenants_own(house):
    """With a tenant's key both tools of `/mcp`, and what they say of the corpus, go by its filter."""
    client, keys = house

    def call(method, who, **params):
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        accepted = {"Accept": "application/json, text/event-stream"}
        return client.post("/mcp", json=message, headers=accepted | keys[who]).json()["result"]

    def tool(who, name, **arguments):
        return call("tools/call", who, name=name, arguments=arguments)

    found = tool("a", "search", query="cat on a wall", top_k=50)["structuredContent"]["results"]
    assert {each["id"] for each in found} == {f"a{number}" for number in range(0, COUNT, 2)}
    assert len(tool("all", "search", query="cat on a wall", top_k=50)["structuredContent"]["results"]) == COUNT
    refused = tool("a", "get_document", id="b1")
    assert refused["isError"]
    assert "no document 'b1'" in refused["content"][0]["text"]
    assert not tool("all", "get_document", id="b1").get("isError")
    assert f"has {COUNT // 2} documents" in call("tools/list", "a")["tools"][0]["description"]


def test_the_report_is_not_a_tenants(house):
    """The report quotes queries and documents of the whole corpus."""
    client, keys = house
    for path in ("/report", "/report.json"):
        assert client.get(path, headers=keys["a"]).status_code == 403
        assert client.get(path, headers=keys["all"]).status_code == 404


def test_a_filter_that_does_not_fit_shows_nothing(house):
    """Where the index has no such field any more, a tenant gets a 403 and not everything."""
    client, keys = house
    for path in ("/search?q=cat", "/documents/a0", "/documents/a0/similar"):
        assert client.get(path, headers=keys["lost"]).status_code == 403


def test_a_tenants_key_does_not_write(tmp_path):
    """A key with a filter and a write scope is refused: what it wrote could be outside its filter."""
    with pytest.raises(UserError, match="scope search only"):
        add_key(tmp_path / "keys.json", "a", ("search", "write"), filter_=of("a"))
