"""Query recorder: takes what is searched for into a buffer, from which a thread writes the query log.

A search pays for an entry in a dictionary. Whatever happens to the disk, no search waits for it or fails. Somebody who
types searches again with each letter: a query that continues the caller's last one, within `HOLD_SECONDS`, replaces it.
Who called is used for that alone, and never written.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from indexer.live.query_log import QueryLog, normalised
from indexer.live.query_statistics import QueryStatistics
from service.security.keys import Key
from service.serving.queries.redaction import RareQueries, redacted
from service.settings import ServiceSettings

log = logging.getLogger("dowse.service")

HOLD_SECONDS = 3.0
"""How long a query waits for one that continues it."""
FLUSH_SECONDS = 1.0
RETRY_SECONDS = 30.0
"""Pause after the disk has refused a write."""
REFRESH_SECONDS = 10.0
"""How old the past queries may be that `past_queries` returns."""
MAX_WAITING = 10_000
"""Entries that wait at most; further ones are dropped and counted."""


@dataclass
class Search:
    """One search, as it is written."""

    query: str
    mode: str
    results: int
    relevance: float | None
    milliseconds: float
    filtered: bool
    tenant: str | None
    time: str = ""
    seen: float = 0.0


class QueryRecorder:
    """Keeps the query log of a running service.

    Attributes:
        dropped: number of entries that had no room while the disk refused them.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        self.dropped = 0
        self._log = QueryLog(settings.data, settings.query_log_mb * 1_000_000, settings.query_log_days)
        self._redact = settings.query_log_redact
        self._rare = RareQueries(settings.query_log_min_count)
        self._lock = threading.Lock()
        self._latest: dict[str, Search] = {}  # caller → the query that may still be continued
        self._ready: list[Search] = []
        self._lines: list[dict[str, Any]] = []  # redacted, and not written yet
        self._problem: str | None = None
        self._next_attempt = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="query-log", daemon=True)
        self._statistics = QueryStatistics(settings.data)
        self._reading = threading.Lock()
        self._past: dict[str | None, dict[str, int]] = {}  # of the tenants that have asked
        self._next_refresh = 0.0

    def start(self) -> None:
        """Start the thread that writes."""
        self._thread.start()

    def stop(self) -> None:
        """Write what waits, and end the thread."""
        self._stop.set()
        self._thread.join(FLUSH_SECONDS * 5)
        self._flush(everything=True)

    @property
    def problem(self) -> str | None:
        """Why nothing is written at present; None where all is well."""
        return self._problem

    def size_bytes(self) -> int:
        """Return the size of the log."""
        return self._log.size_bytes()

    def record(self, caller: str, search: Search) -> None:
        """Take up a search; it is written within seconds."""
        search.time = datetime.now(UTC).isoformat(timespec="milliseconds")
        search.seen = time.monotonic()
        with self._lock:
            last = self._latest.get(caller)
            if last and search.seen - last.seen < HOLD_SECONDS and last.tenant == search.tenant:
                new, old = normalised(search.query), normalised(last.query)
                if new == old:  # its facets, its highlights, another page: the same search
                    last.seen, last.results = search.seen, max(last.results, search.results)
                    return
                if new.startswith(old) or old.startswith(new):
                    self._latest[caller] = search
                    return
            if len(self._lines) + len(self._ready) + len(self._latest) >= MAX_WAITING:
                self.dropped += 1
                return
            if last:
                self._ready.append(last)
            self._latest[caller] = search

    def past_queries(self, key: Key | None) -> dict[str, int]:
        """Return the queries that found something → how often, most frequent first, for the completion of new ones.

        It returns at once: what the log had some seconds ago, and nothing at the first call for a tenant. A key with a
        filter gets the queries of its own filter alone; all others get those of callers who see all documents.
        """
        tenant = tenant_of(key)
        if tenant not in self._past:
            self._past[tenant] = {}
            self._next_refresh = 0.0
        return self._past[tenant]

    def complete(self, text: str, limit: int, key: Key | None = None) -> list[str]:
        """Return at most ``limit`` of `past_queries` that begin with ``text``, without regard to case, the best first."""
        begin = normalised(text)
        return list(islice((query for query in self.past_queries(key) if normalised(query).startswith(begin)), limit))

    @contextmanager
    def statistics(self) -> Iterator[QueryStatistics]:
        """Yield the counts of all that was written; call it in a thread, for the first time reads the whole log."""
        with self._reading:
            self._statistics.refresh()
            yield self._statistics

    def _run(self) -> None:
        while not self._stop.wait(FLUSH_SECONDS):
            try:
                self._flush()
                self._refresh_past()
            except Exception:
                log.exception("the query log: writing or reading it failed")

    def _refresh_past(self) -> None:
        now = time.monotonic()
        if self._past and now >= self._next_refresh:
            self._next_refresh = now + REFRESH_SECONDS
            with self.statistics() as statistics:
                for tenant in list(self._past):
                    self._past[tenant] = statistics.past_queries(tenant)

    def _flush(self, *, everything: bool = False) -> None:
        now = time.monotonic()
        with self._lock:
            for caller, search in list(self._latest.items()):
                if everything or now - search.seen >= HOLD_SECONDS:
                    self._ready.append(self._latest.pop(caller))
            self._lines += map(self._line, self._ready)
            self._ready = []
        if not self._lines or (now < self._next_attempt and not everything):
            return
        try:
            self._log.append(self._lines)
        except OSError as error:
            self._next_attempt = now + RETRY_SECONDS
            problem = f"{self._log.folder}: {error.strerror or error}"
            if problem != self._problem:
                log.error("the query log is not written, searches go on: %s", problem)  # noqa: TRY400
            self._problem = problem
            return
        if self._problem:
            log.info("the query log is written again; %d searches were not kept", self.dropped)
        self._problem, self._lines = None, []

    def _line(self, search: Search) -> dict[str, Any]:
        query = redacted(search.query, self._redact)
        return {
            "time": search.time,
            "query": query if self._rare.may_keep(normalised(query)) else None,
            "mode": search.mode,
            "results": search.results,
            "relevance": search.relevance,
            "ms": round(search.milliseconds, 3),
            "filtered": search.filtered,
            "tenant": search.tenant,
        }


def tenant_of(key: Key | None) -> str | None:
    """Return the tenant of a key: a digest of its filter, None where it sees all documents."""
    if key is None or key.filter is None:
        return None
    content = key.filter.model_dump_json(by_alias=True)
    return hashlib.blake2b(content.encode(), digest_size=8).hexdigest()
