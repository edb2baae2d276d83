"""Request queue: 429, deadlines and order when requests come faster than they can be answered."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace

import pytest
from starlette.testclient import TestClient

from indexer.retrieval.retriever import Retriever
from service.app import create_app
from service.problems import Problem
from service.serving.queue import RequestQueue
from service.settings import ServiceSettings

SEARCH = {"query": "cat"}


@pytest.fixture
def admit():
    """Makes a `RequestQueue` and stops it after the test; jobs that still hold a thread are released."""
    made, gates = [], []

    def make(threads=1, waiting=1, deadline=60.0):
        made.append(RequestQueue(threads, waiting, deadline))
        gates.append(threading.Event())
        return made[-1], gates[-1]

    yield make
    for gate in gates:
        gate.set()
    for queue in made:
        queue.stop()


async def never():
    """A client that stays."""
    await asyncio.Event().wait()


async def hang_up():
    """A client that is gone."""
    return {"type": "http.disconnect"}


def holding(gate, calls=None):
    """Work that ends when the gate is opened."""

    def work():
        if calls is not None:
            calls.append(threading.current_thread().name)
        gate.wait(60)
        return b"done"

    return work


async def begun(*runs):
    """Start them and let each get as far as it comes by itself."""
    tasks = [asyncio.ensure_future(run) for run in runs]
    await asyncio.sleep(0.05)
    return tasks


def test_what_finds_the_queue_full_is_refused_at_once(admit):
    """One runs, one waits, the third is refused with a 429; once there is room again a fourth is accepted."""
    queue, gate = admit(threads=1, waiting=1)

    async def scene():
        tasks = await begun(queue.run(holding(gate), never), queue.run(lambda: b"second", never))
        with pytest.raises(Problem) as refused:
            await queue.run(lambda: b"third", never)
        gate.set()
        first, second = await asyncio.gather(*tasks)
        return refused.value, first, second, await queue.run(lambda: b"fourth", never)

    problem, *answers = asyncio.run(scene())
    assert (problem.status, problem.kind, problem.headers) == (429, "overloaded", {"Retry-After": "1"})
    assert answers == [b"done", b"second", b"fourth"]


def test_no_more_work_at_once_than_there_are_threads(admit):
    """Of five requests two are worked on; the others wait until these are done."""
    queue, gate = admit(threads=2, waiting=3)
    calls = []

    async def scene():
        tasks = await begun(*(queue.run(holding(gate, calls), never) for _ in range(5)))
        at_once = len(calls)
        gate.set()
        return at_once, await asyncio.gather(*tasks)

    at_once, answers = asyncio.run(scene())
    assert at_once == 2
    assert answers == [b"done"] * 5
    assert len(calls) == 5
    assert len(set(calls)) <= 2


def test_a_request_that_waits_beyond_its_deadline_is_given_up_and_never_worked_on(admit):
    """Its answer is a 504, and the thread that comes to it later leaves it."""
    queue, gate = admit(deadline=0.1)
    calls = []

    async def scene():
        with pytest.raises(Problem) as working:
            await queue.run(holding(gate), never)
        with pytest.raises(Problem) as waiting:
            await queue.run(lambda: calls.append("worked") or b"", never)
        gate.set()
        while queue._open:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.01)
        return working.value, waiting.value, await queue.run(lambda: b"next", never)

    working, waiting, answer = asyncio.run(scene())
    assert (working.status, working.kind) == (waiting.status, waiting.kind) == (504, "deadline")
    assert answer == b"next"
    assert calls == []


def test_a_client_that_hangs_up_is_dropped_from_the_queue(admit):
    """Jobs of clients that have gone are not run."""
    queue, gate = admit()
    calls = []

    async def scene():
        (first,) = await begun(queue.run(holding(gate), never))
        with pytest.raises(Problem) as gone:
            await queue.run(lambda: calls.append("worked") or b"", hang_up)
        gate.set()
        answer = await first
        while queue._open:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.01)
        return gone.value, answer, await queue.run(lambda: b"next", never)

    problem, *answers = asyncio.run(scene())
    assert problem.kind == "client-gone"
    assert answers == [b"done", b"next"]
    assert calls == []


def test_an_abandoned_request_holds_its_place_until_its_thread_is_free(admit):
    """Deadlines do not make room that is not there: what still works counts."""
    queue, gate = admit(threads=1, waiting=0, deadline=0.05)

    async def scene():
        with pytest.raises(Problem) as first:
            await queue.run(holding(gate), never)
        with pytest.raises(Problem) as second:
            await queue.run(lambda: b"", never)
        return first.value.status, second.value.status

    assert asyncio.run(scene()) == (504, 429)


def test_an_error_of_the_work_is_the_requests_own(admit):
    """What the work raises is raised where the request waits, and the thread goes on."""
    queue, _ = admit()

    def fail():
        raise ZeroDivisionError

    async def scene():
        with pytest.raises(ZeroDivisionError):
            await queue.run(fail, never)
        return await queue.run(lambda: b"next", never)

    assert asyncio.run(scene()) == b"next"


def test_stopping_finishes_what_is_queued(admit):
    """Requests that were let in are answered before the threads end."""
    queue, gate = admit(threads=1, waiting=3)

    async def scene():
        tasks = await begun(queue.run(holding(gate), never), queue.run(lambda: b"second", never))
        gate.set()
        await asyncio.to_thread(queue.stop)
        return await asyncio.gather(*tasks)

    assert asyncio.run(scene()) == [b"done", b"second"]
    queue._threads.clear()


@pytest.fixture
def held(monkeypatch):
    """Searches that wait until the test lets them; `entered` is set once one has begun."""
    gate, entered = threading.Event(), threading.Event()
    search = Retriever.search

    def wait(*args, **kwargs):
        entered.set()
        gate.wait(60)
        return search(*args, **kwargs)

    def hold():
        monkeypatch.setattr(Retriever, "search", wait)
        return gate, entered

    yield hold
    gate.set()


WORKING = [
    ("POST", "/search", SEARCH),
    ("GET", "/search?q=cat", None),
    ("POST", "/search/batch", {"searches": [SEARCH]}),
    ("POST", "/similar", {"ids": ["a"]}),
    ("GET", "/documents/a", None),
    ("GET", "/documents/a/similar", None),
    ("POST", "/classify", {"texts": ["cat"]}),
    ("POST", "/fill-mask", {"text": "a [MASK]"}),
    ("POST", "/model/read", {"text": "cat"}),
    ("POST", "/model/compare", {"first": "cat", "second": "dog"}),
    ("PUT", "/documents", {"documents": [{"id": "x", "text": "cat"}]}),
    ("DELETE", "/documents?id=a", None),
    ("POST", "/feedback", {"query": "cat", "document": "a", "click": True}),
]


def test_the_service_refuses_what_it_cannot_queue(reading_data, held):
    """Over HTTP: 429 with Retry-After while the only thread is held, for every route that works; health checks answer."""
    app = create_app(ServiceSettings(data=reading_data, cores=1, queue=0, writable=True))
    with TestClient(app) as client:
        app.state.classifier = SimpleNamespace(live=None)  # there is one, which nobody gets to ask
        gate, entered = held()
        answers = []
        first = threading.Thread(target=lambda: answers.append(client.post("/search", json=SEARCH)))
        first.start()
        assert entered.wait(60)
        for method, path, body in WORKING:
            refused = client.request(method, path, json=body)
            assert refused.status_code == 429, path
            assert refused.headers["Retry-After"] == "1"
            assert refused.json()["type"] == "urn:dowse:problem:overloaded"
        assert client.get("/readyz").status_code == 200
        gate.set()
        first.join()
    assert [answer.status_code for answer in answers] == [200]


def test_the_service_answers_504_at_the_deadline(built_data, held):
    """Over HTTP: a search that does not end is answered all the same."""
    with TestClient(create_app(ServiceSettings(data=built_data, deadline_seconds=0.1))) as client:
        held()
        answer = client.post("/search", json=SEARCH)
        assert answer.status_code == 504
        assert answer.json()["type"] == "urn:dowse:problem:deadline"


def test_it_is_not_ready_once_it_drains(built_data):
    """After SIGTERM `/readyz` says 503 while searches are still answered."""
    app = create_app(ServiceSettings(data=built_data))
    with TestClient(app) as client:
        assert client.get("/readyz").status_code == 200
        app.state.draining.set()
        refused = client.get("/readyz")
        assert refused.status_code == 503
        assert refused.headers["Retry-After"]
        assert refused.json()["type"] == "urn:dowse:problem:draining"
        assert client.post("/search", json=SEARCH).status_code == 200


def test_sigterm_drains_before_it_ends(built_data, start_service, eventually):
    """With `--drain-seconds` the program goes on answering after SIGTERM, not ready; a second signal cuts it short."""
    import signal

    running = start_service(built_data, "--drain-seconds", "3600")
    eventually(lambda: running.status("/readyz") == 200, "the service is ready")
    running.process.send_signal(signal.SIGTERM)
    eventually(lambda: running.status("/readyz") == 503, "the service is not ready any more")
    assert running.status("/search?q=cat") == 200
    assert running.end(signal.SIGTERM) == -signal.SIGTERM
    assert "Traceback" not in running.said


def test_ending_has_a_bound(admit, monkeypatch, caplog):
    """Work that does not end keeps the process from ending for a bounded time only, and the log says so."""
    monkeypatch.setattr("service.serving.queue.STOP_SECONDS", 0.1)
    queue, gate = admit()

    async def scenario():
        (task,) = await begun(queue.run(holding(gate), never))
        await asyncio.to_thread(queue.stop)
        assert not gate.is_set()
        task.cancel()

    asyncio.run(scenario())
    assert "1 threads had not ended after 0.1 s" in caplog.text
