"""Statistics of the query log: how often each query was searched and found something, per day, and how long it took.

A file of the log is read once; of the one that is appended to, only what is new.
"""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from indexer.live.query_log import QueryLog, normalised, read_lines

CLOSE = 0.1
"""Relevance of the first result below which a search has found nothing close, where it is known; the page says so, too."""
SHARED = 2
"""Times that a query must have found something before it is suggested to others: who asks alone may name a person."""

MAX_PAST = 20_000
"""Past queries that are kept at hand for suggestions, the most frequent."""
REDACTED = ("[email]", "[number]")
"""What stands in a query for what was left out."""


@dataclass
class QueryCount:
    """One query: as it was written first, how often it was searched, and how often it found something."""

    text: str
    searches: int = 0
    found: int = 0


@dataclass
class Counts:
    """Searches of one day in one file.

    Attributes:
        searches: number of them, also of those of which no words were kept.
        nothing: those that found nothing, or nothing close.
        milliseconds: of each search.
        queries: tenant and normalised text → counts.
    """

    searches: int = 0
    nothing: int = 0
    milliseconds: array[float] = field(default_factory=lambda: array("f"))
    queries: dict[tuple[str | None, str], QueryCount] = field(default_factory=dict)

    def add(self, entry: dict[str, Any]) -> None:
        """Count one entry of the log."""
        relevance = entry.get("relevance")
        found = entry["results"] > 0 and (relevance is None or relevance >= CLOSE)
        self.searches += 1
        self.nothing += not found
        self.milliseconds.append(entry["ms"])
        if entry["query"]:
            key = (entry.get("tenant"), normalised(entry["query"]))
            count = self.queries.setdefault(key, QueryCount(entry["query"]))
            count.searches += 1
            count.found += found


class QueryStatistics:
    """The counts of a query log; `refresh` takes up what was appended. Not safe to use from several threads."""

    def __init__(self, data: Path) -> None:
        self._log = QueryLog(data)
        self._ends: dict[Path, int] = {}
        self._counts: dict[Path, dict[str, Counts]] = {}

    def refresh(self) -> None:
        """Read what is new, and forget the files that were deleted."""
        files = self._log.files()
        for path in self._ends.keys() - set(files):
            del self._ends[path], self._counts[path]
        for path in files:
            end = self._ends.get(path, 0)
            try:
                unread = path.stat().st_size != end
            except FileNotFoundError:
                continue
            if unread:
                entries, self._ends[path] = read_lines(path, end)
                days = self._counts.setdefault(path, defaultdict(Counts))
                for entry in entries:
                    days[entry["time"][:10]].add(entry)

    def days(self, number: int | None = None) -> Iterator[tuple[str, Counts]]:
        """Yield day and counts of the last ``number`` days, or of all; a day may come several times."""
        since = "" if number is None else first_day(number).isoformat()
        for days in list(self._counts.values()):
            yield from ((day, counts) for day, counts in list(days.items()) if day >= since)

    def past_queries(self, tenant: str | None) -> dict[str, int]:
        """Return the queries of a tenant that found something → how often; None for callers who see all documents.

        Queries that only one search has had are left out, as are those of which a part was redacted.
        """
        found: Counter[str] = Counter()
        texts: dict[str, str] = {}
        for _, counts in self.days():
            for (owner, key), count in counts.queries.items():
                if owner == tenant and count.found and not any(map(key.__contains__, REDACTED)):
                    found[key] += count.found
                    texts.setdefault(key, count.text)
        return {texts[key]: number for key, number in found.most_common(MAX_PAST) if number >= SHARED}

    def searches(self) -> dict[str, int]:
        """Return each normalised query → how often it was searched, by all callers."""
        total: Counter[str] = Counter()
        for _, counts in self.days():
            for (_, key), count in counts.queries.items():
                total[key] += count.searches
        return dict(total)


def first_day(days: int) -> date:
    """Return the first of the last ``days`` days, today included, UTC."""
    return datetime.now(UTC).date() - timedelta(days=days - 1)


def merged_queries(days: Iterable[Counts]) -> list[QueryCount]:
    """Return each query once with the counts of all ``days`` and all tenants, most frequent first."""
    merged: dict[str, QueryCount] = {}
    for counts in days:
        for (_, key), count in counts.queries.items():
            total = merged.setdefault(key, QueryCount(count.text))
            total.searches += count.searches
            total.found += count.found
    return sorted(merged.values(), key=lambda count: (-count.searches, count.text))
