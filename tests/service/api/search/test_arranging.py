"""Sort, browsing, facets over results, boosts and deep pages of `/search`, alone and together."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from indexer.filters.filter import Filter
from service.app import create_app
from service.security.keys import add_key
from service.settings import ServiceSettings

COUNT = 30
PETS = ["cat", "dog", "bird"]
COLOURS = ["red", "green", "blue", "red", "red"]
COLUMNS = {
    "id": [f"p{number * 7 % COUNT:02}" for number in range(COUNT)],
    "title": [f"{PETS[number % 3]} {number}" for number in range(COUNT)],
    "text": [f"The {PETS[number % 3]} sleeps in the {COLOURS[number % 5]} house. " * (1 + number % 4) for number in range(COUNT)],
    "price": [None if number % 10 == 9 else float(number * 11 % 8) for number in range(COUNT)],
    "colour": [COLOURS[number % 5] for number in range(COUNT)],
    "pet": [PETS[number % 3] for number in range(COUNT)],
    "added": [f"2026-0{1 + number % 9}-15" for number in range(COUNT)],
    "lat": [40 + number / 100 for number in range(COUNT)],
    "lon": [4.0] * COUNT,
    "tags": [["a"]] * COUNT,
}  # fmt: skip
PRICES = dict(zip(COLUMNS["id"], COLUMNS["price"], strict=True))
PET = dict(zip(COLUMNS["id"], COLUMNS["pet"], strict=True))
BY_PRICE = [{"field": "price", "order": "desc"}]
MODES = ("hybrid", "dense", "lexical")


@pytest.fixture(scope="module")
def data(serve_columns):
    """A data directory with thirty pets."""
    return serve_columns(COLUMNS)


@pytest.fixture(scope="module")
def pets(data):
    """A client of a service over them."""
    with TestClient(create_app(ServiceSettings(data=data))) as client:
        yield client


def search(client, headers=None, **body):
    """The answer to a search that succeeds."""
    answer = client.post("/search", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def ids(answer):
    """The ids of its results."""
    return [result["id"] for result in answer["results"]]


def by_price(names, *, descending):
    """Names by their prices as Python sorts them: ties as they were, missing ones last."""
    priced = [name for name in names if PRICES[name] is not None]
    ordered = sorted(priced, key=lambda name: -PRICES[name] if descending else PRICES[name])
    return ordered + [name for name in names if PRICES[name] is None]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("order", ["asc", "desc"])
def test_a_sort_orders_what_the_query_finds(pets, mode, order):
    """The same documents come in the order of the column; equal ones by rank, and those without a value last."""
    plain = ids(search(pets, query="cat in the red house", mode=mode, top_k=100))
    found = search(pets, query="cat in the red house", mode=mode, top_k=100, sort=[{"field": "price", "order": order}])
    assert ids(found) == by_price(plain, descending=order == "desc")
    assert [result["rank"] for result in found["results"]] == list(range(1, len(plain) + 1))
    pages = [search(pets, query="cat in the red house", mode=mode, top_k=4, offset=at, sort=[{"field": "price", "order": order}]) for at in range(0, 32, 4)]  # fmt: skip
    assert [name for page in pages for name in ids(page)] == ids(found)


def test_a_sorted_result_keeps_its_scores(pets):
    """What each leg says of a document does not depend on the order."""
    plain = {result["id"]: result for result in search(pets, query="red dog", explain=True, top_k=100)["results"]}
    for result in search(pets, query="red dog", explain=True, top_k=100, sort=BY_PRICE)["results"]:
        same = plain[result["id"]]
        assert {**result, "rank": 0} == {**same, "rank": 0}


def test_a_sort_by_distance(pets):
    """The nearest documents come first, among those that pass and that the query finds."""
    near = {"latitude": "lat", "longitude": "lon", "near": {"lat": 40.102, "lon": 4}}
    found = search(pets, query="dog", mode="lexical", top_k=3, sort=[near])["results"]
    assert [result["title"] for result in found] == ["dog 10", "dog 13", "dog 7"]
    far = search(pets, sort=[{**near, "order": "desc"}], top_k=1, filter={"must": [{"field": "pet", "eq": "bird"}]})
    assert [result["title"] for result in far["results"]] == ["bird 29"]


def test_the_query_string_sorts(pets):
    """`sort=-price,id` is the flat form of two keys; without `q` the documents are listed."""
    keys = [*BY_PRICE, {"field": "id"}]
    for query in ("red dog", ""):
        flat = pets.get("/search", params={"q": query, "sort": "-price,id", "top_k": 20})
        assert flat.status_code == 200, flat.text
        assert ids(flat.json()) == ids(search(pets, query=query, sort=keys, top_k=20))
    for sort, field in (("-prise", "query.sort.0"), (",".join(["id"] * 9), "query.sort"), ("x" * 1_001, "query.sort")):
        refused = pets.get("/search", params={"q": "dog", "sort": sort})
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, field)


def test_browsing_lists_all_that_passes(pets):
    """Without a query all documents are listed in the order of the corpus, and counted; pages go on to the end."""
    everything = search(pets, top_k=100)
    assert (ids(everything), everything["matches"], everything["query"]) == (COLUMNS["id"], COUNT, "")
    assert {result["score"] for result in everything["results"]} == {0.0}
    assert everything["results"][4]["text"] == COLUMNS["text"][4].strip()
    tree = {"must": [{"field": "pet", "eq": "cat"}]}
    cats = [name for name in COLUMNS["id"] if PET[name] == "cat"]
    page = search(pets, query="  ", filter=tree, offset=7, top_k=2, facets=[{"field": "colour"}], facets_over="results")
    assert (ids(page), page["matches"], page["found"]) == (cats[7:9], 10, 10)
    assert page["facets"]["colour"]["values"][0] == {"value": "red", "count": 6}
    assert [result["rank"] for result in page["results"]] == [8, 9]
    assert search(pets, filter=tree, offset=10)["results"] == []


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_browsing_sorts_the_whole_corpus(pets, order):
    """Every page of a sorted list is a part of the one order of all documents."""
    whole = by_price(COLUMNS["id"], descending=order == "desc")
    pages = [search(pets, sort=[{"field": "price", "order": order}], top_k=7, offset=at) for at in range(0, 35, 7)]
    assert [name for page in pages for name in ids(page)] == whole


def test_browsing_in_groups(pets):
    """Of each value the first documents of the order are listed, and the answer has the value."""
    found = search(pets, group_by="pet", group_size=2, sort=BY_PRICE, explain=True, highlight=True)
    expected, sizes = [], dict.fromkeys(PETS, 0)
    for name in by_price(COLUMNS["id"], descending=True):
        sizes[PET[name]] += 1
        if sizes[PET[name]] <= 2:
            expected.append(name)
    assert ids(found) == expected
    assert [result["group"] for result in found["results"]] == [PET[name] for name in expected]
    assert found["results"][0]["highlights"] == {"title": [], "text": [], "sentence": None}


def test_a_batch_may_browse(pets):
    """Searches with and without a query, with and without a sort stand in one batch, each answered as alone."""
    searches = [{"query": "red dog"}, {"sort": BY_PRICE}, {"query": "cat", "sort": BY_PRICE, "mode": "dense"}, {}]
    answer = pets.post("/search/batch", json={"searches": searches}).json()
    assert [ids(each) for each in answer["responses"]] == [ids(search(pets, **each)) for each in searches]


def test_similar_documents_are_sorted(pets):
    """`POST /similar` sorts its candidates in the same way."""
    body = {"ids": ["p00"], "top_k": 100}
    plain = ids(pets.post("/similar", json=body).json())
    assert ids(pets.post("/similar", json={**body, "sort": BY_PRICE}).json()) == by_price(plain, descending=True)
    refused = pets.post("/similar", json={**body, "sort": BY_PRICE, "diversity": 0.5}).json()
    assert refused["errors"][0]["field"] == "body.diversity"


def test_facets_over_results_count_what_the_query_finds(pets):
    """They count the documents with a word of the query and the candidates, of those that pass; `matches` all that pass."""
    facets = {"facets": [{"field": "pet"}], "facets_over": "results"}
    lexical = search(pets, query="dog", mode="lexical", **facets)
    assert lexical["facets"]["pet"]["values"] == [{"value": "dog", "count": 10}]
    assert (lexical["matches"], lexical["found"]) == (COUNT, 10)
    tree = {"must_not": [{"field": "colour", "eq": "red"}]}
    lexical = search(pets, query="dog", mode="lexical", filter=tree, **facets)
    assert (lexical["matches"], lexical["found"]) == (12, 4)
    hybrid = search(pets, query="dog", **facets)
    assert hybrid["found"] == COUNT  # each is a candidate of the dense leg: the index has fewer than it takes
    best = search(pets, query="dog", min_score=hybrid["results"][0]["score"], top_k=100, **facets)
    assert best["found"] == best["count"]
    everything = search(pets, query="dog", facets=[{"field": "pet"}])
    assert (everything["facets"]["pet"]["values"][0]["count"], "found" in everything) == (10, False)


@pytest.fixture(scope="module")
def narrow(tmp_path_factory, publish, tiny_data):
    """A client of an index that takes four candidates from each leg."""
    import shutil

    data = tmp_path_factory.mktemp("narrow") / "data"
    shutil.copytree(tiny_data, data)
    publish(COLUMNS, data, candidates=4)
    with TestClient(create_app(ServiceSettings(data=data))) as client:
        yield client


def test_words_count_beyond_the_candidates(narrow):
    """A document that has a word counts, although it is no candidate; in dense mode only candidates do."""
    facets = {"facets": [{"field": "pet"}], "facets_over": "results"}
    hybrid = search(narrow, query="dog", top_k=100, **facets)
    assert {value["value"]: value["count"] for value in hybrid["facets"]["pet"]["values"]}["dog"] == 10
    assert len({*ids(hybrid)} | {name for name in PET if PET[name] == "dog"}) == hybrid["found"]
    dense = search(narrow, query="dog", mode="dense", top_k=100, **facets)
    assert dense["found"] == dense["count"] == 4


def test_lexical_pages_go_on_beyond_the_candidates(narrow):
    """In lexical mode every document with a word is on one page, whatever the size of the pages; the first are as before."""
    whole = search(narrow, query="dog house", mode="lexical", top_k=100)
    assert len(set(ids(whole))) == whole["count"] == COUNT
    for size in (1, 3, 7):
        pages = [
            search(narrow, query="dog house", mode="lexical", top_k=size, offset=at) for at in range(0, COUNT, size)
        ]
        assert [name for page in pages for name in ids(page)] == ids(whole)
    for mode in ("dense", "hybrid"):
        assert search(narrow, query="dog house", mode=mode, offset=8, top_k=100)["count"] == 0


def test_a_sort_is_within_the_candidates(narrow):
    """With a sort all pages are of the same candidates, so that they neither repeat nor lose a document."""
    found = search(narrow, query="dog", mode="lexical", sort=BY_PRICE, top_k=100)
    plain = search(narrow, query="dog", mode="lexical", top_k=4)
    assert ids(found) == by_price(ids(plain), descending=True)
    assert search(narrow, query="dog", mode="lexical", sort=BY_PRICE, offset=4)["count"] == 0


@pytest.mark.parametrize("mode", MODES)
def test_a_boost_moves_documents_within_the_range(pets, mode):
    """A share of the range of scores is added to those that pass; 1 brings all of them to the front, -1 to the end."""
    asked = {"query": "dog in the red house", "mode": mode, "top_k": 100, "explain": True}
    plain = search(pets, **asked)["results"]
    scores = [result["score"] for result in plain]
    spread = max(scores) - min(scores)
    birds = {"must": [{"field": "pet", "eq": "bird"}]}
    for weight in (1, 0.3, -1):
        found = search(pets, **asked, boost=[{"filter": birds, "weight": weight}])["results"]
        assert sorted(result["id"] for result in found) == sorted(result["id"] for result in plain)
        before = {result["id"]: result for result in plain}
        for result in found:
            added = weight * spread if PET[result["id"]] == "bird" else 0
            assert result["score"] == pytest.approx(before[result["id"]]["score"] + added, abs=1e-5)
            assert result["scores"]["boost"] == pytest.approx(added, abs=1e-5)
        assert [result["score"] for result in found] == sorted((result["score"] for result in found), reverse=True)
    assert "boost" not in plain[0]["scores"]
    red = {"filter": {"must": [{"field": "colour", "eq": "red"}]}, "weight": 0.8}
    twice = search(pets, **asked, boost=[red, red])["results"]
    assert max(result["scores"]["boost"] for result in twice) == pytest.approx(spread, abs=1e-5)


def test_boosts_that_no_candidate_passes_change_nothing(pets):
    """The ranking is the same, and an explanation says that nothing was added."""
    plain = search(pets, query="dog")
    none = search(pets, query="dog", boost=[{"filter": {"must": [{"field": "price", "gt": 99}]}, "weight": 1}])
    assert none["results"] == plain["results"]


def test_a_key_sees_its_own_documents_alone(serve_columns):
    """A key with a filter browses, sorts, counts and boosts among its own documents."""
    data = serve_columns(COLUMNS)
    cats = Filter.model_validate({"must": [{"field": "pet", "eq": "cat"}]})
    key = add_key(data / "keys.json", "cats", ("search",), filter_=cats)
    with TestClient(create_app(ServiceSettings(data=data))) as client:
        headers = {"Authorization": f"Bearer {key}"}
        own = [name for name in COLUMNS["id"] if PET[name] == "cat"]
        assert ids(search(client, headers, sort=BY_PRICE, top_k=100)) == by_price(own, descending=True)
        facets = {"facets": [{"field": "pet"}], "facets_over": "results"}
        for query in ("", "dog house"):
            found = search(client, headers, query=query, **facets)
            assert found["facets"]["pet"]["values"] == [{"value": "cat", "count": 10}]
            assert (found["found"], found["matches"]) == (10, 10)
        boost = [{"filter": {"must": [{"field": "pet", "eq": "dog"}]}, "weight": 1}]
        plain, boosted = (search(client, headers, query="house", **more) for more in ({}, {"boost": boost}))
        assert plain["results"] == boosted["results"]


REFUSED = {
    "min_score": {"min_score": 0.5},
    "diversity": {"diversity": 0.5},
    "fusion": {"fusion": {"dense_weight": 0.5}},
    "rerank": {"rerank": True},
    "boost": {"boost": [{"filter": {}, "weight": 0.5}]},
}


@pytest.mark.parametrize("part", REFUSED)
def test_what_has_no_effect_without_a_query_is_refused(pets, part):
    """The refusal names the part that has to go."""
    refused = pets.post("/search", json=REFUSED[part])
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, f"body.{part}")
    assert "needs a query" in refused.json()["detail"]


@pytest.mark.parametrize("part", ["diversity", "rerank", "boost"])
def test_what_has_no_effect_beside_a_sort_is_refused(pets, part):
    """A sort alone decides the order, so what would change it otherwise is refused."""
    refused = pets.post("/search", json={"query": "dog", "sort": BY_PRICE, **REFUSED[part]})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, f"body.{part}")
    assert "does not go with sort" in refused.json()["detail"]


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"sort": [{"field": "prise"}]}, "body.sort.0"),
        ({"sort": [{"field": "price"}, {"field": "tags"}]}, "body.sort.1"),
        ({"sort": [{"price": "asc"}]}, "body.sort.0"),
        ({"sort": [{"field": "price", "order": "down"}]}, "body.sort.0.SortByField.order"),
        ({"sort": [{"field": "price"}] * 9}, "body.sort"),
        ({"boost": [{"filter": {"must": [{"field": "x", "eq": 1}]}, "weight": 1}]}, "body.boost.0.filter"),
        ({"boost": [{"filter": {}, "weight": 2}]}, "body.boost.0.weight"),
        ({"facets_over": "some"}, "body.facets_over"),
        ({"facets_over": "results", "facets": [{"field": "x"}]}, "body.facets.0"),
    ],
)
def test_what_does_not_fit_is_refused(pets, body, where):
    """Unknown fields, lists, wrong orders and weights out of range are refused where they stand."""
    refused = pets.post("/search", json={"query": "dog", **body})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, where)
