"""Workspace of a training run: a folder that keeps the results of finished stages, so that a killed run resumes.

    $DOWSE_DATA/training/<first 8 digits of the fingerprint>/

A folder belongs to one fingerprint: that of the corpus, the labels, the base model and the settings. So every file in it
is up to date.
"""

from __future__ import annotations

import fcntl
import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from indexer.errors import UserError
from indexer.progress import say
from trainer.files import atomic_write

EXAMPLES_FILE = "examples.parquet"
"""Training examples of the encoder's layers. The file exists once a run has begun to train them."""
KEPT_RUNS = 3
"""Number of runs whose folders are kept."""


def reached(stage: str) -> None:
    """Mark the end of a stage. Crash tests replace this function; it does nothing else."""


class Workspace:
    """Folder of one run, with the seconds that its stages took. Use as a context manager.

    Only one run at a time works in ``root``; its lock ends with the process.

    Raises:
        UserError: another process is training there.
    """

    def __init__(self, root: Path, fingerprint: str) -> None:
        self.folder = root / fingerprint[:8]
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.touch()
        self._lock = (root / ".lock").open("a+", encoding="utf-8")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise UserError(f"{root}: another process is training here; wait until it has ended") from None
        for leftover in root.glob("*/.pool-*"):  # of killed runs
            shutil.rmtree(leftover, ignore_errors=True)
        # Other commands write into this directory too.
        runs = [path for path in root.iterdir() if path.is_dir() and re.fullmatch("[0-9a-f]{8}", path.name)]
        for old in sorted(runs, key=lambda path: path.stat().st_mtime, reverse=True)[KEPT_RUNS:]:
            shutil.rmtree(old, ignore_errors=True)
        self._times = self.folder / "seconds.json"
        self.seconds: dict[str, float] = json.loads(self._times.read_text()) if self._times.is_file() else {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lock.close()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time of the block to the stage's seconds, and write them when the block has ended."""
        started = time.monotonic()
        yield
        self.seconds[name] = round(self.seconds.get(name, 0.0) + time.monotonic() - started, 1)
        with atomic_write(self._times) as part:
            part.write_text(json.dumps(self.seconds, indent=2) + "\n", encoding="utf-8")
        reached(name)

    def arrays(self, name: str, make: Callable[[], dict[str, npt.NDArray[Any]]]) -> dict[str, npt.NDArray[Any]]:
        """Return the arrays of the file ``name``.npz; where it does not exist, ``make`` them and write it."""
        path = self.folder / f"{name}.npz"
        if path.is_file():
            say(f"{name}: taken up from {path}")
            with np.load(path, allow_pickle=False) as arrays:
                return dict(arrays)
        arrays = make()
        with atomic_write(path) as part, part.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
        return arrays
