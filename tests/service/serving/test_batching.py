"""Batches of queued queries: which are encoded together, how many, and that no answer changes by it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from prometheus_client import REGISTRY

from indexer.artifacts.store import Store
from indexer.inference.encoder import Encoder
from service.serving.batching import LOOKAHEAD, MAX_BATCH, MAX_BATCH_CHARACTERS, Job, JobQueue, PendingQuery, encode

WORDS = ("ship", "cat", "king", "dog", "castle", "garden", "queen", "snow")


class Recorder:
    """Fake encoder that records its calls; it cannot encode texts that begin with an x."""

    def __init__(self, *, batches_exactly=True):
        """Start without calls."""
        self.asked = []
        self.batches_exactly = batches_exactly

    def encode_batch(self, queries):
        """Give the length of each as its vector."""
        self.asked.append(list(queries))
        if any(query.startswith("x") for query in queries):
            raise ValueError(queries)
        return np.array([[len(query)] for query in queries], dtype=np.float32)


def job(query, encoder):
    """A job for a query, with an answer that is never read."""
    with contextlib.closing(asyncio.new_event_loop()) as loop:
        return Job(lambda: b"", loop.create_future(), query and PendingQuery(encoder, query))


def taken(queue):
    """What one thread takes, as the queries' texts."""
    jobs = queue.take()
    queue.done()
    return [job.query and job.query.text for job in jobs]


@pytest.fixture
def encoder():
    """An encoder that records its calls."""
    return Recorder()


def filled(encoder, queries, threads=1):
    """A queue in which the queries wait."""
    queue = JobQueue(threads)
    for query in queries:
        queue.put(job(query, encoder))
    return queue


def test_the_oldest_goes_with_those_that_are_as_long(encoder):
    """The first in the queue is never passed over; beside it go the queries nearest to it in length, not the next ones."""
    queue = filled(encoder, ["a" * 30, "b" * 90, "c" * 33, "d" * 80, "e" * 29, "f" * 31, "g" * 60])
    assert taken(queue) == ["a" * 30, "e" * 29, "c" * 33]
    assert taken(queue) == ["b" * 90, "d" * 80, "g" * 60]
    assert taken(queue) == ["f" * 31]


def test_only_the_oldest_are_looked_through(encoder):
    """What came late does not overtake all others for its length's sake."""
    queue = filled(encoder, ["a" * 30, *["b" * 90] * LOOKAHEAD, "c" * 30])
    assert taken(queue) == ["a" * 30, "b" * 90, "b" * 90]


