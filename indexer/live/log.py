"""Write-ahead log of live documents: a write is on the disk before it is answered; later the log is folded.

    $DOWSE_DATA/live/
        folded-0000000000000041.log    the writes 1 to 41, compacted: the newest version of each document
        writes-0000000000000042.log    a segment, named by its first write; only the newest one grows
        .lock                          held while a write is appended or files are replaced

A file of a given name only grows. A reader therefore remembers by name and length what it has read, and skips writes
whose numbers it has seen before. Wherever a process dies, the files that are left hold the same writes.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from indexer.artifacts.store import sync
from indexer.errors import UserError
from indexer.live.write import LiveDocument, Retraction, Write, compact_log

FOLDER = "live"
LOCK = ".lock"
STEPS = ("written", "synced", "closed", "folded-written", "folded-renamed", "folded")
"""The named points of appending, closing and folding, in order. Tests kill the process at each of them."""


def reached(step: str) -> None:
    """Mark a named point; a seam for the crash tests, which replace this function."""
    if step not in STEPS:
        raise ValueError(step)


class WriteLog:
    """The log of a data directory; each call of `read` goes on where the last one ended.

    Attributes:
        sequence: number of the last write that was read.
    """

    def __init__(self, data: Path) -> None:
        self.folder = data / FOLDER
        self.sequence = 0
        self._read: dict[str, int] = {}

    def has_new(self) -> bool:
        """Say whether there are unread writes, by the sizes of the files alone."""
        try:
            return any(path.stat().st_size > self._read.get(path.name, 0) for path in self._files())
        except FileNotFoundError:  # folded into another file meanwhile
            return True

    def read(self) -> list[Write]:
        """Return the writes since the last call, in their order. Call inside `shared` or `locked`.

        A last line without its line end is skipped: a killed writer has left it, and the write was never answered.

        Raises:
            UserError: a line is damaged. Then no write counts as read.
        """
        writes: list[Write] = []
        sequence, ends = self.sequence, dict(self._read)
        for path in self._files():
            end = ends.get(path.name, 0)
            with path.open("rb") as file:
                file.seek(end)
                lines = file.read().split(b"\n")
            for line in lines[:-1]:
                try:
                    write = Write.parse(line)
                except (ValueError, KeyError, TypeError):
                    raise UserError(
                        f"{path}: the line at byte {end:,} is damaged; restore the file from a backup, "
                        "or remove the line and lose the documents in it"
                    ) from None
                end += len(line) + 1
                if write.sequence > sequence:
                    writes.append(write)
                    sequence = write.sequence
            ends[path.name] = end
        self.sequence, self._read = sequence, ends
        return writes

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Hold a shared lock, to read while no file is replaced. Without a lock file, nothing was ever written."""
        try:
            lock = (self.folder / LOCK).open("rb")
        except OSError:
            yield
            return
        with lock:
            fcntl.flock(lock, fcntl.LOCK_SH)
            yield

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the exclusive lock, to change the log. It is released when the process dies.

        Raises:
            OSError: the folder cannot be written.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / LOCK).open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def draft(
        self,
        recipe: str = "",
        documents: Iterable[LiveDocument] = (),
        deleted: Iterable[str] = (),
        retraction: Retraction | None = None,
    ) -> Write:
        """Return the next write, for `append`. Call inside `locked`, after everything was read."""
        return Write(self.sequence + 1, recipe, tuple(documents), tuple(deleted), _now(), retraction)

    def append(self, write: Write) -> None:
        """Append a `draft`; it is on the disk, and counts as read, when this returns. Call inside `locked`.

        Raises:
            OSError: the disk is full, or cannot be written; the log is then as it was.
        """
        line = write.line()
        path = self._active_segment() or self._segment_path(write.sequence)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        end = self._read.get(path.name, 0)
        try:
            try:
                os.ftruncate(descriptor, end)  # an unfinished line of a killed writer
                write_all(descriptor, line)
                reached("written")
                os.fsync(descriptor)
                if not end:
                    sync(self.folder)
            except OSError:
                os.ftruncate(descriptor, end)
                os.fsync(descriptor)
                raise
        finally:
            os.close(descriptor)
        reached("synced")
        self.sequence = write.sequence
        self._read[path.name] = end + len(line)

    def close(self) -> None:
        """Let the next write begin a new segment. Call inside `locked`, after everything was read."""
        if (active := self._active_segment()) and active.stat().st_size:
            self._segment_path(self.sequence + 1).touch()
            sync(self.folder)
        reached("closed")

    def fold(self, through: int) -> None:
        """Replace the files up to the write ``through``, the last one of a closed segment, by one compacted file.

        It holds the newest version of each document, and the ids that were deleted or retracted. That is enough for any
        index, also for one older than all these writes, and for a reader that has stopped at any of them.
        """
        with self.locked():
            old = [path for path in self._files() if path.name <= self._segment_path(through).name]
            if self._active_segment() in old:
                raise ValueError(f"the segment of write {through} is not closed")
            writes = WriteLog(self.folder.parent).read()
            temporary = self.folder / ".folding"
            with temporary.open("wb") as file:
                file.writelines(
                    write.line() for write in compact_log(write for write in writes if write.sequence <= through)
                )
            sync(temporary)
            reached("folded-written")
            folded = temporary.rename(self.folder / f"folded-{through:016}.log")
            sync(self.folder)
            reached("folded-renamed")
            for path in old:
                if path != folded:
                    path.unlink()
            sync(self.folder)
        reached("folded")

    def _files(self) -> list[Path]:
        """Return the files of the log in the order of their writes."""
        return [path for kind in ("folded", "writes") for path in sorted(self.folder.glob(f"{kind}-*.log"))]

    def _active_segment(self) -> Path | None:
        """Return the segment to which the next write is appended, or None where it begins one."""
        return max(self.folder.glob("writes-*.log"), default=None)

    def _segment_path(self, first: int) -> Path:
        return self.folder / f"writes-{first:016}.log"


def write_all(descriptor: int, content: bytes) -> None:
    """Write all bytes; one call of `os.write` may write only some, such as those for which the disk has room."""
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
