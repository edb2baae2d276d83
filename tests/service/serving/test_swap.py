"""A new index goes live while fifty clients search: nothing fails, no answer is of two indexes, memory comes back."""

from __future__ import annotations

import json
import re
import threading
from http.client import HTTPConnection, HTTPException
from pathlib import Path

CLIENTS = 50
DOCUMENTS = 400
SWAPS = 8
WORDS = ("cat", "dog", "king", "storm", "river", "winter", "cheese", "sailor")


def columns(generation: int) -> dict[str, list]:
    """A corpus whose ids and texts say of which generation they are."""
    return {
        "id": [f"{generation}-{number}" for number in range(DOCUMENTS)],
        "text": [
            f"The {WORDS[number % 8]} sleeps in the {WORDS[(number + generation) % 7]}." for number in range(DOCUMENTS)
        ],
        "generation": [generation] * DOCUMENTS,
    }


def mapped(process_id: int) -> set[str]:
    """The indexes of which a process has files in its memory."""
    maps = Path(f"/proc/{process_id}/maps").read_text(encoding="utf-8")
    return set(re.findall(r"/indexes/([0-9TZ]+-[0-9a-f]{8})/", maps))


def resident(process_id: int) -> int:
    """Memory of a process in bytes that no file stands behind."""
    status = Path(f"/proc/{process_id}/status").read_text(encoding="utf-8")
    return int(re.findall(r"^RssAnon:\s+(\d+) kB", status, re.MULTILINE)[0]) * 1024


def count_threads(process_id: int) -> int:
    """Threads of a process."""
    return len(list(Path(f"/proc/{process_id}/task").iterdir()))


def test_indexes_change_under_fifty_clients(data, publish, start_service, eventually):
    """While eight indexes follow each other under fifty clients, every search is answered, and by one index alone.

    Afterwards no file of an old one is mapped, no thread of its encoder is left, and memory is at its level again.
    """
    published = [publish(columns(0), data).manifest.id]
    running = start_service(data, "--poll-seconds", "0.05")
    process = running.process.pid
    stop = threading.Event()
    failures: list[object] = []
    seen: set[str] = set()

    def search(client: int) -> None:
        connection = HTTPConnection("127.0.0.1", running.port, timeout=60)
        body = json.dumps({"query": WORDS[client % 8], "mode": ("hybrid", "lexical", "dense")[client % 3], "top_k": 20})
        while not stop.is_set():
            try:
                connection.request("POST", "/search", body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                content = json.loads(answer.read())
                generations = {result["metadata"]["generation"] for result in content["results"]}
                of = published.index(content["index"]["id"]) if content["index"]["id"] in published else None
                # The id is known a moment after the index is live: then the documents must at least agree.
                if answer.status != 200 or len(generations) != 1 or (of is not None and generations != {of}):
                    failures.append((answer.status, content))
                seen.add(content["index"]["id"])
            except (OSError, HTTPException, ValueError, KeyError) as error:
                failures.append(error)
                return
        connection.close()

    clients = [threading.Thread(target=search, args=(number,)) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    held: list[int] = []
    threads: list[int] = []
    try:
        eventually(lambda: published[0] in seen or failures, "the first index answers")
        for generation in range(1, SWAPS + 1):
            published.append(publish(columns(generation), data).manifest.id)
            eventually(lambda: published[-1] in seen or failures, "the new index answers")
            eventually(lambda: mapped(process) == {published[-1]}, "the old index is let go")
            held.append(resident(process))
            threads.append(count_threads(process))
        # Threads that requests are answered in come and go with the load; those of an encoder that was kept would stay.
        eventually(lambda: count_threads(process) <= threads[0] + 2, f"no thread is left over, of {threads}")
    finally:
        stop.set()
        for client in clients:
            client.join()
    assert failures == []
    assert seen == set(published)
    # Under load the first swaps bring threads, and each thread a heap of its own: a leak goes on growing after them.
    assert held[-1] < held[SWAPS // 2 - 1] * 1.2, held
