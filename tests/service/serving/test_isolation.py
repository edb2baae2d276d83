"""Isolation: a key with a filter gets the answers of an index that holds its documents alone, and no hint of others."""

from __future__ import annotations

import datetime as dt
import json
import re
from urllib.parse import quote

import pyarrow as pa
import pytest
from starlette.testclient import TestClient

from indexer.cache import OwnedCache, owner
from indexer.filters.filter import Filter
from service.app import create_app
from service.security.keys import add_key
from service.settings import ServiceSettings

TEXTS = {
    "a": ["The quick gardener sings.", "A lamp in the hall."],
    "b": ["Crystals crystallise.", "He sings a crystal."],
}
IDS = {"a": ["one\n", "one", "deep/similar", "x?# é", "two\nlines"], "b": ["b1", "b2", "b3"]}
VARYING = {"took_ms", "timings", "request_id", "created"}
IDENTITIES = {"index", "id", "generation", "model", "encoder", "config", "data"}
"""Of artifacts: each service has its own."""
OPERATIONS = {
    (method.upper(), path)
    for path, operations in create_app(ServiceSettings()).openapi()["paths"].items()
    for method in operations
}


def columns(tenants):
    """Documents of some tenants, several of each."""
    rows = [(name, TEXTS[t][n % 2] + f" Number {n}.", t, n) for t in tenants for n, name in enumerate(IDS[t])]
    return {
        "id": [row[0] for row in rows],
        "text": [row[1] for row in rows],
        "tenant": [row[2] for row in rows],
        "place": pa.array([[1.0, 2.0]] * len(rows), pa.list_(pa.float32(), 2)),
        "price": [row[3] + (100.0 if row[2] == "b" else 0.5) for row in rows],
        "kind": pa.array([f"kind {row[2]}{row[3] % 2}" for row in rows]).dictionary_encode(),
        "tags": [[f"tag {row[2]}", f"number {row[3]}"] for row in rows],
        "day": pa.array([dt.date(2000 + 10 * (row[2] == "b"), 1, 1 + row[3]) for row in rows]),
        "of": [{"lat": 10.0 * (row[2] == "b"), "lon": 1.0 * row[3]} for row in rows],
    }


def writing(table):
    """A request that puts the documents of a table."""
    rows = pa.table(table).to_pylist()
    metadata = [{name: row[name] for name in row if name not in ("id", "text")} for row in rows]
    return {"documents": [{"id": row["id"], "text": row["text"], "metadata": each | {"day": str(each["day"])}} for row, each in zip(rows, metadata, strict=True)]}  # fmt: skip


@pytest.fixture(scope="module", params=["built", "live"])
def clients(request, serve_columns):
    """A client with a tenant's key over both tenants' index, and one over an index of the tenant's documents alone.

    In the second case nearly all documents were put while the service runs, and others of the other tenant are gone.
    """
    all_, own_only = columns("ab"), columns("a")
    built = [all_, own_only]
    if request.param == "live":
        built = [{name: column[:1] for name, column in table.items()} for table in built]
    both, alone = map(serve_columns, built)
    only_a = Filter.model_validate({"must": [{"field": "tenant", "eq": "a"}]})
    admin = {"Authorization": f"Bearer {add_key(both / 'keys.json', 'admin', ('search', 'write'))}"}
    keys = [add_key(both / "keys.json", name, ("search",), filter_=only_a) for name in ("first", "second")]
    with (
        TestClient(create_app(ServiceSettings(data=both, writable=True))) as shared,
        TestClient(create_app(ServiceSettings(data=alone, writable=True))) as own,
    ):
        if request.param == "live":
            gone = {"id": "gone", "text": "A crystal that goes.", "metadata": {"tenant": "b", "kind": "gone"}}
            for client, table, headers in ((shared, all_, admin), (own, own_only, {})):
                assert client.put("/documents", json=writing(table), headers=headers).status_code == 200
            assert shared.put("/documents", json={"documents": [gone]}, headers=admin).status_code == 200
            assert shared.delete("/documents?id=gone", headers=admin).json()["deleted"] == 1
        yield shared, own, [{"Authorization": f"Bearer {key}"} for key in keys]


def plain(value, *, scores):
    """An answer without times and identities, and without scores where they are BM25's."""
    if isinstance(value, dict):
        artifact = value.get("generation") or value.get("object") == "model" or "verdict" in value
        dropped = VARYING | (IDENTITIES if artifact else set()) | (set() if scores else {"score", "scores"})
        return {name: plain(child, scores=scores) for name, child in value.items() if name not in dropped}
    if isinstance(value, list):
        return [plain(child, scores=scores) for child in value]
    if isinstance(value, str) and value.startswith("ready: "):
        return "ready"
    return round(value, 5) if isinstance(value, float) else value


