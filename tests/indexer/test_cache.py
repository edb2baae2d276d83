"""Cache: bounded and least recently used; and the query vectors that an encoder keeps in one."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

from indexer.artifacts.store import Store
from indexer.cache import Cache, cached_for_owner, owner
from indexer.inference.encoder import Encoder, _Graph


@pytest.fixture
def tiny_published(tiny_data):
    """The directory of the published tiny model."""
    models = Store("model", tiny_data)
    return models.path(models.current_id())


def test_a_query_that_was_just_asked_is_not_encoded_again(tiny_published, monkeypatch):
    """A repeated query gets the same vector without the model; another query is encoded."""
    encoder = Encoder.open(tiny_published, query_cache_bytes=100_000)
    runs = []
    run = _Graph.run
    monkeypatch.setattr(_Graph, "run", lambda *args, **how: runs.append(1) or run(*args, **how))
    first, again, other = (encoder.encode_query(query) for query in ("the cat", "the cat", "the dog"))
    assert len(runs) == 2
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_without_bytes_every_query_is_encoded(tiny_published, monkeypatch):
    """By default an encoder has no cache, so measurements measure the encoding."""
    encoder = Encoder.open(tiny_published)
    runs = []
    run = _Graph.run
    monkeypatch.setattr(_Graph, "run", lambda *args, **how: runs.append(1) or run(*args, **how))
    encoder.encode_query("the cat")
    encoder.encode_query("the cat")
    assert len(runs) == 2


def test_the_memory_is_bounded_and_the_longest_unused_goes_first():
    """With capacity for three entries, the fourth replaces the least recently used one."""
    cache: Cache[str, bytes] = Cache(300, lambda _, value: len(value))
    for key in "abc":
        cache.put(key, bytes(100))
    assert cache.get("a") is not None
    cache.put("d", bytes(100))
    assert len(cache) == 3
    assert cache.get("b") is None
    assert cache.get("a") is not None
    for number in range(1000):
        cache.put(f"key {number}", bytes(100))
    assert len(cache) == 3


def test_what_does_not_fit_is_not_kept():
    """An entry that is larger than the capacity is not kept and removes no other entry."""
    cache: Cache[str, bytes] = Cache(100, lambda _, value: len(value))
    cache.put("a", bytes(10))
    cache.put("b", bytes(101))
    assert cache.get("a") is not None
    assert len(cache) == 1


def test_a_value_is_computed_once():
    """A cached value is not computed again; without capacity it is computed every time."""
    computed: list[int] = []
    cache: Cache[str, int] = Cache(1)
    assert [cache.get_or_compute("a", lambda: computed.append(1) or 7) for _ in range(3)] == [7, 7, 7]
    assert len(computed) == 1
    nothing: Cache[str, int] = Cache(0)
    assert [nothing.get_or_compute("a", lambda: computed.append(1) or 7) for _ in range(3)] == [7, 7, 7]
    assert len(computed) == 4


def test_nobody_can_change_a_vector_that_is_kept(tiny_published):
    """A cached vector cannot be written into: every later caller would get the changed one."""
    encoder = Encoder.open(tiny_published, query_cache_bytes=100_000)
    encoder.encode_query("the cat")[:] = 5
    kept = encoder.encode_query("the cat")
    assert not (kept == 5).any()
    with pytest.raises(ValueError, match="read-only"):
        kept[0] = 7


def test_query_vectors_are_bounded_in_bytes(tiny_published):
    """The cache of an encoder holds what fits, queries and vectors together."""
    encoder = Encoder.open(tiny_published, query_cache_bytes=1_000)
    for number in range(50):
        encoder.encode_query(f"cat {number}")
    assert 0 < len(encoder._query_vectors) < 5


def test_values_for_an_owner_are_computed_once_for_each():
    """A value is computed once for each owner, who never finds that of another."""
    computed = []
    cached = cached_for_owner(lambda word: computed.append(word) or word.upper(), 10)
    assert [cached("a"), cached("a"), cached("b")] == ["A", "A", "B"]
    assert computed == ["a", "b"]
    token = owner.set("another")
    try:
        assert cached("a") == "A"
    finally:
        owner.reset(token)
    assert computed == ["a", "b", "a"]


def test_an_object_whose_method_is_cached_is_let_go_at_once():
    """Its last reference frees it, though it holds the cache of its own method: Python need not look for circles."""

    class Words:
        def __init__(self):
            self.known = cached_for_owner(self.look_up, 10)

        def look_up(self, word):
            return word.upper()

    words = Words()
    assert words.known("cat") == words.known("cat") == "CAT"
    gone = weakref.ref(words)
    gc.disable()
    try:
        del words
        assert gone() is None
    finally:
        gc.enable()
