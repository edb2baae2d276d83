"""A pool of workers: windows of lost workers are encoded by others, and what cannot succeed ends with a reason."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest

from indexer.build.executors.pool import Pool, WorkerLost
from indexer.errors import UserError


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let lost workers be started again without a delay."""
    monkeypatch.setattr("indexer.build.executors.pool.RESTART_DELAYS", (0.0, 0.0))


class Scripted:
    """A worker that does what a function says."""

    def __init__(self, name: str, encode: Callable[[list[str]], np.ndarray], start: Callable[[], None] | None = None):
        self.name, self.starts = name, 0
        self._encode, self._start = encode, start

    def start(self) -> None:
        """Count the starts."""
        self.starts += 1
        if self._start:
            self._start()

    def encode(self, texts: list[str]) -> np.ndarray:
        """Do what the function says."""
        return self._encode(texts)

    def stop(self) -> None:
        """There is nothing to end."""


def lengths(texts: list[str]) -> np.ndarray:
    """Stand for an encoder."""
    return np.array([[len(text)] for text in texts], dtype=np.float32)


def lost(_texts: list[str] | None = None) -> np.ndarray:
    """Stand for a process that ends."""
    raise WorkerLost("signal 9")


def test_a_lost_window_is_encoded_by_another(capsys: pytest.CaptureFixture[str]) -> None:
    """Each window gets its own vectors once, though a worker is lost in between; it is started again."""
    once = threading.Event()

    def fragile(texts: list[str]) -> np.ndarray:
        if not once.is_set():
            once.set()
            lost()
        return lengths(texts)

    def patient(texts: list[str]) -> np.ndarray:
        assert once.wait(60)  # else it could encode all of them before the other has begun
        return lengths(texts)

    workers = [Scripted("a", fragile), Scripted("b", patient)]
    with Pool(workers) as pool:
        results = [pool.submit(["x" * size, "y"]) for size in range(30)]
        vectors = [result.result(timeout=60).tolist() for result in results]
    assert vectors == [[[size], [1]] for size in range(30)]
    assert "a is lost (signal 9): it is started again" in capsys.readouterr().err


def test_a_window_that_ends_every_worker() -> None:
    """What kills three workers is not tried for ever; the windows beside it are encoded."""
    poison = ["poison"]
    workers = [Scripted(name, lambda texts: lost() if texts == poison else lengths(texts)) for name in "ab"]
    with Pool(workers) as pool:
        results = [pool.submit(["good"]), pool.submit(poison), pool.submit(["good"])]
        with pytest.raises(UserError, match=r"3 workers were lost while they encoded the same 1 passages; .*--workers"):
            results[1].result(timeout=60)
        assert [results[place].result(timeout=60).tolist() for place in (0, 2)] == [[[4]], [[4]]]


def test_no_worker_is_left() -> None:
    """Where no worker can be started, the build ends with the reason, also for windows that come later."""
    workers = [Scripted(name, lengths, start=lost) for name in "ab"]
    with Pool(workers) as pool:
        for _ in range(2):
            with pytest.raises(UserError, match=r"no worker is left .*signal 9.*build again to go on"):
                pool.submit(["text"]).result(timeout=60)
    assert [worker.starts for worker in workers] == [3, 3]


def test_one_worker_that_cannot_start(capsys: pytest.CaptureFixture[str]) -> None:
    """The others do the work."""
    bad, good = Scripted("bad", lengths, start=lost), Scripted("good", lengths)
    with Pool([bad, good]) as pool:
        for _ in range(50):
            assert pool.submit(["text"]).result(timeout=60).tolist() == [[4]]
    assert bad.starts <= 3
    assert "good" not in capsys.readouterr().err


def test_an_error_is_not_a_loss() -> None:
    """What the encoder raises is raised where the vectors are asked for; it is not tried again."""
    calls = []

    def broken(texts: list[str]) -> np.ndarray:
        calls.append(texts)
        raise ValueError("no such token")

    with Pool([Scripted("a", broken)]) as pool, pytest.raises(ValueError, match="no such token"):
        pool.submit(["text"]).result(timeout=60)
    assert len(calls) == 1


def test_a_model_that_cannot_be_opened() -> None:
    """An error at the start is that of the build: other workers would have it too."""

    def refuse() -> None:
        raise UserError("tokenizer.json: missing")

    with Pool([Scripted("a", lengths, start=refuse)]) as pool, pytest.raises(UserError, match="json: missing"):
        pool.submit(["text"]).result(timeout=60)
