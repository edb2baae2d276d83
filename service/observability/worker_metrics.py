"""What several workers count, as one service: each keeps it in files of a common folder, and any of them adds it up.

    <folder>/
        counter_0.db  histogram_0.db  gauge_livesum_0.db    what worker 0 counts, mapped into its memory
        0.pid                                               its process, once it serves

Files are named by the worker's number, not by its process: what a worker has counted goes on with the one that
replaces it, so that counters never fall, and there are never more files than workers.
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
"""Where prometheus_client looks for the folder."""


def use_folder(folder: Path, number: int) -> None:
    """Let this process, the worker ``number``, count in files of ``folder``. Call before any metric is made."""
    os.environ[VARIABLE] = str(folder)
    values.ValueClass = values.MultiProcessValue(lambda: number)  # type: ignore[no-untyped-call]


def join(folder: Path, number: int) -> None:
    """Note that this process serves as the worker ``number``."""
    part = folder / f"{number}.part"  # whoever reads the file finds all of it
    part.write_text(str(os.getpid()), encoding="utf-8")
    part.replace(folder / f"{number}.pid")


def has_served(folder: Path, number: int) -> bool:
    """Say whether the worker has come to serve since it was started."""
    return (folder / f"{number}.pid").exists()


def leave(folder: Path, number: int) -> bool:
    """Forget a dead worker's process and gauges, not what it has counted; return whether it had served."""
    mark_process_dead(number, folder)  # type: ignore[no-untyped-call]
    served = has_served(folder, number)
    (folder / f"{number}.pid").unlink(missing_ok=True)
    return served


def exposition(folder: Path) -> bytes:
    """Return what all workers have counted together, and each one's process, in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(FilledFiles(None, str(folder)))  # type: ignore[no-untyped-call]
    registry.register(WorkerProcessCollector(folder))
    return generate_latest(registry)


class FilledFiles(MultiProcessCollector):
    """Metrics of all workers, but for files that a worker has created this moment and not yet given their size."""

    def collect(self) -> Iterable[Metric]:
        """Yield each metric once."""
        files = [str(path) for path in Path(self._path).glob("*.db") if path.stat().st_size]
        metrics: Iterable[Metric] = self.merge(files, accumulate=True)  # type: ignore[no-untyped-call]
        return metrics


class WorkerProcessCollector(Collector):
    """The metrics ``process_*`` of all workers, told apart by the label ``worker``: a sum would fall when one dies."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterable[Metric]:
        """Yield each metric once, with a sample for each worker."""
        families: dict[str, Metric] = {}
        for path in sorted(self._folder.glob("*.pid")):
            try:
                process = path.read_text(encoding="utf-8")
            except FileNotFoundError:  # it has died meanwhile
                continue
            for family in ProcessCollector(pid=partial(str, process), registry=None).collect():
                joint = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                for sample in family.samples:
                    joint.add_sample(sample.name, {**sample.labels, "worker": path.stem}, sample.value)
        return families.values()
