"""The file in which workers share outcomes of re-ranking."""

from __future__ import annotations

import sqlite3

import numpy as np

from service.api.search import rerank_memory
from service.api.search.rerank_memory import FILE, Outcome, RerankMemory, key_of

SCORED = Outcome(np.ones(2, np.float32), None, "model")


def settle(memory: RerankMemory) -> Outcome:
    """The outcome of a later page, which would not be re-ranked by itself."""
    key = key_of("cat", ["a", "b"], 200)
    return memory.settle(key, lambda: Outcome(None, "too slow", "model"), first_page=False, model="model")


def test_workers_that_start_at_once_all_share_the_file(tmp_path, monkeypatch):
    """A file that another worker is preparing at this moment is opened a moment later."""
    other = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    monkeypatch.setattr(rerank_memory, "BUSY_SECONDS", 0.0)
    monkeypatch.setattr(rerank_memory.time, "sleep", lambda _seconds: other.close())
    first, second = RerankMemory(tmp_path), RerankMemory(tmp_path)
    first.settle(key_of("cat", ["a", "b"], 200), lambda: SCORED, first_page=True, model="model")
    assert settle(second).scores is not None


def test_a_folder_without_the_file_does_not_stop_the_start(tmp_path, monkeypatch, caplog):
    """Where the file cannot be made, a worker starts, says so, and keeps its outcomes for itself."""
    monkeypatch.setattr(rerank_memory, "OPEN_SECONDS", 0.0)
    memory = RerankMemory(tmp_path / "absent")
    assert "not shared" in caplog.text
    assert settle(memory).reason == "too slow"
    memory.stop()
