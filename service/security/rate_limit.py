"""Rate limits: a token bucket for each caller, which admits a burst and limits the average."""

from __future__ import annotations

import ipaddress
import math
import time
from collections.abc import Callable
from functools import lru_cache

from cachetools import LRUCache

MAX_CALLERS = 10_000
"""Buckets that are kept; the caller that was silent for longest is dropped, and gets a full bucket next time."""


class RateLimiter:
    """Limits the requests of each caller in this process.

    A bucket holds a sixth of a minute's requests and fills evenly. Typing into a search field then passes as one burst.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: LRUCache[str, tuple[float, float]] = LRUCache(MAX_CALLERS)  # used only on the event loop

    def wait_seconds(self, caller: str, per_minute: int) -> int:
        """Count one request of ``caller``; return 0 if it is admitted, else the seconds until the next one may be."""
        now, capacity, per_second = self._clock(), max(1.0, per_minute / 6), per_minute / 60
        tokens, since = self._buckets.get(caller, (capacity, now))
        tokens = min(capacity, tokens + (now - since) * per_second)
        admitted = tokens >= 1
        self._buckets[caller] = (tokens - admitted, now)
        return 0 if admitted else math.ceil((1 - tokens) / per_second)


@lru_cache(maxsize=1024)
def network_of(address: str) -> str:
    """Return the network that counts as one caller: an IPv4 address, or the /64 of an IPv6 address.

    One machine can have all 2^64 addresses of its /64.
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:  # a Unix socket, or the client of a test
        return address
    if parsed.version == 4:
        return address
    return str(parsed.ipv4_mapped or ipaddress.ip_network((parsed, 64), strict=False))
