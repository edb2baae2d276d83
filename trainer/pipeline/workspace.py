"""The folder of a training run: what a stage has finished is found again, whatever killed the run after it.

    $DOWSE_DATA/training/<first 8 digits of the fingerprint>/

A folder belongs to one fingerprint: of the corpus, the labels, the model that is started from and the settings. So a
file that is there is current.
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
from trainer.files import whole

EXAMPLES = "examples.parquet"
"""What the encoder's layers learn from: where it is there, a run has begun to train them."""
KEPT_FOLDERS = 3
"""Folders of earlier runs that stay."""


def reached(stage: str) -> None:
    """Mark the end of a stage; a seam for the crash tests, which replace this function."""


class Workspace:
    """One run's folder, and the seconds that its stages took. Use as a context manager.

    One run at a time works in ``root``; its lock dies with the process.

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
        for left in root.glob("*/.pool-*"):  # of killed runs
            shutil.rmtree(left, ignore_errors=True)
        # Other commands write into this directory too.
        runs = [path for path in root.iterdir() if path.is_dir() and re.fullmatch("[0-9a-f]{8}", path.name)]
        for old in sorted(runs, key=lambda path: path.stat().st_mtime, reverse=True)[KEPT_FOLDERS:]:
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
        """Add the time spent inside to the stage's seconds, which survive a kill at its end."""
        started = time.monotonic()
        yield
        self.seconds[name] = round(self.seconds.get(name, 0.0) + time.monotonic() - started, 1)
        with whole(self._times) as part:
            part.write_text(json.dumps(self.seconds, indent=2) + "\n", encoding="utf-8")
        reached(name)

    def arrays(self, name: str, make: Callable[[], dict[str, npt.NDArray[Any]]]) -> dict[str, npt.NDArray[Any]]:
        """Return the arrays of the file ``name``.npz, made and written where it is not there yet."""
        path = self.folder / f"{name}.npz"
        if path.is_file():
            say(f"{name}: taken up from {path}")
            with np.load(path, allow_pickle=False) as found:
                return dict(found)
        made = make()
        with whole(path) as part, part.open("wb") as file:
            np.savez(file, **made)  # type: ignore[arg-type]
        return made
