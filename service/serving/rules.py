"""Synonyms and stop words that the service is given: files that are read again when they change."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace
from pathlib import Path

from indexer.errors import UserError
from indexer.index.terms.rules import Rules, read_rules

log = logging.getLogger("dowse.service")


class FollowedRules:
    """Files of synonyms and stop words; where one is not given, the index's own count.

    A file that cannot be understood after a change is reported, and the rules stay as they were.

    Args:
        synonyms: file of synonyms; None for those of the index.
        stop_words: file of stop words; None for those of the index.
        poll_seconds: time between looks at the files.

    Raises:
        UserError: a file cannot be read or understood; it names the line.
    """

    def __init__(self, synonyms: Path | None, stop_words: Path | None, poll_seconds: float) -> None:
        self._synonyms, self._stop_words, self._poll = synonyms, stop_words, poll_seconds
        self._lock = threading.Lock()
        self._seen = self._stamps()
        self._rules = read_rules(synonyms, stop_words)
        self._merged: tuple[Rules, Rules, Rules] | None = None
        self._looked = time.monotonic()

    def over(self, own: Rules) -> Rules:
        """Return the rules for an index with rules of its ``own``."""
        if self._synonyms is None and self._stop_words is None:
            return own
        with self._lock:
            self._refresh()
            if self._merged is None or self._merged[0] is not own or self._merged[1] is not self._rules:
                self._merged = own, self._rules, self._over(own)
            return self._merged[2]

    def _over(self, own: Rules) -> Rules:
        merged = self._rules
        if self._synonyms is None:
            merged = replace(merged, synonyms=own.synonyms)
        if self._stop_words is None:
            merged = replace(merged, stop_words=own.stop_words)
        return merged

    def _refresh(self) -> None:
        now = time.monotonic()
        if now - self._looked < self._poll:
            return
        self._looked = now
        if (stamps := self._stamps()) == self._seen:
            return
        self._seen = stamps
        try:
            self._rules = read_rules(self._synonyms, self._stop_words)
        except UserError as error:
            log.error("the rules for words stay as they were: %s", error)  # noqa: TRY400 - its text says all
        else:
            log.info("read the changed rules for words")

    def _stamps(self) -> list[tuple[int, int, int] | None]:
        """Return what tells that a file has changed; None for one that is not there."""
        stamps: list[tuple[int, int, int] | None] = []
        for path in (self._synonyms, self._stop_words):
            try:
                status = path.stat() if path else None
            except OSError:
                status = None
            stamps.append((status.st_mtime_ns, status.st_size, status.st_ino) if status else None)
        return stamps
