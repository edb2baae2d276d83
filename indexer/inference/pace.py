"""Which of two ways to do the same work is faster at present, by the times of the last calls of both.

Spreading a query over the cores saves a third of its time on an idle machine, and more than doubles it while another
program uses a core: all threads wait for the one that does not run. Only the times say which is the case.
"""

from __future__ import annotations

import statistics
import threading
from collections import deque

KEPT = 3
"""Calls of each way whose median counts: one that was interrupted changes nothing."""
PROBE_EVERY = 24
"""Calls after which the way that seems slower is tried once."""


class Pace:
    """Times of a preferred way and its alternative. Safe to use from several threads."""

    def __init__(self) -> None:
        self._times: dict[bool, deque[float]] = {way: deque(maxlen=KEPT) for way in (True, False)}
        self._calls = 0
        self._lock = threading.Lock()

    def prefer(self) -> bool:
        """Say whether the next call should take the preferred way.

        It is taken until its times are known, then the alternative as often; then the faster one, but for every
        `PROBE_EVERY`-th call.
        """
        with self._lock:
            for way in (True, False):
                if len(self._times[way]) < KEPT:
                    return way
            self._calls += 1
            faster = statistics.median(self._times[True]) <= statistics.median(self._times[False])
            return faster if self._calls % PROBE_EVERY else not faster

    def add(self, seconds: float, *, preferred: bool) -> None:
        """Count how long a unit of work has taken in one of the ways."""
        with self._lock:
            self._times[preferred].append(seconds)
