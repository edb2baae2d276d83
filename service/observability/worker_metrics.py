"""Metrics of several workers as those of one service: each worker counts in files of a shared folder, any can add them up.

    <folder>/
        counter_0.db  histogram_0.db  gauge_livesum_0.db    metrics of worker 0, mapped into its memory
        0.pid                                               its process id, once it serves

Files are named by the worker's number, not by its process id: a replacement goes on counting where the worker before it
ended. Counters never fall, and the number of files does not grow.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest, values
from prometheus_client.core import Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Environment variable in which prometheus_client finds the folder."""


def use_folder(folder: Path, number: int) -> None:
    """Have this process, the worker ``number``, count in files of ``folder``. Call before any metric is created."""
    os.environ[VARIABLE] = str(folder)
    values.ValueClass = values.MultiProcessValue(lambda: number)  # type: ignore[no-untyped-call]


def mark_serving(folder: Path, number: int) -> None:
    """Record that this process serves as the worker ``number``."""
    temporary = folder / f"{number}.part"  # replaced atomically: a reader finds the whole id
    temporary.write_text(str(os.getpid()), encoding="utf-8")
    temporary.replace(folder / f"{number}.pid")


def has_served(folder: Path, number: int) -> bool:
    """Say whether the worker has served since it was last started."""
    return (folder / f"{number}.pid").exists()


def mark_ended(folder: Path, number: int) -> bool:
    """Remove the process id and the gauges of a worker that has ended, not its counters; return whether it served."""
    mark_process_dead(number, folder)  # type: ignore[no-untyped-call]
    served = has_served(folder, number)
    (folder / f"{number}.pid").unlink(missing_ok=True)
    return served


def exposition(folder: Path) -> bytes:
    """Return the summed metrics of all workers, and the process metrics of each, in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(NonEmptyFilesCollector(None, str(folder)))  # type: ignore[no-untyped-call]
    registry.register(WorkerProcessCollector(folder))
    return generate_latest(registry)


class NonEmptyFilesCollector(MultiProcessCollector):
    """Collects the metrics of all workers; it skips files that a worker has just created and not yet resized."""

    def collect(self) -> Iterable[Metric]:
        """Yield each metric once."""
        files = [str(path) for path in Path(self._path).glob("*.db") if path.stat().st_size]
        metrics: Iterable[Metric] = self.merge(files, accumulate=True)  # type: ignore[no-untyped-call]
        return metrics


class WorkerProcessCollector(Collector):
    """Collects ``process_*`` of every worker, with a label ``worker``: a sum would fall when a worker ends."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterable[Metric]:
        """Yield each metric once, with a sample for each worker."""
        families: dict[str, Metric] = {}
        for path in sorted(self._folder.glob("*.pid")):
            try:
                process_id = path.read_text(encoding="utf-8")
            except FileNotFoundError:  # the worker has ended meanwhile
                continue
            for family in ProcessCollector(pid=partial(str, process_id), registry=None).collect():
                merged = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                for sample in family.samples:
                    merged.add_sample(sample.name, {**sample.labels, "worker": path.stem}, sample.value)
        return families.values()
