"""Isolation: a key with a filter gets the answers of an index that holds its documents alone, and no hint of others."""

from __future__ import annotations

import json
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
VARYING = {"took_ms", "timings", "request_id", "index", "score", "created", "config"}


def columns(tenants):
    """Documents of some tenants, several of each."""
    rows = [(name, TEXTS[t][n % 2] + f" Number {n}.", t) for t in tenants for n, name in enumerate(IDS[t])]
    return {
        "id": [row[0] for row in rows],
        "text": [row[1] for row in rows],
        "tenant": [row[2] for row in rows],
        "place": pa.array([[1.0, 2.0]] * len(rows), pa.list_(pa.float32(), 2)),
    }


@pytest.fixture(scope="module")
def clients(serve_columns):
    """A client with a tenant's key over both tenants' index, and one over an index of the tenant's documents alone."""
    both, alone = serve_columns(columns("ab")), serve_columns(columns("a"))
    only_a = Filter.model_validate({"must": [{"field": "tenant", "eq": "a"}]})
    keys = [add_key(both / "keys.json", name, ("search",), filter_=only_a) for name in ("first", "second")]
    with (
        TestClient(create_app(ServiceSettings(data=both))) as shared,
        TestClient(create_app(ServiceSettings(data=alone))) as own,
    ):
        yield shared, own, [{"Authorization": f"Bearer {key}"} for key in keys]


def plain(value):
    """An answer without times, identities and BM25's scores."""
    if isinstance(value, dict):
        return {name: plain(child) for name, child in value.items() if name not in VARYING}
    return [plain(child) for child in value] if isinstance(value, list) else value


REQUESTS = [
    ("POST", "/search", {"query": "gardener", "mode": mode, "top_k": 50, "highlight": True, "facets": [{"field": "tenant"}]})
    for mode in ("dense", "lexical")
] + [
    ("POST", "/search", {"query": "crystalise", "mode": "lexical"}),
    ("POST", "/search", {"query": "gardner", "mode": "lexical"}),
    ("POST", "/search", {"query": "cats", "group_by": "place"}),
    ("POST", "/search/batch", {"searches": [{"query": "lamp", "mode": "dense"}]}),
    ("POST", "/similar", {"ids": ["one"]}),
    ("POST", "/similar", {"ids": ["b1"]}),
    ("GET", "/documents/b1", None),
    ("GET", "/info", None),
    *[("GET", f"/documents/{quote(name, safe='')}{end}", None) for name in IDS["a"] for end in ("", "/similar")],
]  # fmt: skip


@pytest.mark.parametrize("asked", REQUESTS, ids=lambda asked: f"{asked[1]} {json.dumps(asked[2])}")
def test_a_tenant_gets_the_answers_of_its_own_index(clients, asked):
    """Every route answers a tenant as if no other documents existed, but for BM25's scores."""
    shared, own, keys = clients
    method, path, body = asked
    one, other = (client.request(method, path, json=body, headers=keys[0]) for client in (shared, own))
    assert one.status_code == other.status_code < 500
    assert plain(one.json()) == plain(other.json())


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
    runs, run = [], encoder._run
    monkeypatch.setattr(encoder, "_run", lambda *given: runs.append(1) or run(*given))
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
