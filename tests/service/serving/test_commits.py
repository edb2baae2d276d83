"""Writes in the queue: a write that was answered as refused is never applied."""

from __future__ import annotations

import asyncio
import threading

import pytest

from service.problems import Problem
from service.serving.queue import RequestQueue, _Commit


@pytest.fixture
def queue():
    """A queue with two threads and a short deadline, and a gate for what holds a thread."""
    gate = threading.Event()
    requests = RequestQueue(threads=2, waiting=2, deadline=0.05)
    yield requests, gate
    gate.set()
    requests.stop()


async def stays():
    """A client that stays."""
    await asyncio.Event().wait()


async def hangs_up():
    """A client that is gone."""
    return {"type": "http.disconnect"}


def holding(gate, done):
    """A write that ends when the gate is opened."""

    def work():
        gate.wait(60)
        done.append(True)
        return b"written"

    return work


def test_a_write_that_has_begun_is_answered_whatever_the_deadline(queue):
    """It is answered though the deadline has passed and a client seems to be gone, and with the error where it fails."""
    requests, gate = queue
    done = []

    def fails():
        gate.wait(60)
        raise ZeroDivisionError

    async def scene():
        late = asyncio.ensure_future(requests.commit(holding(gate, done), stays))
        failing = asyncio.ensure_future(requests.commit(fails, hangs_up))
        await asyncio.sleep(0.3)
        answered = late.done() or failing.done()
        gate.set()
        with pytest.raises(ZeroDivisionError):
            await failing
        return answered, await late

    assert asyncio.run(scene()) == (False, b"written")
    assert done == [True]


@pytest.mark.parametrize(("client", "kind"), [(stays, "deadline"), (hangs_up, "client-gone")])
def test_a_write_that_only_waits_is_given_up_and_never_done(queue, client, kind):
    """A write that was answered as refused, or whose client has gone, is not applied."""
    requests, gate = queue
    done = []

    async def scene():
        busy = [asyncio.ensure_future(requests.commit(holding(gate, []), stays)) for _ in range(2)]
        await asyncio.sleep(0.01)
        with pytest.raises(Problem) as refused:
            await requests.commit(holding(gate, done), client)
        gate.set()
        await asyncio.gather(*busy)
        return refused.value.kind, await requests.commit(lambda: b"next", stays)

    assert asyncio.run(scene()) == (kind, b"next")
    assert done == []


def test_a_write_is_decided_once():
    """Where the deadline and the thread come at the same moment, only one of them has its way."""
    done = []
    given_up = _Commit(lambda: done.append(True) or b"written")
    assert given_up.abandon()
    assert given_up() == b""
    assert done == []
    begun = _Commit(lambda: b"written")
    assert begun() == b"written"
    assert not begun.abandon()
