"""Make what comes next while the present is worked on."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")

AHEAD = 4


@contextmanager
def prefetched(items: Iterator[Item]) -> Iterator[Iterator[Item]]:
    """Yield the same items, made in a thread of their own and at most `AHEAD` of them before they are asked for."""
    waiting: queue.Queue[tuple[Item | None, BaseException | None]] = queue.Queue(AHEAD)
    over = threading.Event()

    def put(item: Item | None, error: BaseException | None) -> None:
        while not over.is_set():
            try:
                waiting.put((item, error), timeout=0.1)
            except queue.Full:
                continue
            return

    def work() -> None:
        try:
            for item in items:
                put(item, None)
                if over.is_set():
                    return
            put(None, StopIteration())
        except BaseException as error:  # noqa: BLE001 - it is raised where the items are asked for
            put(None, error)

    def ask() -> Iterator[Item]:
        while True:
            item, error = waiting.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item  # type: ignore[misc]

    thread = threading.Thread(target=work, daemon=True, name="prefetch")
    thread.start()
    try:
        yield ask()
    finally:
        over.set()
        thread.join()
