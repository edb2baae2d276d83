"""Benchmark of the service: Dowse, txtai's API server and a plain FastAPI service, measured in turns in one run.

    python bench/serve.py --queries QUERIES.parquet --corpus CORPUS.parquet --others PYTHON [--data DATA] [--out FOLDER]
    python bench/serve.py --queries QUERIES.parquet --overload 600

The corpus is the one that the live index of DATA was built from. All services run, and one gets requests at a
time; every query is sent once. It prints medians over the rounds, and the median over the rounds of each ratio.
`--overload` measures Dowse alone, with one and a half times the requests that it can answer.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pyarrow.parquet as pq
import uvloop
from load import Result, closed_loop, get, open_loop, post, resident_mb

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from indexer.artifacts.store import Store, data_dir
from indexer.inference.encoder import Encoder
from indexer.progress import say

CLIENTS = (1, 16)
START_SECONDS = 600


@dataclass(frozen=True)
class System:
    """A running service and its requests."""

    name: str
    process: subprocess.Popen[bytes]
    port: int
    mode: str = ""

    def request(self, query: str) -> bytes:
        """Return the request for the ten best documents."""
        if self.name == "dowse":
            return post("/search", json.dumps({"query": query, "mode": self.mode}).encode())
        return get(f"/search?{'query' if self.mode == 'hybrid' else 'q'}={quote(query)}")


def start(name: str, mode: str, command: list[str], **environment: str) -> System:
    """Start a service whose command takes the port as its last argument, and wait until it answers."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen([*command, str(port)], cwd=ROOT, env=os.environ | environment, stderr=subprocess.DEVNULL)
    system, end = System(name, process, port, mode), time.monotonic() + START_SECONDS
    while 200 not in uvloop.run(closed_loop(port, iter([system.request("warm up")]), 1, 60)).seconds:
        assert process.poll() is None, f"{name} has ended"
        assert time.monotonic() < end, f"{name} does not answer"
        time.sleep(0.5)
    say(f"{name} answers on port {port}")
    return system


def dowse(data: Path, mode: str) -> System:
    """Start Dowse."""
    return start("dowse", mode, [sys.executable, "-m", "service", "--port"], DOWSE_DATA=str(data))


def distinct(queries: list[str]) -> Iterator[str]:
    """Yield the queries, then each with its words rotated by one more position, and so on.

    No service has had one of them before, and they are as long as real ones. After a full rotation a number is appended.
    """
    words = [query.split() for query in queries]
    for turn in itertools.count():
        for query in words:
            rounds, position = divmod(turn, len(query))
            yield " ".join([*query[position:], *query[:position], *([str(rounds)] if rounds else [])])


def encode(model: Path, pipe: Connection) -> None:
    """Encode the received queries one by one and send the seconds of each: the lower bound of every service."""
    encoder = Encoder.open(model)
    while (queries := pipe.recv()) is not None:
        seconds = []
        for query in queries:
            started = time.perf_counter()
            encoder.encode_query(query)
            seconds.append(time.perf_counter() - started)
        pipe.send(seconds)


def figures(result: Result) -> dict[str, float]:
    """Return milliseconds and requests per second of the answers; each must have status 200."""
    assert set(result.seconds) == {200}, {status: len(seconds) for status, seconds in result.seconds.items()}
    took = np.array(result.seconds[200]) * 1e3
    p50, p95, p99 = np.percentile(took, (50, 95, 99))
    return {"p50": p50, "p95": p95, "p99": p99, "per_second": len(took) / result.elapsed}


def compare(arguments: argparse.Namespace, queries: Iterator[str]) -> list[dict[str, dict[str, float]]]:
    """Return for every round the figures of each system with each number of clients."""
    index = Store("index", arguments.data)
    model = Store("model", arguments.data).path(index.manifest(index.current_id() or "").parents["model"])
    anchors = [str(arguments.others), str(ROOT / "bench" / "anchors.py")]
    spawn = multiprocessing.get_context("spawn")
    pipe, other = spawn.Pipe()
    floor = spawn.Process(target=encode, args=(model, other), daemon=True)
    floor.start()
    systems: dict[str, System] = {}
    rounds = []
    try:
        systems["dowse"] = dowse(arguments.data, "hybrid")
        systems["dowse, dense"] = System("dowse", systems["dowse"].process, systems["dowse"].port, "dense")
        for name, mode in (("txtai", "hybrid"), ("plain", "dense")):
            systems[name] = start(name, mode, [*anchors, name, str(model), str(arguments.corpus), str(arguments.kept)])
        for number in range(arguments.rounds + 1):
            measured: dict[str, dict[str, float]] = {}
            pipe.send([next(queries) for _ in range(100)])
            measured["encoding alone"] = {"p50": float(np.median(pipe.recv())) * 1e3}
            for name, system in systems.items():
                for clients in CLIENTS:
                    requests = map(system.request, queries)
                    result = uvloop.run(closed_loop(system.port, requests, clients, arguments.seconds))
                    measured[f"{name}, {clients}"] = figures(result)
            say(f"round {number} of {arguments.rounds}" + ("" if number else " (warm-up)"))
            rounds.append(measured)
    finally:
        pipe.send(None)
        for system in systems.values():
            system.process.send_signal(signal.SIGINT)
            system.process.wait(30)
    return rounds[1:]