def test_a_batch_is_bounded(encoder):
    """Neither more queries than a few, nor more characters than keep a core busy, the longest counted for each."""
    assert len(taken(filled(encoder, ["a"] * 20))) == MAX_BATCH
    long = "b" * (MAX_BATCH_CHARACTERS // 2)
    assert len(taken(filled(encoder, [long] * 5))) == 2
    assert len(taken(filled(encoder, [long + "b"] * 5))) == 1
    assert len(taken(filled(encoder, ["a", long + "b"]))) == 1


def test_only_queries_of_one_encoder_go_together(encoder):
    """Work without a query goes alone, and so do queries for another model, as after a swap."""
    queue = filled(encoder, [None, "a", None])
    queue.put(job("b", Recorder()))
    queue.put(job("c", encoder))
    assert [taken(queue) for _ in range(4)] == [[None], ["a", "c"], [None], ["b"]]


def test_queries_of_two_keys_do_not_go_together(encoder):
    """A key would see by its timings what another asks."""
    queue = JobQueue(1)
    for key, text in [("mine", "a"), ("yours", "b"), ("mine", "c")]:
        waiting = job(text, encoder)
        waiting.query.owner = key
        queue.put(waiting)
    assert [taken(queue) for _ in range(2)] == [["a", "c"], ["b"]]


def test_queries_go_alone_where_a_batch_changes_their_vectors():
    """An encoder that does not batch exactly gets one query at a time."""
    queue = filled(Recorder(batches_exactly=False), ["a", "b", "c"])
    assert [taken(queue) for _ in range(3)] == [["a"], ["b"], ["c"]]


def test_threads_share_what_waits(encoder):
    """A thread leaves their part to others that are free: two queries on two cores are sooner done side by side."""
    queue = filled(encoder, ["a", "b", "c", "d"], threads=2)
    assert len(queue.take()) == 2  # the other thread is free, and has half
    assert len(queue.take()) == 2
    queue = filled(encoder, ["a", "b"], threads=2)
    assert [len(queue.take()), len(queue.take())] == [1, 1]


def test_a_thread_that_comes_too_late_waits_on(encoder):
    """What another one took along is not given out twice, and closing ends every thread."""
    queue = filled(encoder, ["a", "b", "c"])
    assert len(taken(queue)) == 3
    late = []
    thread = threading.Thread(target=lambda: late.append(queue.take()))
    thread.start()
    queue.put(job("d", encoder))
    thread.join(10)
    assert [each.query.text for each in late[0]] == ["d"]
    queue.close()
    assert queue.take() == []


def test_each_query_gets_its_own_vector(encoder):
    """One call encodes the jobs that were not abandoned; their number is counted."""
    jobs = [job(query, encoder) for query in ("a", "bb", "ccc")]
    jobs[1].abandoned = True
    before = REGISTRY.get_sample_value("dowse_batch_size_sum")
    encode(jobs)
    assert encoder.asked == [["a", "ccc"]]
    assert [each.query.vector and each.query.vector.tolist() for each in jobs] == [[1], None, [3]]
    assert REGISTRY.get_sample_value("dowse_batch_size_sum") == before + 2


def test_a_query_alone_is_left_to_its_job(encoder):
    """It may take all cores then, which a batch never does."""
    alone = job("a", encoder)
    encode([alone, job(None, encoder)])
    assert encoder.asked == []
    assert alone.query.vector is None


def test_a_failure_is_nobody_elses(encoder, caplog):
    """Where a batch cannot be encoded, each of its jobs tries for itself, and finds out by itself."""
    jobs = [job("x", encoder), job("a", encoder)]
    encode(jobs)
    assert [each.query.vector for each in jobs] == [None, None]
    assert "2 queries could not be encoded together" in caplog.text


def test_encoded_together_as_alone(tiny_data):
    """The same vectors, also of a query that is known already."""
    models = Store("model", tiny_data)
    tiny_encoder = Encoder.open(models.path(models.current_id()), query_cache_bytes=10_000)
    queries = ["a cat", "the old king sleeps", "a cat", "snow"]
    alone = np.stack([tiny_encoder.encode_query(query) for query in queries])
    assert np.allclose(tiny_encoder.encode_batch(queries), alone, atol=1e-5)


def test_answers_do_not_depend_on_who_waits_beside(client, monkeypatch):
    """Sixteen clients at once get what each gets alone, some out of batches."""
    sizes = []
    together = Encoder.encode_batch
    monkeypatch.setattr(
        Encoder, "encode_batch", lambda self, queries: sizes.append(len(queries)) or together(self, queries)
    )
    bodies = [{"query": f"the {word} at sea", "mode": mode} for word in WORDS for mode in ("dense", "hybrid")]

    def ask(body):
        answer = client.post("/search", json=body).json()
        return [(result["id"], round(result["score"], 3)) for result in answer["results"]]

    alone = [ask(body) for body in bodies]
    with ThreadPoolExecutor(16) as clients:
        for _ in range(20):
            assert list(clients.map(ask, bodies)) == alone
            if sizes:
                break
    assert sizes
    assert max(sizes) <= MAX_BATCH


def test_stage_times_say_how_long_the_batch_took(encoder):
    """A query that was encoded with others took as long as they did together."""
    jobs = [job("a", encoder), job("b", encoder)]
    encode(jobs)
    assert jobs[0].query.milliseconds == jobs[1].query.milliseconds > 0
