"""The latest queries' vectors."""

from __future__ import annotations

import numpy as np
import pytest

from indexer.artifacts.store import Store
from indexer.inference.encoder import Encoder
from indexer.query_vectors import QueryVectors


@pytest.fixture
def tiny_published(tiny_data):
    """The directory of the published tiny model."""
    models = Store("model", tiny_data)
    return models.path(models.current_id())


def test_a_query_that_was_just_asked_is_not_encoded_again(tiny_published, monkeypatch):
    """The second time its vector is the same without the model; another query is encoded."""
    encoder = Encoder.open(tiny_published, query_cache_bytes=100_000)
    runs = []
    run = Encoder._run
    monkeypatch.setattr(Encoder, "_run", lambda *args: runs.append(1) or run(*args))
    first, again, other = (encoder.encode_query(query) for query in ("the cat", "the cat", "the dog"))
    assert len(runs) == 2
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_without_bytes_every_query_is_encoded(tiny_published, monkeypatch):
    """What measures an encoder measures it, unless it asks for the memory."""
    encoder = Encoder.open(tiny_published)
    runs = []
    run = Encoder._run
    monkeypatch.setattr(Encoder, "_run", lambda *args: runs.append(1) or run(*args))
    encoder.encode_query("the cat")
    encoder.encode_query("the cat")
    assert len(runs) == 2


def test_the_memory_is_bounded_and_the_longest_unasked_goes_first():
    """With room for three, the fourth takes the place of the one that was asked least recently."""
    vector = np.ones(100, dtype=np.float32)
    kept = QueryVectors(3 * 720)
    for query in "abc":
        kept.put(query, vector)
    assert kept.get("a") is not None
    kept.put("d", vector)
    assert len(kept) == 3
    assert kept.get("b") is None
    assert kept.get("a") is not None
    for number in range(1000):
        kept.put(f"query {number}", vector)
    assert len(kept) <= 3
    assert kept._bytes <= 3 * 720


def test_what_does_not_fit_is_not_kept():
    """One query that is larger than all the room pushes out nobody."""
    kept = QueryVectors(1_000)
    kept.put("a", np.ones(10, dtype=np.float32))
    kept.put("long " * 1_000, np.ones(10, dtype=np.float32))
    assert kept.get("a") is not None
    assert len(kept) == 1


def test_nobody_can_change_what_is_kept():
    """A vector that was handed out cannot be written into: it would answer for everybody else."""
    kept, given = QueryVectors(10_000), np.ones(10, dtype=np.float32)
    kept.put("a", given)
    given[0] = 5
    found = kept.get("a")
    assert found[0] == 1
    with pytest.raises(ValueError, match="read-only"):
        found[0] = 7
