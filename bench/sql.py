"""Benchmark of `trainer prepare` on a PostgreSQL table: rows per second and peak memory.

    python bench/sql.py [--rows 1000000] [--length 200]

It starts a PostgreSQL server (package `pgserver`) and fills a table. Then it runs `python -m trainer prepare` on it in a
separate process, whose peak memory the system reports. Everything is removed afterwards.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY / "tests"))

import psycopg
from postgres import running_server

BAR_MB = 600


def fill(folder: Path, rows: int, length: int) -> None:
    """Create the table: a number, a text of ``length`` characters, a price."""
    parts = " || ' ' || ".join(f"md5(({part} * g)::text)" for part in range(1, length // 33 + 2))
    with psycopg.connect(host=str(folder), user="postgres", autocommit=True) as server:
        server.execute(
            f"create table listings as select g as id, left({parts}, {length}) as description, "  # noqa: S608
            f"(g % 1000)::numeric(8, 2) as price from generate_series(1, {rows}) g"
        )


def measure(folder: Path, data: str) -> tuple[float, float]:
    """Prepare the table; return seconds and the peak of the resident memory in MB (10^6 bytes)."""
    source = f"postgresql+psycopg://postgres@/postgres?host={folder}"
    query = "select id, description as text, price from listings"
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "trainer", "prepare", "--source", source, "--query", query],
        cwd=REPOSITORY,
        env=os.environ | {"DOWSE_DATA": data},
    )
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    assert status == 0, status
    return seconds, usage.ru_maxrss * 1024 / 1e6


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the table (default: 1000000)")
    parser.add_argument("--length", type=int, default=200, help="characters of a text (default: 200)")
    arguments = parser.parse_args()
    with running_server() as folder, tempfile.TemporaryDirectory() as data:
        fill(folder, arguments.rows, arguments.length)
        for start in ("first", "again"):
            seconds, peak = measure(folder, data)
            print(
                f"{start}: {arguments.rows:,} rows in {seconds:.1f} s ({arguments.rows / seconds:,.0f} rows/s), "
                f"peak memory {peak:.0f} MB (at most {BAR_MB})",
                flush=True,
            )
            assert peak <= BAR_MB


if __name__ == "__main__":
    main()