RATIOS = [
    ("against txtai: p50, one client", "txtai, 1", "dowse, 1", "p50", 3.5),
    ("against txtai: requests per second, 16 clients", "dowse, 16", "txtai, 16", "per_second", 5.0),
    ("against txtai: p99, 16 clients", "txtai, 16", "dowse, 16", "p99", 5.0),
    ("against the plain service, dense: p50, one client", "plain, 1", "dowse, dense, 1", "p50", 2.2),
    ("against the plain service, dense: requests per second, 16 clients", "dowse, dense, 16", "plain, 16", "per_second", 4.0),
    ("hybrid query over HTTP, by encoding alone: p50", "dowse, 1", "encoding alone", "p50", 1.6),
]  # fmt: skip


def report(rounds: list[dict[str, dict[str, float]]], out: Path | None) -> None:
    """Print medians and ratios, and write them with a chart where a folder is given."""
    medians = {
        name: {key: float(np.median([measured[name][key] for measured in rounds])) for key in figure}
        for name, figure in rounds[0].items()
    }
    for name, figure in medians.items():
        print(f"{name:22} " + "   ".join(f"{key} {value:8.2f}" for key, value in figure.items()))
    ratios = []
    for what, above, below, key, bar in RATIOS:
        ratio = float(np.median([measured[above][key] / measured[below][key] for measured in rounds]))
        ratios.append({"what": what, "ratio": ratio, "bar": bar})
        print(f"{what:68} {ratio:6.2f}   (bar: {'at most' if bar == 1.6 else 'at least'} {bar})")
    if out:
        out.mkdir(parents=True, exist_ok=True)
        (out / "serve.json").write_text(json.dumps({"medians": medians, "ratios": ratios}, indent=2) + "\n")
        chart(medians, out / "serve.svg")


def chart(medians: dict[str, dict[str, float]], path: Path) -> None:
    """Draw latency with one client, latency and throughput with many."""
    from matplotlib.figure import Figure

    names = ["dowse", "txtai", "dowse, dense", "plain"]
    panels = [("ms with one client (p50)", 1, "p50"), ("ms with 16 clients (p99)", 16, "p99"), ("requests/s, 16 clients", 16, "per_second")]  # fmt: skip
    figure = Figure(figsize=(10, 2.6), layout="constrained")
    for axes, (title, clients, key) in zip(figure.subplots(1, 3), panels, strict=True):
        values = [medians[f"{name}, {clients}"][key] for name in names]
        bars = axes.barh(names, values, color=["#2a6f97", "#b5b5b5", "#2a6f97", "#b5b5b5"])
        axes.bar_label(bars, fmt="%.1f", padding=3)
        axes.set(title=title, xlim=(0, max(values) * 1.2))
        axes.invert_yaxis()
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)


def overload(arguments: argparse.Namespace, queries: list[str]) -> None:
    """Send one and a half times the requests that the service can answer; print their outcome and the memory."""
    system = dowse(arguments.data, "hybrid")
    endless = map(system.request, distinct(queries))
    try:
        capacity = figures(uvloop.run(closed_loop(system.port, endless, 16, 10)))["per_second"]
        rate = 1.5 * capacity
        print(f"capacity {capacity:.0f} requests/s; asking for {rate:.0f} for {arguments.overload} s")
        total, memory = Result(), []
        for _ in range(10):
            part = uvloop.run(open_loop(system.port, endless, rate, arguments.overload / 10))
            for status, seconds in part.seconds.items():
                total.seconds.setdefault(status, []).extend(seconds)
            total.elapsed += part.elapsed
            memory.append(resident_mb(system.process.pid))
        for status, seconds in sorted(total.seconds.items()):
            p50, p99 = np.percentile(np.array(seconds) * 1e3, (50, 99))
            print(
                f"{status}: {len(seconds):8,} ({len(seconds) / total.elapsed:6.1f}/s)   p50 {p50:8.2f} ms   p99 {p99:8.2f} ms   slowest {max(seconds) * 1e3:.0f} ms"
            )
        print("resident MB after each tenth: " + " ".join(f"{megabytes:.0f}" for megabytes in memory))
        assert set(total.seconds) <= {200, 429}, "other answers than 200 and 429"
    finally:
        system.process.send_signal(signal.SIGINT)
        system.process.wait(30)


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=data_dir(), help="data directory with a live index")
    parser.add_argument("--queries", type=Path, required=True, help="Parquet file whose column text holds the queries")
    parser.add_argument("--corpus", type=Path, help="Parquet file that the live index was built from")
    parser.add_argument("--others", type=Path, help="Python of the environment of bench/anchors.py")
    parser.add_argument(
        "--kept", type=Path, default=data_dir() / "bench" / "anchors", help="where the others keep their indexes"
    )
    parser.add_argument("--rounds", type=int, default=5, help="rounds that count (default: 5)")
    parser.add_argument("--seconds", type=float, default=5, help="of each measurement (default: 5)")
    parser.add_argument(
        "--overload", type=int, metavar="SECONDS", help="instead send more requests than can be answered"
    )
    parser.add_argument("--out", type=Path, help="folder for serve.json and the chart serve.svg")
    arguments = parser.parse_args()
    queries = list(dict.fromkeys(pq.read_table(arguments.queries)["text"].to_pylist()))
    np.random.default_rng(0).shuffle(queries)
    if arguments.overload:
        overload(arguments, queries)
        return
    if not arguments.corpus or not arguments.others:
        parser.error("--corpus and --others are needed to compare, unless --overload is given")
    report(compare(arguments, distinct(queries)), arguments.out)


if __name__ == "__main__":
    main()
