"""Builds killed by SIGKILL at random moments and started again: each has to end as the undisturbed one.

    python bench/killed_builds.py CORPUS.parquet --data data --kills 20 --seed 0

The undisturbed build is timed. Then, again and again, a build in a fresh data directory with the same model is killed at a
moment drawn evenly from that time, and started again until it ends. Ids, texts and words must be the same, and vectors
within 1e-5. The corpus should hold some thousand passages: a build keeps windows of 1,024.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np

from indexer.artifacts.store import Store
from indexer.index.index import Index


def start(corpus: Path, data: Path, dense: str) -> subprocess.Popen[bytes]:
    """Start a build in a process group of its own."""
    command = [sys.executable, "-m", "indexer", "build", str(corpus), "--dense", dense]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | {"DOWSE_DATA": str(data)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def finish(corpus: Path, data: Path, dense: str) -> float:
    """Build to the end and return the seconds; end the program where the build fails."""
    started = time.perf_counter()
    process = start(corpus, data, dense)
    _, errors = process.communicate()
    if process.returncode:
        sys.exit(errors.decode())
    return time.perf_counter() - started


def differences(one: Index, other: Index) -> list[str]:
    """Return in what two indexes differ."""
    found = []
    if len(one) != len(other) or any(one.document(row) != other.document(row) for row in range(len(one))):
        found.append("documents")
    rows = np.arange(len(one.dense))
    if len(rows) != len(other.dense) or np.abs(one.dense.vectors(rows) - other.dense.vectors(rows)).max() > 1e-5:
        found.append("vectors")
    if any(one.lexical.all_terms(name) != other.lexical.all_terms(name) for name in ("body", "exact")):
        found.append("words")
    return found


def fresh_data(model: Path, folder: Path) -> Path:
    """Return a data directory with the models of another one and no index."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    shutil.copytree(model / "models", folder / "models")
    return folder


def main() -> None:
    """Read the command line, kill builds and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dense", default="ivf-1bit")
    arguments = parser.parse_args()
    corpus, chance = arguments.corpus.resolve(), random.Random(arguments.seed)  # noqa: S311 - moments, no secrets
    bad = 0
    with tempfile.TemporaryDirectory() as temporary:
        calm = fresh_data(arguments.data, Path(temporary) / "calm")
        seconds = finish(corpus, calm, arguments.dense)
        expected = Index.open(Store("index", calm).resolve())
        print(
            f"undisturbed: {seconds:.1f} s, {len(expected):,} documents, {len(expected.dense):,} passages", flush=True
        )
        for number in range(1, arguments.kills + 1):
            data = fresh_data(arguments.data, Path(temporary) / "killed")
            moment = chance.uniform(0, seconds)
            process = start(corpus, data, arguments.dense)
            time.sleep(moment)
            ended = process.poll() is not None
            if not ended:
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            again = finish(corpus, data, arguments.dense)
            found = differences(expected, Index.open(Store("index", data).resolve()))
            bad += bool(found)
            what = "had ended" if ended else "killed"
            print(
                f"{number}: {what} after {moment:.1f} s, then {again:.1f} s: {', '.join(found) or 'the same'}",
                flush=True,
            )
    print(f"{bad} of {arguments.kills} differ")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
