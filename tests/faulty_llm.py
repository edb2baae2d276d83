"""A real HTTP server with the OpenAI protocol that fails on demand and counts its requests by row."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

KINDS = ("question", "claim", "title", "keywords", "search")


def write_frame(path: Path, rows: int, pieces: int = 1) -> Path:
    """Write a training frame whose texts carry their numbers; ``pieces`` consecutive rows are one document."""
    numbers = range(rows)
    columns: dict[str, Any] = {
        "id": [f"d{number // pieces}#{number % pieces}" for number in numbers],
        "document": [f"d{number // pieces}" for number in numbers],
        "title": [None if number % 3 else f"Title {number}" for number in numbers],
        "text": [f"Entry {number} tells of the cat that sits in the garden of the old castle." for number in numbers],
        "price": [float(number) for number in numbers],
    }
    columns |= {f"query_{place}": pa.nulls(rows, pa.string()) for place in range(1, 6)}
    pq.write_table(pa.table(columns), path)
    return path


def good(number: int) -> dict[str, str]:
    """Return a complete answer about an entry."""
    return {kind: f"{kind} about entry {number}" for kind in KINDS}


class FaultyLLM:
    """The server; ``url`` is its base URL.

    Args:
        faults: row number → what goes wrong with its requests, one after the other; then, or without, all goes well.
            A number is an HTTP status (429 with Retry-After 0), a text is the content of the answer, ``slow`` waits
            a second and a half, ``cut`` promises more bytes than it sends, ``reset`` closes the connection, ``html`` is the
            page of a proxy.
        refuses: the kinds of ``response_format`` that are answered with 400.
        dies_after: completions after which the server is down.
        key: the key that it requires.
        latency: seconds that each answer takes.
        answer: entry → content of a good answer to a chat; by default queries about it.
        place: which of the entries in a chat's last message it is about.
    """

    def __init__(
        self,
        faults: dict[int, list[int | str]] | None = None,
        *,
        refuses: tuple[str, ...] = (),
        dies_after: int | None = None,
        key: str | None = None,
        models: tuple[str, ...] = ("tiny",),
        latency: float = 0.0,
        answer: Callable[[int], str] = lambda number: json.dumps(good(number)),
        place: int = 0,
    ) -> None:
        self.answer, self.place = answer, place
        self.faults = {number: list(queue) for number, queue in (faults or {}).items()}
        self.refuses, self.dies_after, self.key, self.models, self.latency = refuses, dies_after, key, models, latency
        self.asked: Counter[int] = Counter()
        self.answered: Counter[int] = Counter()
        self.bodies: list[dict[str, Any]] = []
        self.moments: list[float] = []
        self.max_concurrent = self._concurrent = 0
        self.dead = False
        self.lock = threading.Lock()

    def __enter__(self) -> Self:
        llm = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: Any) -> None:
                pass

            def do_GET(self) -> None:
                if llm.allowed(self):
                    llm.reply(self, 200, {"data": [{"id": name} for name in llm.models]})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if llm.allowed(self):
                    llm.complete(self, body)

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                """Say nothing of clients that went away."""

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1"
        self._thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()

    def allowed(self, handler: BaseHTTPRequestHandler) -> bool:
        """Answer 401 without the right key, and close the connection when the server is dead."""
        if self.dead:
            self.hang_up(handler)
            return False
        if self.key and handler.headers["Authorization"] != f"Bearer {self.key}":
            self.reply(handler, 401, {"error": f"wrong credentials: {handler.headers['Authorization']}"})
            return False
        return True

    def complete(self, handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        """Answer one completion, of a chat or of a prompt, or fail as arranged."""
        asked = body["prompt"] if "prompt" in body else body["messages"][-1]["content"]
        number = int(re.findall(r"Entry (\d+) tells", asked)[-1 if "prompt" in body else self.place])
        wanted = body.get("response_format", {}).get("type", "none")
        with self.lock:
            self.bodies.append(body)
            if wanted in self.refuses:
                fault: int | str | None = "refused format"
            else:
                self.asked[number] += 1
                self.moments.append(time.monotonic())
                fault = self.faults[number].pop(0) if self.faults.get(number) else None
            if self.dies_after is not None and sum(self.asked.values()) > self.dies_after:
                self.dead = True
                self.server.socket.close()
            self._concurrent += 1
            self.max_concurrent = max(self.max_concurrent, self._concurrent)
        try:
            if self.dead:
                self.hang_up(handler)
            else:
                time.sleep(self.latency)
                self.fail_or_answer(handler, body, number, fault)
        finally:
            with self.lock:
                self._concurrent -= 1

    def fail_or_answer(
        self, handler: BaseHTTPRequestHandler, body: dict[str, Any], number: int, fault: int | str | None
    ) -> None:
        """Do what was arranged for this request."""
        if fault == "refused format":
            self.reply(
                handler, 400, {"error": f"response_format of type {body['response_format']['type']} is unsupported"}
            )
        elif isinstance(fault, int):
            self.reply(handler, fault, {"error": "as arranged"}, {"Retry-After": "0"} if fault == 429 else {})
        elif fault == "reset":
            self.hang_up(handler)
        elif fault == "cut":
            handler.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n{"choices": [{"mess')
            self.hang_up(handler)
        elif fault == "html":
            self.reply(handler, 200, b"<html><body>Welcome to the proxy</body></html>")
        else:
            if fault == "slow":
                time.sleep(1.5)
                fault = None
            with self.lock:
                self.answered[number] += 1
            if "prompt" in body:
                lines = "\n- ".join(good(number).values())
                self.reply(handler, 200, {"choices": [{"text": f" {lines}\n\nText: of its own"}]})
                return
            content = self.answer(number) if fault is None else fault
            self.reply(handler, 200, {"choices": [{"message": {"role": "assistant", "content": content}}]})

    @staticmethod
    def reply(handler: BaseHTTPRequestHandler, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        """Send one HTTP response."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(data)

    @staticmethod
    def hang_up(handler: BaseHTTPRequestHandler) -> None:
        """Close the connection, also in the middle of a response."""
        handler.wfile.flush()
        handler.close_connection = True
        handler.connection.shutdown(socket.SHUT_RDWR)


def unused_port() -> int:
    """Return a port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
