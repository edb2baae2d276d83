"""Whole documents by ids or by a filter: in the order of their ids, each once whatever is written, and deleted."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from indexer.filters.filter import Filter
from service.api.documents import fetch_schemas
from service.app import create_app
from service.security.keys import add_key
from service.settings import ServiceSettings

NAMES = ["m", "a", "ä", "z/1", "b", "fetch", "Z", "c"]
COLUMNS = {
    "id": NAMES,
    "title": [f"Title of {name}" for name in NAMES],
    "text": ["The cat sits in the garden. " * (number + 1) for number in range(len(NAMES))],
    "price": [float(number) for number in range(len(NAMES))],
}
SORTED = sorted(NAMES, key=str.encode)


@pytest.fixture
def writable(data, publish):
    """A client of a service that takes writes, over these documents."""
    publish(COLUMNS, data)
    with TestClient(create_app(ServiceSettings(data=data, writable=True))) as client:
        yield client


def fetch(client, **body):
    """The answer to a fetch."""
    answer = client.post("/documents/fetch", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def scroll(client, between=lambda: None, **body):
    """The ids of all pages; ``between`` is called after each."""
    names, following = [], {}
    while following is not None:
        answer = fetch(client, **body, **following)
        names += [document["id"] for document in answer["documents"]]
        following = {"after": answer["next"]} if answer["next"] is not None else None
        between()
    return names


def put(client, *names, **fields):
    """Put documents."""
    documents = [{"id": name, "text": "The king eats bread.", **fields} for name in names]
    assert client.put("/documents", json={"documents": documents}).status_code == 200


def delete(client, **condition):
    """The answer to a deletion by a filter."""
    answer = client.post("/documents/delete", json={"filter": condition})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_documents_by_ids_come_whole_and_in_this_order(writable):
    """Each document once, as `GET /documents/{id}` gives it; those that are not there are left out."""
    answer = fetch(writable, ids=["z/1", "nope", "ä", "z/1"])
    singles = [writable.get(f"/documents/{name}").json() for name in ("z/1", "ä")]
    assert answer["documents"] == [
        {field: single[field] for field in ("id", "title", "text", "metadata")} for single in singles
    ]
    assert (answer["matches"], answer["next"]) == (2, None)
    assert fetch(writable, ids=[])["documents"] == []


@pytest.mark.parametrize("limit", [1, 3, 8, 100])
def test_pages_have_every_document_once_in_the_order_of_ids(writable, limit):
    """Pages of any size, of built and of live documents, with and without a filter; the count is of all pages."""
    put(writable, "aa", "M", "b", metadata={"price": 9})
    everything = sorted([*NAMES, "aa", "M"], key=str.encode)
    assert scroll(writable, limit=limit) == everything
    cheap = [name for name in SORTED if COLUMNS["price"][NAMES.index(name)] < 5 and name != "b"]
    condition = {"must": [{"field": "price", "lt": 5}]}
    assert scroll(writable, filter=condition, limit=limit) == cheap
    assert fetch(writable, filter=condition, limit=1)["matches"] == len(cheap)


def test_writes_between_pages_disturb_nothing(writable):
    """What stays as it is comes once, though its neighbours, and the one that a page ended with, come and go."""
    put(writable, "a1", "n")
    steps = iter(
        [
            lambda: writable.delete("/documents", params={"id": SORTED[0]}),  # the page before ended with it
            lambda: put(writable, SORTED[1], "0", "zz"),
            lambda: put(writable, SORTED[0], SORTED[2]),
        ]
    )

    def write():
        next(steps, lambda: None)()

    names = scroll(writable, write, limit=1)
    assert names == [*sorted([*NAMES, "a1", "n", "zz"], key=str.encode)]


def test_a_limit_of_nothing_only_counts(writable):
    """`limit: 0` gives the number of documents, and no documents."""
    answer = fetch(writable, filter={"must": [{"field": "price", "gte": 2}]}, limit=0)
    assert (answer["documents"], answer["matches"], answer["next"]) == ([], 6, None)


def test_long_texts_make_short_pages(writable, monkeypatch):
    """An answer has as many documents as fit, at least one; the next one goes on where it ended."""
    monkeypatch.setattr(fetch_schemas, "MAX_CHARACTERS", 100)
    assert scroll(writable) == SORTED
    assert len(fetch(writable)["documents"]) < len(NAMES)
    wanted, seen = list(reversed(NAMES)), []
    while wanted:
        answer = fetch(writable, ids=wanted)
        seen += [document["id"] for document in answer["documents"]]
        wanted = [] if answer["next"] is None else wanted[wanted.index(answer["next"]) :]
    assert seen == list(reversed(NAMES))


def test_a_document_may_have_the_name_of_a_route(writable):
    """A document with the id `fetch` is read like any other."""
    assert writable.get("/documents/fetch").json()["id"] == "fetch"
    assert writable.get("/documents/delete").json()["type"].endswith("not-found")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"ids": ["a"], "limit": 3}, "give `ids` alone"),
        ({"ids": ["a"] * 257}, "at most 256"),
        ({"limit": 257}, "less than or equal to 256"),
        ({"filter": {"must": [{"field": "pryce", "eq": 1}]}}, "no field 'pryce'"),
        ({"query": "a"}, "not permitted"),
    ],
)
def test_what_is_refused(writable, body, said):
    """Requests beyond the bounds, or with a field that there is not."""
    refused = writable.post("/documents/fetch", json=body)
    assert refused.status_code == 422
    assert said in refused.json()["detail"]


def test_delete_by_a_filter(writable):
    """Built and live documents that pass are gone at once and after a restart; the others stay."""
    put(writable, "x", "y", metadata={"price": 3.5})
    answer = delete(writable, must=[{"field": "price", "gte": 3}, {"field": "price", "lt": 5}])
    assert (answer["deleted"], answer["remaining"]) == (4, 0)
    assert answer["index"]["documents"] == 6
    assert delete(writable, must=[{"field": "price", "eq": 3}])["deleted"] == 0
    kept = [name for name in SORTED if COLUMNS["price"][NAMES.index(name)] not in (3, 4)]
    assert scroll(writable) == kept
    with TestClient(create_app(writable.app.state.settings)) as again:
        assert scroll(again) == kept
        assert delete(again)["deleted"] == 6
        assert scroll(again) == []


def test_very_many_are_deleted_in_parts(writable, monkeypatch):
    """One request deletes a bounded number of documents and says how many are left."""
    monkeypatch.setattr(fetch_schemas, "MAX_DELETED", 3)
    answers = [delete(writable) for _ in range(4)]
    assert [(answer["deleted"], answer["remaining"]) for answer in answers] == [(3, 5), (3, 2), (2, 0), (0, 0)]


def test_deleting_needs_a_filter_and_a_writable_service(writable, client):
    """Nothing is deleted by a body without a filter, nor where the service takes no writes."""
    assert writable.post("/documents/delete", json={}).status_code == 422
    assert fetch(writable, limit=0)["matches"] == len(NAMES)
    refused = client.post("/documents/delete", json={"filter": {}})
    assert (refused.status_code, refused.json()["type"]) == (403, "urn:dowse:problem:not-writable")


def test_a_key_with_a_filter_gets_its_own_documents(data, publish):
    """A restricted key reads and counts only what it may see, and may not delete."""
    publish(COLUMNS, data)
    cheap = Filter.model_validate({"must": [{"field": "price", "lt": 2}]})
    headers = {"Authorization": f"Bearer {add_key(data / 'keys.json', 'cheap', ('search',), filter_=cheap)}"}
    with TestClient(create_app(ServiceSettings(data=data, writable=True)), headers=headers) as client:
        assert fetch(client)["matches"] == 2
        assert scroll(client, limit=1) == ["a", "m"]
        assert [each["id"] for each in fetch(client, ids=["b", "m"])["documents"]] == ["m"]
        assert client.post("/documents/delete", json={"filter": {}}).status_code == 403
