"""Outcomes of recent re-rankings, shared by all workers of a service, so that the pages of one search have the same one.

Whether a budget suffices depends on the moment. If one page of a search were re-ranked and the next one not, they would
repeat documents. So a page takes the outcome that an earlier one has had, in whichever process; only a first page tries
again what has failed. What has once been re-ranked stays so: a first page must not undo it for later pages of others.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from indexer.cache import owner

log = logging.getLogger("dowse.service")

FILE = "rerank.sqlite"
MAX_OUTCOMES = 8_192
"""Of a kilobyte each at most: scores of 200 results, or a reason."""
BUSY_SECONDS = 1.0
"""How long a statement waits for those of other workers."""
OPEN_SECONDS = 5.0
"""How long opening the file is tried again."""
TABLE = """
CREATE TABLE IF NOT EXISTS outcomes (
    number INTEGER PRIMARY KEY AUTOINCREMENT, key BLOB UNIQUE, stored REAL, model TEXT, scores BLOB, reason TEXT
)
"""


@dataclass(frozen=True)
class Outcome:
    """Whether the first results of a search were re-ranked.

    Attributes:
        scores: of the first results, in the order of the ranking; None where they were not re-ranked.
        reason: why not.
        model: the cross-encoder; empty where there is none.
    """

    scores: npt.NDArray[np.float32] | None
    reason: str | None
    model: str


class RerankMemory:
    """Outcomes by query, passages and budget; for each owner its own. Safe to use from several threads and processes.

    Args:
        folder: of all workers of the service; None keeps the outcomes in the memory of this process.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._lock = threading.Lock()
        self._database = _open(":memory:") if folder is None else _open_shared(folder / FILE)

    def settle(self, key: bytes, compute: Callable[[], Outcome], *, first_page: bool, model: str) -> Outcome:
        """Return the outcome for a page; what is not known is computed and kept.

        Of several pages that compute at once, all take the outcome of the one that is done first.

        Args:
            key: from `key_of`.
            compute: makes a new outcome.
            first_page: whether the page begins a search.
            model: the cross-encoder that is live.
        """
        known = self._get(key)
        if known and not (first_page and (known.scores is None or known.model != model)):
            return known
        started = time.monotonic()  # the same clock in all processes
        return self._put(key, compute(), started)

    def stop(self) -> None:
        """Close the database."""
        with self._lock:
            self._database.close()

    def _get(self, key: bytes, since: float = 0.0) -> Outcome | None:
        statement = "SELECT scores, reason, model FROM outcomes WHERE key = ? AND stored >= ?"
        try:
            with self._lock, closing(self._database.execute(statement, (key, since))) as rows:
                row = rows.fetchone()
        except sqlite3.Error as error:  # a search does not fail because of re-ranking
            log.warning("outcomes of re-ranking cannot be read: %s", error)
            return None
        if row is None:
            return None
        scores, reason, model = row
        return Outcome(None if scores is None else np.frombuffer(scores, np.float32), reason, model)

    def _put(self, key: bytes, outcome: Outcome, started: float) -> Outcome:
        """Keep an outcome, unless another was kept since ``started``; return the one that is kept."""
        scores = None if outcome.scores is None else outcome.scores.tobytes()
        row = (key, time.monotonic(), outcome.model, scores, outcome.reason, started)
        statement = (
            "INSERT INTO outcomes (key, stored, model, scores, reason) VALUES (?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE "
            "SET stored = excluded.stored, model = excluded.model, scores = excluded.scores, reason = excluded.reason "
            "WHERE outcomes.stored < ?"
        )
        try:
            with self._lock:
                self._database.execute(statement, row)
                self._database.execute(
                    "DELETE FROM outcomes WHERE number <= (SELECT max(number) FROM outcomes) - ?", (MAX_OUTCOMES,)
                )
        except sqlite3.Error as error:
            log.warning("outcomes of re-ranking cannot be kept: %s", error)
        return self._get(key, since=started) or outcome


def _open_shared(path: Path) -> sqlite3.Connection:
    """Open the file of all workers, or a database in memory where that fails: a service starts all the same."""
    deadline = time.monotonic() + OPEN_SECONDS
    while True:
        try:
            return _open(str(path))
        except sqlite3.OperationalError as error:  # such as «locked»: workers that start at once all prepare the file
            if time.monotonic() > deadline:
                log.warning("%s: %s; outcomes of re-ranking are not shared with other workers", path, error)
                return _open(":memory:")
        time.sleep(0.02)


def _open(path: str) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        database.execute("PRAGMA journal_mode = WAL")  # fails at once, without waiting, where another does the same
        database.execute("PRAGMA synchronous = OFF")  # nothing of it outlives the service
        database.execute(TABLE)
    except sqlite3.Error:
        database.close()
        raise
    return database


def key_of(query: str, passages: list[str], budget_ms: int) -> bytes:
    """Return the key of an outcome: pages of one search have the same one, searches of other owners do not."""
    return hashlib.sha256(json.dumps([owner.get(), query, passages, budget_ms]).encode()).digest()
