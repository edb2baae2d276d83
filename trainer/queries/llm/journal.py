"""Journal of `trainer queries`: an append-only file with one line per answered row, from which a killed run resumes.

Each line is passed to the operating system before its row counts as done. `kill -9` loses only requests in flight, a power
failure at most one more second. The last line of a row counts; an incomplete last line is cut off.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from indexer.errors import UserError
from indexer.progress import say

SYNC_SECONDS = 1.0
"""Seconds after which lines are synchronised to the disk."""


@dataclass(frozen=True)
class Entry:
    """Outcome of one row: a line of the journal."""

    id: str
    key: str
    """SHA-256 over text, title, prompt and model settings: an entry with another key does not answer the row."""
    outcome: str
    queries: list[list[str]]
    """[kind, query] for each query that was kept."""
    dropped: dict[str, int] = field(default_factory=dict)
    raw: list[str] = field(default_factory=list)
    """Raw answers of the model; the last one was used."""
    attempts: int = 1
    error: str | None = None


class AnswerJournal:
    """Append-only file of entries; the offset of each row's last entry is in memory, in some 200 bytes per row."""

    def __init__(self, path: Path, *, fresh: bool = False) -> None:
        self.path = path
        self._fresh = fresh
        self._offsets: dict[str, int] = {}
        self._synced = time.monotonic()

    def __enter__(self) -> Self:
        """Open and lock the file, cut off an incomplete last line and index the entries.

        A ``fresh`` journal begins empty; its earlier content is copied to a file with ``.old`` after the name.

        Raises:
            UserError: another process is writing to it, or it cannot be opened.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("a+b")
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written ({error.strerror}); choose another --out") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise UserError(f"{self.path}: another process is asking for queries; wait until it has ended") from error
        if self._fresh and self.path.stat().st_size:
            shutil.copyfile(self.path, self.path.with_name(self.path.name + ".old"))
            self._file.truncate(0)
        self._index()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.fsync(self._file.fileno())
        self._file.close()

    def __len__(self) -> int:
        return len(self._offsets)

    def get(self, row: str) -> Entry | None:
        """Return the last entry of the row with this id."""
        offset = self._offsets.get(row)
        if offset is None:
            return None
        self._file.seek(offset)
        return _entry(self._file.readline())

    def add(self, entry: Entry) -> None:
        """Append an entry."""
        line = json.dumps(asdict(entry), ensure_ascii=False).encode("utf-8", "replace")
        self._offsets[entry.id] = self._file.seek(0, os.SEEK_END)
        self._file.write(line + b"\n")
        self._file.flush()
        if time.monotonic() - self._synced > SYNC_SECONDS:
            os.fsync(self._file.fileno())
            self._synced = time.monotonic()

    def forget(self, row: str) -> None:
        """Ignore the entry of a row from now on; its line stays in the file."""
        self._offsets.pop(row, None)

    def _index(self) -> None:
        """Find the offset of each row's last entry, and cut off an incomplete last line."""
        self._file.seek(0)
        end = unreadable = 0
        for line in self._file:
            if not line.endswith(b"\n"):
                break
            if entry := _entry(line):
                self._offsets[entry.id] = end
            else:
                unreadable += 1
            end += len(line)
        self._file.truncate(end)  # an incomplete line of a killed process
        if unreadable:
            say(f"{self.path}: {unreadable:,} lines are not readable; their rows are sent to the model again")


def _entry(line: bytes) -> Entry | None:
    """Return the entry of a line; None where it is not readable."""
    try:
        fields: Any = json.loads(line)
        return Entry(**fields)
    except (ValueError, TypeError):
        return None
