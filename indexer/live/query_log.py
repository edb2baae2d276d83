"""Query log: what was searched for, one JSON object per line, in files of bounded size that several processes append to.

    $DOWSE_DATA/live/queries/queries-20261129-0001.jsonl

    {"time": "2026-11-29T18:20:04.112+00:00", "query": "copy a file", "mode": "hybrid", "results": 10, "relevance": null,
     "ms": 5.2, "filtered": false, "tenant": null}

``query`` is null where redaction keeps no words. ``relevance`` is that of the first result, where the index says it.
``tenant`` is null for callers who see all documents, else a digest of the filter of their key.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from indexer.live.log import FOLDER, write_all

QUERIES = "queries"
LOCK = ".lock"
SEGMENTS = 8
"""Files among which the size is divided: the oldest is deleted whole."""


def normalised(query: str) -> str:
    """Return a query so that queries which differ only in case and white space are one."""
    return " ".join(query.casefold().split())


class QueryLog:
    """The query log of a data directory.

    Args:
        data: the data directory.
        max_bytes: of all files together; the oldest are deleted for newer ones.
        max_days: for which an entry is kept.
    """

    def __init__(self, data: Path, max_bytes: int = 16_000_000, max_days: int = 90) -> None:
        self.folder = data / FOLDER / QUERIES
        self._max_bytes = max_bytes
        self._max_days = max_days

    def files(self) -> list[Path]:
        """Return the files of the log, oldest first."""
        return sorted(self.folder.glob("queries-*.jsonl"))

    def size_bytes(self) -> int:
        """Return the size of all files together."""
        return sum(path.stat().st_size for path in self.files())

    def append(self, entries: Sequence[dict[str, Any]]) -> None:
        """Append entries, whole lines or nothing, then delete what is too old or too much.

        They are not flushed to the disk: a statistic may lose its last seconds when the machine fails.

        Raises:
            OSError: the disk is full, or cannot be written; the log is then as it was.
        """
        content = "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries).encode()
        with self._locked():
            self._prune(len(content))
            path = self._active(len(content))
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)  # what people ask is for its owner
            try:
                end = os.fstat(descriptor).st_size
                if end and os.pread(descriptor, 1, end - 1) != b"\n":  # an unfinished line of a killed writer
                    content = b"\n" + content
                try:
                    write_all(descriptor, content)
                except OSError:
                    os.ftruncate(descriptor, end)
                    raise
            finally:
                os.close(descriptor)

    def _active(self, size: int) -> Path:
        """Return the file for ``size`` more bytes: today's newest, or another one where that has had its share."""
        today = f"queries-{datetime.now(UTC):%Y%m%d}-"
        numbers = [int(path.stem.rpartition("-")[2]) for path in self.files() if path.name.startswith(today)]
        path = self.folder / f"{today}{max(numbers, default=1):04}.jsonl"
        if numbers and path.stat().st_size + size > self._max_bytes // SEGMENTS:
            path = self.folder / f"{today}{max(numbers) + 1:04}.jsonl"
        return path

    def _prune(self, size: int) -> None:
        """Delete the oldest files until ``size`` more bytes have room, and those from before the days to keep."""
        oldest = f"queries-{datetime.now(UTC) - timedelta(days=self._max_days):%Y%m%d}"
        files = self.files()
        total = sum(path.stat().st_size for path in files) + size
        for path in files:
            if path.name >= oldest and total <= self._max_bytes:
                break
            total -= path.stat().st_size
            path.unlink()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / LOCK).open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def read_lines(path: Path, start: int = 0) -> tuple[list[dict[str, Any]], int]:
    """Return the entries of a file from the byte ``start`` on, and where they end; unfinished and damaged lines are left out.

    A file that was deleted meanwhile has none.
    """
    try:
        with path.open("rb") as file:
            file.seek(start)
            content = file.read()
    except FileNotFoundError:
        return [], start
    complete = content[: content.rfind(b"\n") + 1]
    entries = []
    for line in complete.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and {"time", "query", "ms", "results"} <= entry.keys():
            entries.append(entry)
    return entries, start + len(complete)
