"""Atomic writes: files and folders that appear complete or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from indexer.artifacts.store import data_dir
from indexer.errors import UserError


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` to write to; it is renamed to ``path`` when the block ends without an error.

    Raises:
        UserError: the file cannot be written.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        part.replace(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error}); choose another --out") from error
    finally:
        with suppress(OSError):  # no file to remove where the folder could not be created
            part.unlink(missing_ok=True)


def move_into(source: Path, target: Path, last: Collection[str]) -> None:
    """Move the entries of ``source`` into the folder ``target``, one by one, replacing those of an interrupted move.

    The entries named in ``last`` are moved last: their presence marks the folder as complete.
    """
    for path in sorted(source.iterdir(), key=lambda path: (path.name in last, path.name)):
        destination = target / path.name
        if destination.is_dir():
            shutil.rmtree(destination)
        path.replace(destination)


def training_dir(data: Path | None = None) -> Path:
    """Return the folder in the data directory to which commands of the trainer write by default."""
    return (data or data_dir()) / "training"
