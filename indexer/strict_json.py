"""JSON without a key twice in one object: of two values Python keeps the last, and the writer loses one silently."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any


class DuplicateKeyError(ValueError):
    """An object has a key twice."""

    def __init__(self, key: str) -> None:
        super().__init__(f"the key {key!r:.80} is there twice in one object; keep one of them")
        self.key = key


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of these members, as ``object_pairs_hook`` of `json.loads`.

    Raises:
        DuplicateKeyError: two have the same key.
    """
    content = dict(pairs)
    if len(content) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        raise DuplicateKeyError(next(key for key in content if counts[key] > 1))
    return content


_DECODER = json.JSONDecoder(object_pairs_hook=unique_keys)
"""`json.loads` would make one for each text."""


def loads(text: str | bytes) -> Any:
    """Return the value of a JSON text; raise `DuplicateKeyError` where an object has a key twice."""
    if isinstance(text, bytes):
        text = text.decode(json.detect_encoding(text), "surrogatepass")  # as `json.loads` does
    if text.startswith("\ufeff"):
        raise json.JSONDecodeError("Unexpected UTF-8 BOM (decode using utf-8-sig)", text, 0)
    return _DECODER.decode(text)
