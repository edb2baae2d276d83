"""Least-recently-used cache, bounded by the number or by the size of its entries, for use from several threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from cachetools import LRUCache

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Cache(Generic[Key, Value]):
    """Values by key; where the capacity is exceeded, the least recently used entries are dropped.

    Args:
        capacity: maximum total size, in units of ``size_of``; 0 keeps nothing.
        size_of: size of an entry; by default each entry counts 1.
    """

    def __init__(self, capacity: float, size_of: Callable[[Key, Value], float] = lambda _key, _value: 1) -> None:
        self._capacity = capacity
        self._size_of = size_of
        self._entries: LRUCache[Key, tuple[float, Value]] = LRUCache(capacity, getsizeof=lambda entry: entry[0])
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Key) -> Value | None:
        """Return the cached value of ``key``, or None."""
        with self._lock:
            entry = self._entries.get(key)
        return None if entry is None else entry[1]

    def put(self, key: Key, value: Value) -> None:
        """Add a value, unless it alone is larger than the capacity."""
        size = self._size_of(key, value)
        if size <= self._capacity:
            with self._lock:
                self._entries[key] = (size, value)

    def get_or_compute(self, key: Key, compute: Callable[[], Value]) -> Value:
        """Return the cached value, or compute and add it; two threads that ask at once may both compute it."""
        with self._lock:
            entry = self._entries.get(key)
        if entry is not None:
            return entry[1]
        value = compute()
        self.put(key, value)
        return value