FACETS = [
    {"field": "tenant"}, {"field": "price", "ranges": [{"lt": 3}, {"gte": 3}]}, {"field": "kind"}, {"field": "tags"},
    {"field": "day"}, {"field": "of.lat"}, {"field": "id"},
]  # fmt: skip
CIRCLE = {"latitude": "of.lat", "longitude": "of.lon", "within": {"lat": 5, "lon": 1, "km": 2_000}}
FILTERS = [
    {"must": [{"field": "tenant", "eq": "b"}]},
    {"must_not": [{"field": "tenant", "eq": "a"}]},
    {"should": [{"field": "id", "in": ["b1", "one"]}, {"field": "price", "gt": 50}]},
    {"must": [CIRCLE]},
    {"must": [{"field": "kind", "prefix": "kind"}, {"field": "day", "gte": "2000-01-01"}]},
]
EVERYTHING = {"top_k": 100, "highlight": True, "explain": True, "facets": FACETS}
QUERIES = ["gardener", "crystal lamp", "crystalise", "gardner", "sings number 2"]
MCP = {"Accept": "application/json, text/event-stream"}


def message(method, **params):
    """A message to `/mcp`."""
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


def call(tool, **arguments):
    """A call of a tool of `/mcp`."""
    return message("tools/call", name=tool, arguments=arguments)


REQUESTS = [
    *[("POST", "/search", {"query": query, "mode": mode, **EVERYTHING}) for query in QUERIES for mode in ("dense", "lexical")],
    *[("POST", "/search", {"query": query, "mode": mode, "prefix": True, **EVERYTHING}) for query in ("cryst", "a crystalli", "gard", "numb") for mode in ("dense", "lexical")],
    *[("POST", "/search", {"query": query, "mode": "lexical", "typos": False}) for query in ("gardner", "one", " ONE ", "b1")],
    *[("GET", f"/suggest?q={query}", None) for query in ("cryst", "a", "sings%20n")],
    *[("POST", "/search", {"query": "sings", "mode": "dense", "filter": each, **EVERYTHING}) for each in FILTERS],
    ("POST", "/search", {"query": "cats", "group_by": "place"}),
    *[("POST", "/search", {"query": "cats", "mode": "dense", "group_by": name}) for name in ("kind", "tenant", "no such")],
    *[("POST", "/search", {"query": "cats", "mode": "dense", **more}) for more in ({"min_score": 0.1}, {"diversity": 0.7}, {"offset": 3}, {"offset": 50}, {"rerank": {}}, {"facets": [{"field": "no such"}]}, {"fields": ["price"]})],
    *[("GET", f"/search?q={quote(query)}&mode={mode}&top_k=50", None) for query in QUERIES for mode in ("dense", "lexical")],
    ("POST", "/search/batch", {"searches": [{"query": "lamp", "mode": "dense"}, {"query": "crystalise", "mode": "lexical"}]}),
    *[("POST", "/similar", body) for body in ({"ids": ["one"]}, {"ids": ["b1"]}, {"text": "crystal", "negative_ids": ["b2"]}, {"text": "crystal", "negative_ids": ["one"]}, {"text": "crystal", "negative_text": "lamp", "top_k": 100}, {"ids": ["one"], "filter": FILTERS[0]}, {"ids": ["one"], "diversity": 0.5, "group_by": "kind"})],
    *[("GET", f"/documents/{quote(name, safe='')}{end}", None) for name in [*IDS["a"], "b1", "gone"] for end in ("", "/similar?top_k=100")],
    *[("POST", "/feedback", {"query": "x", "document": name, "grade": 1}) for name in ("one", "b1", "gone")],
    *[("POST", "/mcp", each) for each in (message("tools/list"), call("search", query="sings", mode="dense", top_k=50), call("get_document", id="one"), call("get_document", id="b1"))],
    ("POST", "/v1/embeddings", {"model": "MODEL", "input": ["a crystal", "lamp"]}),
    ("POST", "/documents/fetch", {"ids": ["one", "b1", "a1"]}), ("POST", "/documents/fetch", {}),
    *[("POST", "/documents/fetch", {"filter": each, "limit": 2, "after": "a1"}) for each in FILTERS],
    *[("POST", "/search", {"query": "sings", "mode": "dense", "facets_over": "results", "facets": FACETS, **more}) for more in ({}, {"sort": [{"field": "price"}]}, {"boost": [{"filter": FILTERS[0], "weight": 1}]})],
    *[("POST", "/search", {"sort": [{"field": "id", "order": "desc"}], "facets": FACETS, **more}) for more in ({}, {"filter": FILTERS[0]}, {"offset": 3})],
    *[("POST", "/search/export", {"format": "jsonl", "mode": "dense", **more}) for more in ({}, {"query": "sings"}, {"filter": FILTERS[0]})],
    ("GET", "/search/examples", None),
    ("POST", "/v1/rerank", {"query": "a crystal", "documents": ["a crystal", "lamp"]}),
    ("POST", "/model/compare", {"first": "a crystal", "second": "a lamp"}),
    *[("GET", path, None) for path in ("/info", "/v1/models", "/v1/models/MODEL", "/model/info", "/livez", "/healthz", "/readyz")],
    ("POST", "/classify", {"texts": ["a crystal"]}), ("POST", "/fill-mask", {"text": "[MASK]"}), ("POST", "/model/read", {"text": "a"}),
]  # fmt: skip
REFUSED = [
    ("GET", "/metrics"),
    ("GET", "/report"),
    ("GET", "/report.json"),
    ("PUT", "/documents"),
    ("DELETE", "/documents?id=b1"),
    ("POST", "/documents/delete"),
    ("POST", "/documents/import"),
    ("GET", "/status.json"),
    ("GET", "/queries.json"),
]
"""What is about all documents, or writes."""


