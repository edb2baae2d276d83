"""The journal of `queries`: one line for each row that a language model was asked about, so that no answer is lost.

A line is written and handed to the operating system before the next row is counted as done: `kill -9` loses what was in
flight, a power failure at most a second more. The last line of a row counts; a torn last line is cut off.
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


@dataclass(frozen=True)
class Entry:
    """What became of one row: a line of the journal."""

    id: str
    key: str
    """SHA-256 over text, title and everything that decides what is asked and how: another key is another question."""
    outcome: str
    queries: list[list[str]]
    """[kind, query] for each query that was kept."""
    dropped: dict[str, int] = field(default_factory=dict)
    raw: list[str] = field(default_factory=list)
    """The answers as they came; the last one was used."""
    attempts: int = 1
    error: str | None = None


class AnswerJournal:
    """An append-only file of entries with the place of each row's last entry in memory, some 200 bytes a row."""

    def __init__(self, path: Path, *, fresh: bool = False) -> None:
        self.path = path
        self._fresh = fresh
        self._places: dict[str, int] = {}
        self._synced = time.monotonic()

    def __enter__(self) -> Self:
        """Open the file for this process alone, cut off a torn line and find the entries.

        A ``fresh`` one begins empty; what was in it is then in a file with ``.old`` after its name.

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
        return len(self._places)

    def get(self, row: str) -> Entry | None:
        """Return the last entry of the row with this id."""
        place = self._places.get(row)
        if place is None:
            return None
        self._file.seek(place)
        return _entry(self._file.readline())

    def add(self, entry: Entry) -> None:
        """Append an entry."""
        line = json.dumps(asdict(entry), ensure_ascii=False).encode("utf-8", "replace")
        self._places[entry.id] = self._file.seek(0, os.SEEK_END)
        self._file.write(line + b"\n")
        self._file.flush()
        if time.monotonic() - self._synced > SYNC_SECONDS:
            os.fsync(self._file.fileno())
            self._synced = time.monotonic()

    def forget(self, row: str) -> None:
        """Leave out of account what the journal says of a row; the line stays."""
        self._places.pop(row, None)

    def _index(self) -> None:
        self._file.seek(0)
        end = unreadable = 0
        for line in self._file:
            if not line.endswith(b"\n"):
                break
            if entry := _entry(line):
                self._places[entry.id] = end
            else:
                unreadable += 1
            end += len(line)
        self._file.truncate(end)  # what a kill in the middle of a line has left
        if unreadable:
            say(f"{self.path}: {unreadable:,} lines are not readable; their rows are asked about again")


def _entry(line: bytes) -> Entry | None:
    try:
        fields: Any = json.loads(line)
        return Entry(**fields)
    except (ValueError, TypeError):
        return None
