"""Load generator: clients that each keep one connection open, in a separate process that shares no lock with the service.

It implements just enough HTTP/1.1 to send a prepared request and to read an answer with a Content-Length. It takes a
tenth of the time that it measures.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Result:
    """Seconds of each answer by its status, and the duration of the load."""

    seconds: dict[int, list[float]] = field(default_factory=dict)
    elapsed: float = 0.0

    def add(self, status: int, seconds: float) -> None:
        """Count one answer; status 0 stands for a broken connection."""
        self.seconds.setdefault(status, []).append(seconds)


async def closed_loop(port: int, requests: Iterator[bytes], clients: int, duration: float) -> Result:
    """Let ``clients`` send requests for ``duration`` seconds, each the next one as soon as it has its answer."""
    result, started = Result(), time.perf_counter()
    end = started + duration

    async def client() -> None:
        connection = Connection(port)
        while time.perf_counter() < end and (request := next(requests, None)):
            result.add(*await connection.ask(request))
        connection.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    result.elapsed = time.perf_counter() - started
    return result


async def open_loop(port: int, requests: Iterator[bytes], rate: float, duration: float) -> Result:
    """Send ``rate`` requests a second for ``duration`` seconds, without waiting for answers."""
    result, started = Result(), time.perf_counter()
    idle: list[Connection] = []
    open_: set[asyncio.Task[None]] = set()

    async def send(request: bytes) -> None:
        connection = idle.pop() if idle else Connection(port)
        result.add(*await connection.ask(request))
        idle.append(connection)

    for number, request in enumerate(requests):
        if number / rate > duration:
            break
        await asyncio.sleep(max(0.0, started + number / rate - time.perf_counter()))
        task = asyncio.create_task(send(request))
        open_.add(task)
        task.add_done_callback(open_.discard)
    await asyncio.gather(*open_)
    result.elapsed = time.perf_counter() - started
    for connection in idle:
        connection.close()
    return result


class Connection:
    """One kept connection, opened again where the server has closed it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, request: bytes) -> tuple[int, float]:
        """Send a request and read the whole answer; return its status and the seconds, status 0 if the connection broke."""
        started = time.perf_counter()
        try:
            if self._writer is None or self._reader.at_eof():  # the server may have closed it meanwhile
                self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
            self._writer.write(request)
            head = await self._reader.readuntil(b"\r\n\r\n")
            lines = head.lower().split(b"\r\n")
            length = next(int(line[15:]) for line in lines if line.startswith(b"content-length:"))
            await self._reader.readexactly(length)
        except (OSError, asyncio.IncompleteReadError):
            self.close()
            return 0, time.perf_counter() - started
        if b"connection: close" in lines:
            self.close()
        return int(head[9:12]), time.perf_counter() - started

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._writer:
            self._writer.close()
        self._writer = None


def post(path: str, body: bytes) -> bytes:
    """Return a request with a JSON body."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def get(path: str) -> bytes:
    """Return a request without a body."""
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def resident_mb(pid: int) -> float:
    """Return the resident memory of a process in MB (10^6 bytes)."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmRSS"))
