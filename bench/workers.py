"""Benchmark of `--workers`: the service with one process and with several, measured in turns.

    python bench/workers.py --queries QUERIES.parquet [--data DATA] [--workers 2] [--rounds 5] [--seconds 4]

Both have all cores of the machine. It prints medians over the rounds, and the memory of each service; memory that its
processes share counts once.
"""

from __future__ import annotations

import argparse
import itertools
import os
import signal
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import uvloop
from load import closed_loop
from serve import ROOT, System, distinct, figures, start

sys.path.insert(0, str(ROOT))

from indexer.artifacts.store import data_dir

CLIENTS = (1, 16)
MODES = ("hybrid", "dense")


def serve(data: Path, workers: int) -> System:
    """Start the service and wait until all of its workers answer."""
    command = [sys.executable, "-m", "service", "--workers", str(workers), "--port"]
    system = start("dowse", "hybrid", command, DOWSE_DATA=str(data))
    end = time.monotonic() + 60
    while not all_serve(system, workers):
        assert time.monotonic() < end, f"not all of {workers} workers serve"
        time.sleep(0.1)
    return system


def all_serve(system: System, workers: int) -> bool:
    """Say whether the metrics list all workers."""
    with urllib.request.urlopen(f"http://127.0.0.1:{system.port}/metrics") as answer:
        return answer.read().count(b"\nprocess_start_time_seconds") == workers


def processes(system: System) -> list[int]:
    """Return the ids of the service's process and of its children."""
    first = system.process.pid
    return [first, *map(int, Path(f"/proc/{first}/task/{first}/children").read_text().split())]


def shared_mb(process: int) -> float:
    """Return the proportional set size (PSS) of a process in MB: shared memory counts in part."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024 / 1e6


def compare(arguments: argparse.Namespace, queries: Iterator[str]) -> None:
    """Measure and print."""
    systems: dict[int, System] = {}
    rounds: list[dict[tuple[int, str, int], dict[str, float]]] = []
    try:
        for workers in (1, arguments.workers):
            systems[workers] = serve(arguments.data, workers)
        for _ in range(arguments.rounds + 1):
            measured = {}
            for mode, clients, workers in itertools.product(MODES, CLIENTS, systems):
                system = System("dowse", systems[workers].process, systems[workers].port, mode)
                requests = map(system.request, queries)
                measured[mode, clients, workers] = figures(
                    uvloop.run(closed_loop(system.port, requests, clients, arguments.seconds))
                )
            rounds.append(measured)
        memory = {workers: sum(map(shared_mb, processes(system))) for workers, system in systems.items()}
    finally:
        for system in systems.values():
            system.process.send_signal(signal.SIGINT)
            system.process.wait(30)
    for mode, clients, workers in rounds[0]:
        results = [measured[mode, clients, workers] for measured in rounds[1:]]
        cells = "   ".join(f"{key} {np.median([result[key] for result in results]):8.2f}" for key in results[0])
        print(f"{mode:7} {clients:3} clients, {workers} workers   {cells}")
    for workers, megabytes in memory.items():
        print(f"{workers} workers: {megabytes:.0f} MB")


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=data_dir(), help="data directory with a live index")
    parser.add_argument("--queries", type=Path, required=True, help="Parquet file whose column text holds the queries")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="to compare with one (default: cores)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds that count (default: 5)")
    parser.add_argument("--seconds", type=float, default=4, help="of each measurement (default: 4)")
    arguments = parser.parse_args()
    queries = list(dict.fromkeys(pq.read_table(arguments.queries)["text"].to_pylist()))
    np.random.default_rng(0).shuffle(queries)
    compare(arguments, distinct(queries))


if __name__ == "__main__":
    main()
