"""Redaction of queries: what is left out before one is kept."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections import OrderedDict
from typing import Literal

from indexer.live.query_statistics import REDACTED

EMAIL = re.compile(r"[^\s@<>,;:]+@[^\s@<>,;:]+\.[^\s@<>,;:]+")
NUMBER = re.compile(r"(?<!\w)\+?\d(?:[\s./()-]{0,3}\d){5,}(?!\w)")
"""Six digits or more with what people write between them: phone, card, account and order numbers."""
REMEMBERED = 100_000
"""Rare queries that `RareQueries` counts at most."""


def redacted(query: str, how: Literal["personal", "none"]) -> str:
    """Return a query with e-mail addresses and long numbers replaced, or as it is."""
    if how == "none":
        return query
    email, number = REDACTED
    return NUMBER.sub(number, EMAIL.sub(email, query))


class RareQueries:
    """Counts queries without keeping their words: only a keyed digest in memory, whose key ends with the process."""

    def __init__(self, min_count: int) -> None:
        self._min_count = min_count
        self._key = secrets.token_bytes(16)
        self._counts: OrderedDict[bytes, int] = OrderedDict()

    def may_keep(self, query: str) -> bool:
        """Count a query, and say whether it was searched often enough in this process for its words to be kept."""
        if self._min_count <= 1:
            return True
        digest = hashlib.blake2b(query.encode(), digest_size=12, key=self._key).digest()
        count = self._counts.pop(digest, 0) + 1
        self._counts[digest] = count
        if len(self._counts) > REMEMBERED:
            self._counts.popitem(last=False)
        return count >= self._min_count
