"""Words of queries over HTTP: prefixes, corrections, exact values, synonyms that are followed, and completions."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from shop import build_shop, shop_rows
from starlette.testclient import TestClient

from indexer.errors import UserError
from indexer.filters.filter import Filter
from service.app import create_app
from service.security.keys import Key, add_key
from service.settings import ServiceSettings

ROWS = shop_rows()
BRAND = str(ROWS[0]["brand"])


@pytest.fixture(scope="module")
def shop_data(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Path:
    """Return a data directory with the shop's index. Read it, do not change it."""
    return build_shop(tmp_path_factory.mktemp("shop") / "data", tiny_data)


@pytest.fixture(scope="module")
def shop(shop_data: Path) -> Iterator[TestClient]:
    """Return a client of a service over it."""
    with TestClient(create_app(ServiceSettings(data=shop_data))) as client:
        yield client


def search(client: TestClient, query: str, **more: object) -> dict[str, object]:
    """Return the answer to a search."""
    answer = client.post("/search", json={"query": query, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


def ids(answer: dict[str, object]) -> list[str]:
    """Return the ids of the results."""
    return [result["id"] for result in answer["results"]]


@pytest.mark.parametrize("mode", ["hybrid", "dense", "lexical"])
def test_a_word_half_typed(shop: TestClient, mode: str) -> None:
    """With `prefix` the answer is that for the whole word, by body, by query string and in a batch."""
    whole = search(shop, "headphones", mode=mode)
    half = search(shop, "headph", mode=mode, prefix=True, highlight=True)
    assert ids(half) == ids(whole)
    assert half["expanded"] == [{"word": "headph", "kind": "prefix", "words": ["headphones"], "certain": True}]
    assert "expanded" not in whole and "suggestion" not in half
    if mode != "dense":
        first = half["results"][0]
        marked = [first["title"][start:end] for start, end in first["highlights"]["title"]]
        assert marked == ["headphones"]
    link = shop.get("/search", params={"q": "headph", "mode": mode, "prefix": "true"}).json()
    assert ids(link) == ids(whole)
    batch = shop.post("/search/batch", json={"searches": [{"query": "headph", "mode": mode, "prefix": True}] * 2})
    assert [ids(each) for each in batch.json()["responses"]] == [ids(whole)] * 2


def test_a_misspelt_word(shop: TestClient) -> None:
    """It is corrected unless the request says otherwise; the suggestion stays."""
    meant = search(shop, "kettle", mode="lexical")
    typed = search(shop, "ketle", mode="lexical")
    assert ids(typed) == ids(meant)
    assert typed["expanded"][0]["words"][0] == "kettle"
    assert typed["suggestion"] == "kettle"
    off = search(shop, "ketle", mode="lexical", typos=False)
    assert ids(off) == [] and "expanded" not in off and off["suggestion"] == "kettle"


def test_a_sort_decides_about_exact_values_too(shop: TestClient) -> None:
    """An exact match stays among the results, stands where its own value puts it, and counts as found."""
    sku = str(ROWS[9]["sku"])
    sort = [{"field": "id", "order": "desc"}]
    answer = search(shop, sku, sort=sort, top_k=100)
    assert ids(answer) == sorted(ids(answer), reverse=True)
    assert [result["id"] for result in answer["results"] if result["exact"]] == [ROWS[9]["id"]]
    cut = {"min_score": 0.99, "mode": "dense", "facets": [{"field": "brand"}], "facets_over": "results"}
    for more in ({}, {"sort": sort}):
        alone = search(shop, sku, **cut, **more)
        assert (ids(alone), alone["found"]) == ([ROWS[9]["id"]], 1)


def test_an_exact_value_is_first_whatever_is_asked_for(shop: TestClient) -> None:
    """Also below the minimum score, with diversity and in groups; «did you mean» is off; only it is marked."""
    sku = str(ROWS[9]["sku"])
    for more in (
        {},
        {"diversity": 0.9},
        {"min_score": 0.99, "mode": "dense"},
        {"group_by": "brand"},
        {"mode": "lexical"},
    ):
        answer = search(shop, f" {sku.lower()} ", **more)
        assert ids(answer)[0] == ROWS[9]["id"]
        assert [result["exact"] for result in answer["results"]] == [True] + [False] * (len(ids(answer)) - 1)
        assert "suggestion" not in answer
    assert ids(search(shop, sku, top_k=1, offset=1)) != [ROWS[9]["id"]]
    assert all("exact" not in result for result in search(shop, "kettle")["results"])


def test_explain_says_what_each_field_adds(shop: TestClient) -> None:
    """The parts add up to the score of the lexical leg."""
    for result in search(shop, BRAND, mode="lexical", explain=True)["results"]:
        lexical = result["scores"]["lexical"]
        assert sum(lexical["fields"].values()) == pytest.approx(lexical["score"], rel=1e-4)
        assert lexical["fields"].keys() <= {"body", "exact", "column:brand"}


def test_titles_are_completed(shop: TestClient) -> None:
    """The texts are titles that begin so, at most as many as asked for."""
    answer = shop.get("/suggest", params={"q": "headph", "limit": 3}).json()
    assert len(answer["suggestions"]) == 3
    for each in answer["suggestions"]:
        assert each["source"] == "title" and "headphones" in each["text"]
    assert shop.get("/suggest", params={"q": "zzzz"}).json()["suggestions"] == []
    for wrong in ({}, {"q": ""}, {"q": "a", "limit": 0}, {"q": "a", "limit": 21}):
        assert shop.get("/suggest", params=wrong).status_code == 422


def test_past_queries_are_not_told_to_keys_with_a_filter(shop_data: Path, tmp_path: Path) -> None:
    """They come first for others, and a title that was asked for stands there once; a filter applies to titles."""

    class Source:
        def complete(self, text: str, limit: int, key: Key | None) -> list[str]:
            if key and key.filter is not None:
                return []
            return [str(ROWS[0]["title"]), f"{text} past"][:limit]

    keys = tmp_path / "keys.json"
    own = Filter.model_validate({"must": [{"field": "brand", "eq": BRAND}]})
    everything = {"Authorization": f"Bearer {add_key(keys, 'all', ('search',))}"}
    tenant = {"Authorization": f"Bearer {add_key(keys, 'tenant', ('search',), filter_=own)}"}
    with TestClient(create_app(ServiceSettings(data=shop_data, keys=keys))) as client:
        client.app.state.queries = Source()
        found = client.get("/suggest", params={"q": BRAND, "limit": 20}, headers=everything).json()["suggestions"]
        assert [each["source"] for each in found[:3]] == ["query", "query", "title"]
        assert [each["text"] for each in found].count(ROWS[0]["title"]) == 1
        for text in (BRAND, "a", "headph", "lamp"):
            found = client.get("/suggest", params={"q": text}, headers=tenant).json()["suggestions"]
            assert all(each["source"] == "title" and BRAND in each["text"] for each in found)


def test_synonyms_are_followed_while_served(shop_data: Path, tmp_path: Path) -> None:
    """The index has rules of its own; a file given to the service replaces them, and its changes count."""
    path = tmp_path / "synonyms.txt"
    path.write_text("pot, kettle\n", encoding="utf-8")
    settings = ServiceSettings(data=shop_data, synonyms=path, poll_seconds=0.01)
    with TestClient(create_app(settings)) as client:

        def kinds(query: str) -> list[str]:
            time.sleep(0.02)
            return [each["kind"] for each in search(client, query, mode="lexical").get("expanded", [])]

        assert kinds("pot") == ["synonym"]
        assert "synonym" not in kinds("couch")
        path.write_text("jug, kettle\n", encoding="utf-8")
        assert kinds("jug") == ["synonym"]
        assert "synonym" not in kinds("pot")
        path.write_text("jug\n", encoding="utf-8")
        assert kinds("jug") == ["synonym"]
    with TestClient(create_app(ServiceSettings(data=shop_data))) as client:
        assert search(client, "couch", mode="lexical")["expanded"][0]["words"] == ["lamp"]
    with pytest.raises(UserError, match=r"synonyms.txt:1: 'jug'"), TestClient(create_app(settings)):
        pass


def test_an_index_of_before_has_no_rules_and_no_columns(client: TestClient) -> None:
    """Without any of the settings an answer has none of the new fields but those that it needs."""
    answer = search(client, "the cat", explain=True)
    assert "expanded" not in answer
    assert '"fields"' not in json.dumps(answer) and '"exact"' not in json.dumps(answer)
