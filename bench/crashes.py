"""Crash test of writes: two services, three writers, compaction, kill -9 of all of them, and older copies of the log.

    python bench/crashes.py --data data --minutes 3 --seed 0

Services and compactions over one data directory are killed at random, and the folder `live/` is replaced by an older
copy, both while services run and while none does. Every write that was answered with 200 must be there in the end, the
latest version of each document, or the service's log must have said that writes are gone since the copy was restored.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq
from service_process import ROOT, ServiceProcess

sys.path.insert(0, str(ROOT))

from indexer.build.build import build
from indexer.build.settings import BuildSettings

WRITERS = 3
SAID_GONE = ("those that the log lacks now are gone", "is absent or older than the index")
"""What the log says where acknowledged writes are missing."""
Version = tuple[float, float, str | None]
"""Of a document: when the write was sent, when it was answered, and its text; None for a deletion."""


@dataclass
class History:
    """What writers have sent of each document, and what was answered.

    Attributes:
        acknowledged: versions in the order of their answers.
        unanswered: versions that may count or not: the service died, or refused after a time-out.
        statuses: number of answers.
    """

    acknowledged: dict[str, list[Version]] = field(default_factory=dict)
    unanswered: dict[str, list[Version]] = field(default_factory=dict)
    statuses: Counter[int] = field(default_factory=Counter)


class Writer(threading.Thread):
    """A client that writes its own documents, to one of the services, until it is stopped."""

    def __init__(self, number: int, services: list[ServiceProcess | None], history: History, seed: int) -> None:
        super().__init__(daemon=True)
        self._number, self._services, self._history = number, services, history
        self._chance = random.Random(seed * 100 + number)  # noqa: S311 - seeded
        self.stopped = threading.Event()

    def run(self) -> None:
        """Write."""
        count = 0
        while not self.stopped.is_set():
            count += 1
            name = f"w{self._number}-{self._chance.randrange(40)}"
            text = None if self._chance.random() < 0.2 else f"The ship {self._number} number {count} sails."
            service = self._chance.choice(self._services)
            if service is None:
                time.sleep(0.02)
                continue
            sent = time.monotonic()
            try:
                status = write(service.port, name, text)
            except (OSError, http.client.HTTPException):
                status = 0
            self._history.statuses[status] += 1
            known = self._history.acknowledged if status == 200 else self._history.unanswered
            if status in {200, 0, 504}:
                known.setdefault(name, []).append((sent, time.monotonic(), text))


def write(port: int, name: str, text: str | None) -> int:
    """Put a document, or delete it; return the status."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        if text is None:
            connection.request("DELETE", f"/documents?id={quote(name)}")
        else:
            body = json.dumps({"documents": [{"id": name, "text": text}]})
            connection.request("PUT", "/documents", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


def read(port: int, name: str) -> str | None:
    """Return the text of a document, None if there is none."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", f"/documents/{quote(name)}")
        answer = connection.getresponse()
        content = json.loads(answer.read())
        if answer.status == 404:
            return None
        assert answer.status == 200, content
        text: str = content["text"]
        return text
    finally:
        connection.close()


class Storm:
    """Services, compactions and copies of one data directory.

    Attributes:
        restored: of each restored copy, when it was made, and when it had replaced the log.
        counts: what was done, how often.
    """

    def __init__(self, data: Path, history: History, chance: random.Random) -> None:
        self.data, self.history, self.chance = data, history, chance
        self.services: list[ServiceProcess | None] = [None, None]
        self.ended: list[ServiceProcess] = []
        self.restored: list[tuple[float, float]] = []
        self.counts: Counter[str] = Counter()
        self._copy: tuple[float, Path] | None = None

    def start(self, number: int) -> None:
        """Start a service."""
        self.services[number] = ServiceProcess(self.data, "--writable", "--cores", "1", "--poll-seconds", "0.1")

    def kill(self, number: int) -> None:
        """Kill a service."""
        service, self.services[number] = self.services[number], None
        if service:
            service.end(signal.SIGKILL)
            self.ended.append(service)
            self.counts["services killed"] += 1

    def compact(self) -> None:
        """Compact, and kill the compaction every second time."""
        process = subprocess.Popen(
            [sys.executable, "-m", "indexer", "compact"], cwd=ROOT, env=os.environ | {"DOWSE_DATA": str(self.data)},
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            _, said = process.communicate(timeout=self.chance.uniform(0.5, 4) if self.chance.random() < 0.5 else 120)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            self.counts["compactions killed"] += 1
            return
        self.counts["compactions" if process.returncode == 0 else "compactions refused"] += 1
        assert "Traceback" not in said, said

    def copy(self) -> None:
        """Keep a copy of the log, as a backup does; the lock makes it whole."""
        from indexer.live.log import WriteLog

        target = self.data.parent / f"copy-{time.monotonic_ns()}"
        with WriteLog(self.data).locked():
            shutil.copytree(self.data / "live", target)
            self._copy = time.monotonic(), target
        self.counts["copies"] += 1

    def restore(self) -> None:
        """Replace the log by the copy."""
        if self._copy:
            made, older = self._copy
            new = shutil.copytree(older, self.data.parent / f"new-{time.monotonic_ns()}")
            (self.data / "live").rename(self.data.parent / f"old-{time.monotonic_ns()}")
            new.rename(self.data / "live")
            self.restored.append((made, time.monotonic()))
            self.counts["copies restored"] += 1

    def step(self) -> None:
        """Do something unlucky."""
        time.sleep(self.chance.uniform(0.1, 1.5))
        what = self.chance.random()
        if what < 0.4:
            number = self.chance.randrange(2)
            self.kill(number)
            self.start(number)
        elif what < 0.75:
            self.compact()
        elif what < 0.9 or not self._copy:
            self.copy()
        elif what < 0.95:
            self.restore()
        else:
            for number in range(2):
                self.kill(number)
            self.restore()
            for number in range(2):
                self.start(number)


def missing(storm: Storm, texts: dict[str, str | None]) -> tuple[list[str], list[str]]:
    """Return the documents that are not as they were acknowledged: lost, and given up with a restored copy."""
    lost, given_up = [], []
    for name, versions in storm.history.acknowledged.items():
        sent, answered, text = versions[-1]
        later = {version[2] for version in storm.history.unanswered.get(name, []) if version[1] > sent}
        if texts[name] in {text, *later}:
            continue
        # A write of the time between copy and restoration may be gone, which its restoration says.
        gone = any(made < answered and sent < done for made, done in storm.restored)
        (given_up if gone else lost).append(f"{name}: {text!r} was answered, {texts[name]!r} is there")
    return lost, given_up


def main() -> None:
    """Run the storm; end with status 1 where an acknowledged write is missing and nothing has said so."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data"), help="data directory with a model (default: data)")
    parser.add_argument("--minutes", type=float, default=3.0, help="how long (default: 3)")
    parser.add_argument("--seed", type=int, default=0, help="of the chance (default: 0)")
    arguments = parser.parse_args()
    history = History()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        shutil.copytree(arguments.data / "models", data / "models")
        corpus = data / "corpus.parquet"
        pq.write_table(pa.table({"id": ["a", "b"], "text": ["The cat sits.", "The dog runs."]}), corpus)
        build(str(corpus), BuildSettings(language="en"), data)
        storm = Storm(data, history, random.Random(arguments.seed))  # noqa: S311 - seeded
        for number in range(2):
            storm.start(number)
        writers = [Writer(number, storm.services, history, arguments.seed) for number in range(WRITERS)]
        for writer in writers:
            writer.start()
        end = time.monotonic() + 60 * arguments.minutes
        while time.monotonic() < end:
            storm.step()
        for writer in writers:
            writer.stopped.set()
        for writer in writers:
            writer.join()
        shown: list[dict[str, str | None]] = []
        for number in range(2):  # one that has followed all the time, one that starts now
            service = storm.services[number]
            time.sleep(1)
            shown.append({name: read(service.port, name) for name in history.acknowledged} if service else {})
            storm.kill(number)
            if not number:
                storm.kill(1)
                storm.start(1)
        logs = ["".join(service.log) for service in storm.ended]
    lost, given_up = missing(storm, shown[1])
    said = sum(any(text in log for text in SAID_GONE) for log in logs)
    tracebacks = [log[log.index("Traceback") :][:3000] for log in logs if "Traceback" in log]
    print(
        f"{sum(map(len, history.acknowledged.values())):,} writes answered with 200, statuses {dict(history.statuses)}"
    )
    print(", ".join(f"{name}: {count}" for name, count in storm.counts.items()))
    print(f"{len(lost)} documents lost; {len(given_up)} given up with a restored copy, which {said} logs say")
    print(f"{len(tracebacks)} logs with a traceback; both services show the same: {shown[0] == shown[1]}")
    for line in [*lost, *(given_up if not said else []), *tracebacks]:
        print(line)
    raise SystemExit(bool(lost or tracebacks or shown[0] != shown[1] or (given_up and not said)))


if __name__ == "__main__":
    main()
