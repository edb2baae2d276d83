"""Benchmark of one service process: seconds until it is ready, resident memory, and latency for one client.

    python bench/service.py [--data DATA] [--queries QUERIES.parquet]

Starts `python -m service` on the live index of DATA several times and reads `/proc`.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from encoder import QUERIES
from load import resident_mb

sys.path.insert(0, str(Path(__file__).parents[1]))

from indexer.artifacts.store import data_dir


def start(data: Path) -> tuple[subprocess.Popen[str], int, float]:
    """Start the service; return process, port and seconds until it was ready."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "service", "--port", "0"],
        env=os.environ | {"DOWSE_DATA": str(data)},
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    assert process.stderr is not None
    port = int(process.stderr.readline().split()[0].rsplit(":", 1)[1])
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return process, port, time.perf_counter() - began
        except OSError:
            if process.poll() is not None:
                sys.exit(process.stderr.read())
        time.sleep(0.01)


def ask(port: int, queries: list[str]) -> list[float]:
    """Search for every query over one connection; return the milliseconds of each."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    took = []
    for query in queries:
        began = time.perf_counter()
        connection.request("POST", "/search", json.dumps({"query": query}), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200, answer.status
        took.append((time.perf_counter() - began) * 1e3)
    return took


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=data_dir(), help="data directory with a live index")
    parser.add_argument("--queries", type=Path, help="Parquet file whose column text holds the queries")
    parser.add_argument("--rounds", type=int, default=5, help="number of starts (default: 5)")
    arguments = parser.parse_args()
    queries = pq.read_table(arguments.queries)["text"].to_pylist()[:300] if arguments.queries else QUERIES * 10
    ready, idle, used, took = [], [], [], []
    for _ in range(arguments.rounds):
        process, port, seconds = start(arguments.data)
        ready.append(seconds)
        idle.append(resident_mb(process.pid))
        took += ask(port, queries)
        used.append(resident_mb(process.pid))
        process.send_signal(signal.SIGINT)
        process.wait(20)
    print(f"ready in            {np.median(ready):6.2f} s   (slowest of {arguments.rounds}: {max(ready):.2f} s)")
    print(f"resident at start   {np.median(idle):6.0f} MB")
    print(f"after {len(queries):4} queries  {np.median(used):6.0f} MB")
    print(
        f"hybrid query, p50   {np.median(took):6.2f} ms  (p95 {np.percentile(took, 95):.2f} ms), one client over HTTP"
    )


if __name__ == "__main__":
    main()
