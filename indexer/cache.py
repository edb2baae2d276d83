"""Least-recently-used caches, bounded by the number or by the size of their entries, for use from several threads.

What is cached of one caller's queries must not be told to another by how fast an answer comes. `OwnedCache` therefore
keeps the entries of each `owner` apart; the service sets the owner to the key of the request.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from contextvars import ContextVar
from functools import lru_cache
from inspect import ismethod
from typing import Generic, TypeVar
from weakref import WeakMethod

from cachetools import LRUCache

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

owner: ContextVar[str] = ContextVar("owner", default="")
"""For whom the present work is done: the id of an API key, or empty where there are no keys."""
ENTRY_BYTES = 400
"""Memory that an entry takes beside its key and its value: dictionaries, order and tuples."""


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


class OwnedCache(Generic[Key, Value]):
    """A `Cache` in which nobody finds the entries of another `owner`; all owners share its capacity.

    Args:
        capacity: maximum total size, in units of ``size_of``; 0 keeps nothing.
        size_of: size of an entry.
    """

    def __init__(self, capacity: float, size_of: Callable[[Key, Value], float]) -> None:
        self._entries: Cache[tuple[str, Key], Value] = Cache(capacity, lambda key, value: size_of(key[1], value))

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Key) -> Value | None:
        """Return the owner's cached value of ``key``, or None."""
        return self._entries.get((owner.get(), key))

    def put(self, key: Key, value: Value) -> None:
        """Add a value for the owner, unless it alone is larger than the capacity."""
        self._entries.put((owner.get(), key), value)

    def get_or_compute(self, key: Key, compute: Callable[[], Value]) -> Value:
        """Return the owner's cached value, or compute and add it."""
        return self._entries.get_or_compute((owner.get(), key), compute)


def cached_for_owner(compute: Callable[[Key], Value], entries: int) -> Callable[[Key], Value]:
    """Return ``compute`` with its last values cached, for each `owner` apart, as `OwnedCache` does.

    It is for small values that take microseconds to compute: looking one up takes a tenth of the time of an `OwnedCache`.
    A method is held weakly: its object usually holds the result, and with a circle of references an index that is no longer
    served would stay, with the files that it has mapped, until Python looks for circles.

    Args:
        compute: always returns the same for the same key.
        entries: how many values all owners share.
    """
    computing = WeakMethod(compute) if ismethod(compute) else lambda: compute

    @lru_cache(entries)
    def of_owner(_owner: str, key: Key) -> Value:
        there: Callable[[Key], Value] | None = computing()
        if there is None:
            raise ReferenceError("the object whose method is cached is gone")
        return there(key)

    return lambda key: of_owner(owner.get(), key)