def test_every_operation_is_compared():
    """A new route is compared, or refused to a tenant."""
    asked = [(method, path.partition("?")[0]) for method, path, *_ in [*REQUESTS, *REFUSED]]
    patterns = {(method, path, re.compile(re.sub(r"{[^}]+}", ".+", path))) for method, path in OPERATIONS}
    covered = {
        (m, path) for m, path, pattern in patterns for method, at in asked if m == method and pattern.fullmatch(at)
    }
    assert covered == OPERATIONS


@pytest.mark.parametrize("asked", REQUESTS, ids=lambda asked: f"{asked[1]} {json.dumps(asked[2])}"[:90])
def test_a_tenant_gets_the_answers_of_its_own_index(clients, asked):
    """Every route answers a tenant as if no other documents existed, but for BM25's scores."""
    shared, own, keys = clients
    method, path, body = asked
    answers = []
    for client, headers in ((shared, keys[0]), (own, {})):
        model = client.app.state.searcher.live.model.manifest.id
        sent = json.loads(json.dumps(body).replace("MODEL", model))
        answers.append(client.request(method, path.replace("MODEL", model), json=sent, headers=MCP | headers))
    one, other = answers
    assert one.status_code == other.status_code
    assert one.status_code < 500 or "not-ready" in one.text
    scores = "lexical" not in path and (body or {}).get("mode", "dense") == "dense"
    if path == "/search/examples":  # drawn by the index's name: other queries, of the same documents
        words = own.post("/documents/fetch", json={}).text.casefold()
        assert one.json()["queries"] and all(
            word.casefold() in words for word in " ".join(one.json()["queries"]).split()
        )
    elif "/export" in path:
        assert one.text == other.text
    else:
        assert plain(one.json(), scores=scores) == plain(other.json(), scores=scores)
    assert "tag b" not in one.text and "kind b" not in one.text
    for word in ("crystallise", "crystals"):
        assert word not in one.text.lower()


@pytest.mark.parametrize(("method", "path"), REFUSED)
def test_what_is_about_all_documents_is_refused(clients, method, path):
    """Metrics, reports and writes are not a tenant's."""
    shared, _, keys = clients
    assert shared.request(method, path, json={"documents": []}, headers=keys[0]).status_code == 403


def test_passages_and_documents_of_info_are_the_tenants(clients):
    """`/info` counts what the key sees."""
    shared, own, keys = clients
    counts = [client.get("/info", headers=keys[0]).json()["index"] for client in (shared, own)]
    assert counts[0]["passages"] == counts[1]["passages"] == len(IDS["a"])


def test_ids_of_any_characters_reach_their_document(clients):
    """By path and by the MCP tool an id gives the document of exactly this id."""
    shared, _, keys = clients
    for name in IDS["a"]:
        answer = shared.get(f"/documents/{quote(name, safe='')}", headers=keys[0])
        assert answer.json().get("id") == name, (name, answer.text)
        call = {"name": "get_document", "arguments": {"id": name}}
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
        accepted = {"Accept": "application/json, text/event-stream"}
        answer = shared.post("/mcp", json=message, headers=accepted | keys[0]).json()["result"]
        assert answer["structuredContent"]["id"] == name
    assert shared.get("/info%0A", headers=keys[0]).status_code == 404


def test_a_group_column_of_lists_is_refused(clients):
    """A list of a fixed size is no single value: 422, not an error of the service."""
    shared, _, keys = clients
    assert shared.post("/search", json={"query": "x", "group_by": "place"}, headers=keys[0]).status_code == 422


def test_another_key_finds_no_cached_query(clients, monkeypatch):
    """A text that one key has asked is encoded again for another key, and not for the same one."""
    shared, _, keys = clients
    encoder = shared.app.state.searcher.live.retriever.index.encoder
    runs, run = [], encoder._queries.run
    monkeypatch.setattr(encoder._queries, "run", lambda *given, **how: runs.append(1) or run(*given, **how))
    asked = {"query": "a text of its own", "mode": "dense"}
    counts = []
    for headers in (keys[0], keys[0], keys[1]):
        shared.post("/search", json=asked, headers=headers)
        counts.append(len(runs))
    assert counts == [1, 1, 2]


def test_owners_share_the_capacity_and_not_the_entries():
    """An owner finds its own entries alone."""
    cache: OwnedCache[str, str] = OwnedCache(10, lambda _, value: len(value))
    cache.put("key", "value")
    token = owner.set("another")
    assert cache.get("key") is None
    owner.reset(token)
    assert cache.get("key") == "value"
