"""Filters and facets of `/search`: the guide's examples work, and a refusal names what the index accepts."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pyarrow as pa
import pytest
from starlette.testclient import TestClient

from service.app import create_app
from service.settings import ServiceSettings

GUIDE = (Path(__file__).parents[4] / "docs" / "guides" / "search.md").read_text(encoding="utf-8")
SECTION = GUIDE[GUIDE.index("## Filters and facets") : GUIDE.index("## Re-rank")]
ARRANGE = (Path(__file__).parents[4] / "docs" / "guides" / "arrange.md").read_text(encoding="utf-8")
MODES = ("hybrid", "dense", "lexical")
HOMES = {
    "id": ["me-1", "me-2", "me-3", "me-4", "ma-1", "ma-2"],
    "title": ["The cat", "The dog", "The ship", "Winter", "The horse", None],
    "text": [
        "The cat sits in the garden of the house.",
        "The dog sleeps in the house by the sea.",
        "The sailor eats bread in the house.",
        "Snow on the mountain, rain on the house.",
        "The young horse runs in the green garden.",
        "The king and the queen drink wine.",
    ],
    "price": [95, 110, 150, None, 80, 119.5],
    "rooms": [3, 2, 5, 1, 2, None],
    "kind": ["villa", "flat", "villa", None, "flat", "flat"],
    "tags": [["garden", "pool"], ["pool"], ["garden"], [], ["garden"], None],
    "sold": [None, None, True, None, None, False],
    "free": pa.array(["2026-05-30", "2026-06-02", None, "2026-06-10", "2026-06-01", "2026-07-01"]).cast(pa.date32()),
    "address": [{"city": city} for city in ("Ciutadella", "Ciutadella", "Maó", "Maó", "Palma", "Palma")],
    "lat": [40.0, 40.01, 39.89, 39.88, 39.57, None],
    "lon": [3.84, 3.83, 4.26, 4.25, 2.65, 2.65],
}


@pytest.fixture(scope="module")
def homes(serve_columns):
    """A client of a service over six homes."""
    with TestClient(create_app(ServiceSettings(data=serve_columns(HOMES)))) as client:
        yield client


def search(client, **body):
    """The answer to a search that succeeds."""
    answer = client.post("/search", json={"query": "the house in the garden", **body})
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(client, **body):
    """The problem of a search that is refused."""
    answer = client.post("/search", json={"query": "house", **body})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.json()


CONDITIONS = {
    '{"field": "price", "gte": 80, "lt": 110}': ["me-1", "ma-1"],
    '{"field": "kind", "eq": "villa"}': ["me-1", "me-3"],
    '{"field": "tags", "in": ["pool", "sauna"]}': ["me-1", "me-2"],
    '{"field": "sold", "exists": false}': ["me-1", "me-2", "me-4", "ma-1"],
    '{"field": "id", "prefix": "ma-"}': ["ma-1", "ma-2"],
    '{"field": "free", "lte": "2026-06-01"}': ["me-1", "ma-1"],
    '{"field": "address.city", "eq": "Maó"}': ["me-3", "me-4"],
    '{"latitude": "lat", "longitude": "lon", "within": {"lat": 39.89, "lon": 4.26, "km": 5}}': ["me-3", "me-4"],
}


def test_the_conditions_of_the_guide_are_these():
    """The table of conditions in the guide is the one whose meaning is tested here."""
    assert re.findall(r"^\| `(\{.*?\})` \|", SECTION, flags=re.MULTILINE) == list(CONDITIONS)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("condition", CONDITIONS)
def test_the_conditions_of_the_guide(homes, condition, mode):
    """Each condition lets the documents pass that it speaks of; those are returned, and no others, in every mode."""
    answer = search(homes, mode=mode, filter={"must": [json.loads(condition)]})
    assert answer["matches"] == len(CONDITIONS[condition])
    found = sorted(result["id"] for result in answer["results"])
    with_a_word = [home for home in CONDITIONS[condition] if home != "ma-2"]
    assert found == sorted(with_a_word if mode == "lexical" else CONDITIONS[condition])


def test_the_example_of_the_guide(homes):
    """The command in the guide gives the answer that stands below it."""
    command, answer = re.search(r"^\$ (curl.*)\n(.*)$", SECTION, flags=re.MULTILINE).groups()
    words = shlex.split(command)
    body = json.loads(words[words.index("--json") + 1])
    assert words[-3:] == ["jq", "-c", "{matches,facets}"]
    given = search(homes, **body)
    assert {"matches": given["matches"], "facets": given["facets"]} == json.loads(answer)


def test_the_list_of_the_guide(homes):
    """The command that browses gives the answer that stands below it."""
    command, answer = re.search(r"^\$ (curl.*--json '\{\"sort.*jq.*)\n(.*)$", ARRANGE, flags=re.MULTILINE).groups()
    words = shlex.split(command)
    given = homes.post("/search", json=json.loads(words[words.index("--json") + 1])).json()
    results = [[result["id"], result["metadata"]["price"]] for result in given["results"]]
    shown = {"matches": given["matches"], "results": results, "facets": given["facets"]["kind"]["values"]}
    assert shown == json.loads(answer)


def test_the_file_of_the_guide(homes):
    """The command that exports gives the lines that stand below it."""
    command, answer = re.search(r"^\$ (curl.*export.*)\n((?:.+\n)+)```", ARRANGE, flags=re.MULTILINE).groups()
    words = shlex.split(command)
    given = homes.post("/search/export", json=json.loads(words[words.index("--json") + 1]))
    assert given.text.replace("\r", "") == answer


@pytest.mark.parametrize("mode", MODES)
def test_what_a_filter_lets_pass_is_ranked_as_without_it(homes, mode):
    """In dense and lexical mode the scores are the same as without the filter, and so is the order."""
    whole = search(homes, mode=mode)["results"]
    kept = search(homes, mode=mode, filter={"must_not": [{"field": "id", "eq": whole[0]["id"]}]})["results"]
    assert [result["id"] for result in kept] == [result["id"] for result in whole[1:]] or mode == "hybrid"
    assert {result["id"] for result in kept} == {result["id"] for result in whole[1:]}
    if mode != "hybrid":
        assert [r["score"] for r in kept] == pytest.approx([r["score"] for r in whole[1:]], abs=1e-5)


def test_matches_and_facets_come_only_where_they_are_asked_for(homes):
    """Without a filter and without facets the answer is what it was before there were any."""
    assert not {"matches", "facets"} & set(search(homes))
    assert not {"matches", "facets"} & set(search(homes, filter=None, facets=[]))
    filtered = search(homes, filter={})
    assert (filtered["matches"], "facets" in filtered) == (6, False)
    counted = search(homes, facets=[{"field": "kind"}])
    assert counted["matches"] == 6
    assert counted["facets"] == {
        "kind": {
            "values": [{"value": "flat", "count": 3}, {"value": "villa", "count": 2}],
            "ranges": [],
            "missing": 1,
        }
    }


@pytest.mark.parametrize("mode", MODES)
def test_a_filter_that_nothing_passes(homes, mode):
    """No document passes, none is returned, and the facets count none."""
    answer = search(homes, mode=mode, filter={"must": [{"field": "rooms", "gt": 99}]}, facets=[{"field": "rooms"}])
    assert (answer["count"], answer["results"], answer["matches"]) == (0, [], 0)
    assert answer["facets"]["rooms"] == {"values": [], "ranges": [], "missing": 0}
    nothing = {"must": [{"field": "id", "in": []}]}
    arranged = {"diversity": 0.5, "group_by": "kind", "highlight": True, "min_score": 0, "fields": ["price"]}
    for each in arranged:
        assert search(homes, mode=mode, filter=nothing, explain=True, **{each: arranged[each]})["results"] == []


def test_pages_of_a_filtered_search(homes):
    """Pages go on where the one before ended, over the documents that pass and no others."""
    tree = {"must_not": [{"field": "kind", "eq": "villa"}]}
    pages = [search(homes, filter=tree, top_k=1, offset=offset) for offset in range(5)]
    assert [page["count"] for page in pages] == [1, 1, 1, 1, 0]
    assert {page["matches"] for page in pages} == {4}
    whole = search(homes, filter=tree)["results"]
    assert [page["results"][0]["id"] for page in pages[:4]] == [result["id"] for result in whole]


@pytest.mark.parametrize(
    ("body", "where", "words"),
    [
        ({"filter": {"must": [{"field": "prise", "eq": 1}]}}, "body.filter", "There is no field 'prise'"),
        (
            {"filter": {"must": [{"field": "price", "eq": "1"}]}},
            "body.filter",
            "compare it with a number, not with '1'",
        ),
        ({"facets": [{"field": "kind"}, {"field": "x"}]}, "body.facets.1", "There is no field 'x'"),
        ({"facets": [{"field": "price", "ranges": [{"lt": "x"}]}]}, "body.facets.0", "compare it with a number"),
    ],
)
def test_what_does_not_fit_the_index_is_refused_with_its_fields(homes, body, where, words):
    """An unknown field or a wrong type is a 422 that names the part of the request and lists the fields with their types."""
    problem = refused(homes, **body)
    assert problem["type"] == "urn:dowse:problem:invalid-request"
    assert [error["field"] for error in problem["errors"]] == [where]
    for each in (words, "id (string)", "price (double)", "tags (list<element: string>)", "address.city (string)"):
        assert each in problem["detail"]
        assert each in problem["errors"][0]["message"]


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"filter": {"must": [{"field": "price"}]}}, "body.filter.must.0"),
        ({"filter": {"field": "price", "eq": 1}}, "body.filter"),
        ({"filter": {"must": [{"field": "price", "eq": 1}] * 300}}, "body.filter"),
        ({"filter": {"must": [{"field": "price", "in": [None]}]}}, "body.filter.must.0.OneOf.in.0"),
        ({"facets": [{"field": "price"}, {"field": "price"}]}, "body.facets"),
        ({"facets": [{"field": "price", "limit": 101}]}, "body.facets.0.limit"),
        ({"facets": [{"field": f"f{n}"} for n in range(21)]}, "body.facets"),
    ],
)
def test_what_is_no_filter_is_refused(homes, body, where):
    """What is no filter and no facet is refused by the one shape of errors, with the place."""
    assert [error["field"] for error in refused(homes, **body)["errors"]] == [where]


def test_numbers_that_json_does_not_know(homes):
    """NaN and numbers beyond all doubles are refused or compared, and break nothing."""
    for number, status in (("NaN", 422), ("Infinity", 422), ("1e999", 422), ("1" + "0" * 400, 200)):
        body = json.dumps({"query": "cat", "filter": {"must": [{"field": "price", "lt": "?"}]}}).replace('"?"', number)
        answer = homes.post("/search", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == status, answer.text


def test_a_query_string_has_no_filter(homes):
    """A tree does not fit a query string: `GET /search` refuses it instead of searching without it."""
    assert homes.get("/search", params={"q": "cat", "filter": "{}"}).status_code == 422
