"""Bounded hand-over between the threads of a build: reading ahead of the encoder, and writing behind it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self, TypeVar

T = TypeVar("T")
_END: Any = object()


def ahead(items: Iterable[T], size: int) -> Generator[T]:
    """Yield ``items``, of which a thread makes up to ``size`` before they are asked for.

    What making one of them raises is raised here in its place. Where the caller stops early, so does the thread.
    """
    iterator = iter(items)
    thread = ThreadPoolExecutor(1)
    try:
        pending = deque(thread.submit(next, iterator, _END) for _ in range(size))
        while (item := pending.popleft().result()) is not _END:
            pending.append(thread.submit(next, iterator, _END))
            yield item
    finally:
        thread.shutdown(cancel_futures=True)


class Behind:
    """A thread that makes calls in their order, up to ``size`` of them behind the caller.

    What a call raises is raised by a later `put`, or at the end of the ``with`` block.
    """

    def __init__(self, size: int) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._pending: deque[Future[None]] = deque()
        self._size = size

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            while self._pending and kind is None:
                self._pending.popleft().result()
        finally:
            self._thread.shutdown(cancel_futures=True)

    def put(self, call: Callable[..., None], *arguments: Any) -> None:
        """Make a call soon; wait while too many are outstanding."""
        self._pending.append(self._thread.submit(call, *arguments))
        while len(self._pending) > self._size or self._pending[0].done():
            self._pending.popleft().result()
            if not self._pending:
                return
