"""Jobs of the request queue: their order, and that no answer depends on the company of a request."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from prometheus_client import REGISTRY
from starlette.testclient import TestClient

from indexer.build.build import build
from indexer.build.settings import BuildSettings
from service.app import create_app
from service.serving.jobs import Job, JobQueue
from service.settings import ServiceSettings

WORDS = ("ship", "cat", "king", "dog", "castle", "garden", "queen", "snow")


def job():
    """A job with an answer that is never read."""
    with contextlib.closing(asyncio.new_event_loop()) as loop:
        return Job(lambda: b"", loop.create_future())


def test_first_come_first_served_and_an_end_for_each_thread():
    """Jobs are taken in their order, one by each thread; closing ends every thread once all jobs are taken."""
    queue, jobs = JobQueue(2), [job() for _ in range(3)]
    for each in jobs:
        queue.put(each)
    queue.close()
    assert [queue.take() for _ in range(5)] == [*jobs, None, None]


def test_a_thread_waits_for_work():
    """A thread that comes before the work is there gets it once it is."""
    queue, late, taken = JobQueue(1), job(), []
    thread = threading.Thread(target=lambda: taken.append(queue.take()))
    thread.start()
    queue.put(late)
    thread.join(10)
    assert taken == [late]


@pytest.fixture(scope="module", params=["fp32", "int8"])
def uncached(request, built_data, tmp_path_factory):
    """A client of a service with several threads and without a cache, over the stories in each precision."""
    data = built_data
    if request.param == "int8":
        data = tmp_path_factory.mktemp("int8") / "data"
        shutil.copytree(built_data, data)
        build(str(next(built_data.glob("*.parquet"))), BuildSettings(language="en", precision="int8"), data)
    with TestClient(create_app(ServiceSettings(data=data, query_cache_mb=0, cores=3))) as client:
        yield client


def test_answers_do_not_depend_on_who_waits_beside(uncached):
    """Sixteen clients at once, with queries of all lengths, get to the last digit what each gets alone."""
    bodies = [
        {"query": " ".join(WORDS[:length]) + f" by the {word}", "mode": mode, "explain": True, "highlight": True}
        for length, word in enumerate(WORDS)
        for mode in ("dense", "hybrid")
    ]

    def ask(body):
        answer = uncached.post("/search", json=body)
        assert answer.status_code == 200
        return answer.json()["results"]

    before = REGISTRY.get_sample_value("dowse_batch_size_sum")
    alone = [ask(body) for body in bodies]
    assert REGISTRY.get_sample_value("dowse_batch_size_sum") == before + len(bodies)
    batch = uncached.post("/search/batch", json={"searches": bodies}).json()["responses"]
    assert [answer["results"] for answer in batch] == alone
    with ThreadPoolExecutor(16) as clients:
        for _ in range(3):
            assert list(clients.map(ask, bodies)) == alone
