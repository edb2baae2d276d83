"""Memory of a service with many tenants and filters: what nobody uses is freed, and caches are bounded by bytes."""

from __future__ import annotations

import gc
import weakref
from types import SimpleNamespace

import pytest
from starlette.testclient import TestClient

from indexer.cache import Cache, OwnedCache
from indexer.filters import evaluate, facets
from indexer.filters.filter import Filter
from service.app import create_app
from service.security.keys import add_key
from service.serving.searcher import Serving, _view_bytes
from service.serving.tenants import restrict_to_key
from service.settings import ServiceSettings

DOCUMENTS = 2_000
COLUMNS = {
    "id": [f"d{number}" for number in range(DOCUMENTS)],
    "text": ["The cat sits in the garden." for _ in range(DOCUMENTS)],
    "tenant": ["few" if number < 3 else "many" for number in range(DOCUMENTS)],
    "price": [float(number) for number in range(DOCUMENTS)],
}


@pytest.fixture(scope="module")
def house(serve_columns):
    """A service whose tenant sees three of two thousand documents, with the headers of the tenant and of its writer."""
    data = serve_columns(COLUMNS)
    few = Filter.model_validate({"must": [{"field": "tenant", "eq": "few"}]})
    headers = [
        {"Authorization": f"Bearer {add_key(data / 'keys.json', 'few', ('search',), filter_=few)}"},
        {"Authorization": f"Bearer {add_key(data / 'keys.json', 'writer', ('search', 'write'))}"},
    ]
    with TestClient(create_app(ServiceSettings(data=data, writable=True))) as client:
        yield client, *headers


def search(client, headers, **body):
    """The answer to a search."""
    answer = client.post("/search", json={"query": "cat", **body}, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def below(price):
    """A filter of its own for each price."""
    return {"must": [{"field": "price", "lt": price}]}


def test_views_and_masks_of_an_earlier_snapshot_are_freed(house):
    """After a write neither the view of a key, nor its mask, nor the masks of filters are kept for the earlier one."""
    client, tenant, writer = house
    freed = []
    for number in range(3):
        for headers in (tenant, writer):
            search(client, headers, filter=below(7), facets=[{"field": "price"}])
        serving = client.app.state.searcher.live
        ((_, view),) = serving.views._entries.values()
        masks = [mask for _, mask in evaluate._caches[serving.retriever.index]._entries._entries.values()]
        assert len(masks) == 2
        parts = (serving, serving.retriever.index, view, view.retriever.index, view.retriever.index.visible, *masks)
        freed.append([weakref.ref(part) for part in parts])
        del serving, view, masks, parts
        new = {"id": f"new {number}", "text": "A dog.", "metadata": {"tenant": "many"}}
        assert client.put("/documents", json={"documents": [new]}, headers=writer).status_code == 200
    gc.collect()
    alive = [reference() for references in freed for reference in references if reference() is not None]
    assert [part for part in alive if part is not client.app.state.searcher.live.retriever.index.overlay.base] == []


def test_masks_are_bounded_by_what_they_take(house, monkeypatch):
    """A mask takes a byte for each document of the index, however few the key sees."""
    client, tenant, writer = house
    monkeypatch.setattr(evaluate, "CACHED_BYTES", 50_000)
    client.put("/documents", json={"documents": [{"id": "one more", "text": "A dog."}]}, headers=writer)
    for price in range(100):
        search(client, tenant, filter=below(price))
    entries = evaluate._caches[client.app.state.searcher.live.retriever.index]._entries._entries
    kept = sum(mask.mask.nbytes for _, mask in entries.values())
    assert 20_000 < kept <= 50_000
    assert entries.currsize <= 50_000


def test_facets_are_bounded_by_what_they_take(house, monkeypatch):
    """Counts of a hundred values take more of the cache than counts of one."""
    client, _, writer = house
    cache = OwnedCache(60_000, facets._entry_bytes)
    monkeypatch.setattr(facets, "_cache", cache)
    lengths = []
    for limit in (1, 100):
        for price in range(100, 200):
            search(client, writer, filter=below(price), facets=[{"field": "price", "limit": limit}])
        lengths.append(len(cache))
        assert sum(len(value) for _, value in cache._entries._entries.values()) <= 60_000
    assert lengths[0] > 2 * lengths[1] > 0


def test_views_of_many_keys_are_bounded(house):
    """Views count with the bytes of their masks: few are kept of a large index."""
    client, _, _ = house
    live = client.app.state.searcher.live
    serving = Serving(live.retriever, live.model, Cache(10_000, _view_bytes))
    for number in range(50):
        key = SimpleNamespace(filter=Filter.model_validate(below(number + 1)), name="one of many")
        assert len(restrict_to_key(key, serving).retriever.index) == number + 1
    assert 1 < len(serving.views) <= 10_000 // DOCUMENTS
