"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from indexer.artifacts.store import data_dir
from indexer.errors import UserError


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield a name beside ``path`` to write to; the file takes its own name when the block has ended well.

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
        with suppress(OSError):  # there is nothing to remove where the folder could not be made
            part.unlink(missing_ok=True)


def move_into(source: Path, target: Path, last: Collection[str]) -> None:
    """Move what is in ``source`` into the folder ``target``, entry by entry, replacing what an earlier try has left.

    The entries named in ``last`` come last: they are what makes the folder complete.
    """
    for path in sorted(source.iterdir(), key=lambda path: (path.name in last, path.name)):
        place = target / path.name
        if place.is_dir():
            shutil.rmtree(place)
        path.replace(place)


def training_dir(data: Path | None = None) -> Path:
    """Return the folder in the data directory where commands of the trainer write when no other one is named."""
    return (data or data_dir()) / "training"
