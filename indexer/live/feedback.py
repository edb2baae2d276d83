"""Feedback log: clicks and grades of results, one JSON object per line, on the disk before the request is answered.

    $DOWSE_DATA/live/feedback.jsonl

    {"time": "2026-11-21T18:20:04.112+00:00", "query": "copy a file", "document": "shutil.copy2", "grade": null, "generation": "…", "rank": 1}

``grade`` is 0 to 3, null for a click; ``generation`` says which index and which last write the answer came from.
``rank`` is that of the document among the results; null, or absent from older lines, where the client did not say it.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from indexer.artifacts.store import sync
from indexer.live.log import FOLDER, write_all

FILE = "feedback.jsonl"


class FeedbackLog:
    """The feedback file of a data directory."""

    def __init__(self, data: Path) -> None:
        self.folder = data / FOLDER
        self.path = self.folder / FILE

    def append(self, query: str, document: str, grade: int | None, generation: str, rank: int | None = None) -> None:
        """Append one judgement; it is on the disk when this returns.

        Raises:
            OSError: the disk is full, or cannot be written; the file is then as it was.
        """
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        content = {
            "time": now,
            "query": query,
            "document": document,
            "grade": grade,
            "generation": generation,
            "rank": rank,
        }
        line = (json.dumps(content, ensure_ascii=False) + "\n").encode()
        self.folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            end = os.fstat(descriptor).st_size
            if end and os.pread(descriptor, 1, end - 1) != b"\n":  # an unfinished line of a killed writer
                line = b"\n" + line
            try:
                write_all(descriptor, line)
                os.fsync(descriptor)
            except OSError:
                os.ftruncate(descriptor, end)
                raise
            if not end:
                sync(self.folder)
        finally:
            os.close(descriptor)

    def read(self) -> Iterator[dict[str, Any]]:
        """Yield the judgements in their order, without unfinished lines of killed writers."""
        if not self.path.is_file():
            return
        with self.path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                try:
                    content = json.loads(line)
                except ValueError:
                    continue
                if isinstance(content, dict):
                    yield content
