"""Benchmark of the executors of a build: one process, several, and Ray on the same cores, in turns.

    python bench/executors.py CORPUS.parquet --data data --workers 2
    python bench/executors.py CORPUS.parquet --data data --documents 2048 --window 256 --rounds 7

Each round writes an index's shards of the same rows by each of them: rows are read, cut, encoded and written with their
words. The workers are started before the rounds that count, so their start is not part of the time; it is printed. The
ratios are medians over the rounds: by wall time, and by processor time of all processes, which says less about waiting but
does not depend on who else uses the machine.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

sys.path.insert(0, str(Path(__file__).parents[1]))
# Ray gives its processes a niceness of 15: on a busy machine they would yield to all others.
os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - Ray's own name

import numpy as np
import psutil

import indexer.build.shards.shard
from indexer.artifacts.store import Store, data_dir
from indexer.build.assemble import Assembly
from indexer.build.executors.open import open_executor
from indexer.build.executors.pool import Executor, InProcess
from indexer.build.executors.settings import ExecutorSettings
from indexer.build.settings import BuildSettings
from indexer.build.shards.shard import WINDOW
from indexer.corpus.corpus import Corpus
from indexer.inference.encoder import Encoder, Vectors
from indexer.progress import quiet


class Kept:
    """An executor that stays open when a build closes it."""

    def __init__(self, executor: Executor) -> None:
        self.ahead = executor.ahead
        self._executor = executor

    def submit(self, texts: list[str]) -> Future[Vectors]:
        """Encode texts of the corpus."""
        return self._executor.submit(texts)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the workers for the next round."""


def processor_seconds() -> float:
    """Return the processor time of this process and of all below it, so far."""
    own = psutil.Process()
    return sum(sum(process.cpu_times()[:2]) for process in [own, *own.children(recursive=True)])


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", help="as for `indexer build`")
    parser.add_argument("--documents", type=int, default=4 * WINDOW, help=f"first rows (default: {4 * WINDOW})")
    parser.add_argument("--rounds", type=int, default=5, help="rounds that count (default: 5)")
    parser.add_argument("--workers", type=int, default=2, help="of `local` and of `ray` (default: 2)")
    parser.add_argument(
        "--window", type=int, default=WINDOW,
        help=f"passages that are encoded together (default: {WINDOW}, as a build; fewer leave less waiting at the end of "
        "few documents)",
    )  # fmt: skip
    parser.add_argument("--data", type=Path, default=data_dir(), help="the data directory with the model")
    arguments = parser.parse_args()
    indexer.build.shards.shard.WINDOW = arguments.window
    encoder = Encoder.open(Store("model", arguments.data).resolve())
    settings = BuildSettings(language="en", dense_weight=0.5)
    corpus = Corpus.check(arguments.corpus, limit=arguments.documents)
    passages = 0
    times: list[list[tuple[float, float]]] = []
    with ExitStack() as stack:
        executors: dict[str, Executor] = {"in process": InProcess(encoder)}
        for name in ("local", "ray"):
            chosen = ExecutorSettings.model_validate({"executor": name, "workers": arguments.workers})
            executors[name] = stack.enter_context(open_executor(chosen, encoder))
        for number in range(arguments.rounds + 1):
            row = []
            for name in list(executors) if number % 2 else reversed(executors):
                started, used = time.perf_counter(), processor_seconds()
                with TemporaryDirectory() as folder, quiet():
                    counts, _ = Assembly(
                        corpus, settings, encoder, None, Path(folder), executor=Kept(executors[name])
                    ).write()
                passages = counts["passages"]
                row.append((name, time.perf_counter() - started, processor_seconds() - used))
                print(f"round {number}, {name}: {row[-1][1]:.1f} s", file=sys.stderr, flush=True)
            order = list(executors)
            row.sort(key=lambda measured: order.index(measured[0]))
            if number:
                times.append([(wall, used) for _, wall, used in row])
    seconds = np.array(times)  # (rounds, executor, kind of time)
    print(f"{passages} passages, {encoder.cores} cores, {arguments.workers} workers, {arguments.rounds} rounds")
    for place, name in enumerate(order):
        print(f"{name:12} {passages / np.median(seconds[:, place, 0]):7.1f} passages/s")
    for above, below in (("local", "in process"), ("ray", "in process"), ("ray", "local")):
        ratios = seconds[:, order.index(below)] / seconds[:, order.index(above)]
        wall, used = np.median(ratios, axis=0)
        spread = f"{ratios[:, 0].min():.3f} to {ratios[:, 0].max():.3f}"
        print(f"{above:5} ÷ {below:10} {wall:6.3f} by wall time ({spread}), {used:.3f} by processor time")


if __name__ == "__main__":
    main()
