"""The vectors of the latest queries: people type, page through results and ask what others have just asked."""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float32]


class QueryVectors:
    """Least recently used first out, bounded in bytes. Safe to use from several threads; belongs to one encoder.

    Args:
        most_bytes: of queries and vectors together; 0 keeps nothing.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._bytes = 0
        self._vectors: OrderedDict[str, Vector] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._vectors)

    def get(self, query: str) -> Vector | None:
        """Return the vector of a query, shape (dimension,), or None; nobody may write into it."""
        with self._lock:
            vector = self._vectors.get(query)
            if vector is not None:
                self._vectors.move_to_end(query)
            return vector

    def put(self, query: str, vector: Vector) -> None:
        """Keep a vector, and let go of those that were not asked for for longest."""
        kept = np.array(vector)  # not a view that would keep a whole batch
        kept.flags.writeable = False
        size = _size(query, kept)
        if size > self._most:
            return
        with self._lock:
            if query not in self._vectors:
                self._bytes += size
                self._vectors[query] = kept
            while self._bytes > self._most:
                self._bytes -= _size(*self._vectors.popitem(last=False))


def _size(query: str, vector: Vector) -> int:
    return sys.getsizeof(query) + sys.getsizeof(vector) + 100  # and the entry itself
