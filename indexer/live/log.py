"""The log of writes, on the disk before the answer: appended, read on, closed and folded.

    $DOWSE_DATA/live/
        folded-0000000000000041.log    what is left of the writes 1 to 41: the newest of each document
        writes-0000000000000042.log    a segment, named by its first write; only the newest one grows
        .lock                          held while a write is appended or files are replaced

What stands under a name only grows. A reader therefore knows what it has read by name and length, and drops by its
number what it meets a second time: wherever a process dies, the files that are left say the same.
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
    """The log below a data directory, read on from where this object has come to.

    Attributes:
        sequence: number of the last write that was read.
    """

    def __init__(self, data: Path) -> None:
        self.folder = data / FOLDER
        self.sequence = 0
        self._read: dict[str, int] = {}

    def has_new(self) -> bool:
        """Say whether there is something that was not read. Asks for sizes only."""
        try:
            return any(path.stat().st_size > self._read.get(path.name, 0) for path in self._files())
        except FileNotFoundError:  # replaced by what it was folded into
            return True

    def read(self) -> list[Write]:
        """Return the writes since the last call, in their order. Call inside `shared` or `locked`.

        A last line without its end is what a killed writer has left of a write that nobody was told of: not returned.

        Raises:
            UserError: a line is damaged. Nothing counts as read then.
        """
        found: list[Write] = []
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
                        f"{path}: the line at byte {end:,} is not what was written; restore the file from a backup, "
                        "or take the line out and lose the documents in it"
                    ) from None
                end += len(line) + 1
                if write.sequence > sequence:
                    found.append(write)
                    sequence = write.sequence
            ends[path.name] = end
        self.sequence, self._read = sequence, ends
        return found

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Read without meeting half a change. Where there is no lock file nobody has ever written."""
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
        """Be the only one who changes the log. The lock dies with the process.

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
        """Return the next write, for `append`. Call inside `locked`, after all was read."""
        return Write(self.sequence + 1, recipe, tuple(documents), tuple(deleted), _now(), retraction)

    def append(self, write: Write) -> None:
        """Append a `draft`; it is on the disk, and counts as read, when this returns. Call inside `locked`.

        Raises:
            OSError: the disk is full, or cannot be written; the log is then as it was.
        """
        line = write.line()
        path = self._growing() or self._segment(write.sequence)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        end = self._read.get(path.name, 0)
        try:
            try:
                os.ftruncate(descriptor, end)  # what a killed writer has left
                write_whole(descriptor, line)
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
        """Let the next write begin a new segment. Call inside `locked`, after all was read."""
        if (growing := self._growing()) and growing.stat().st_size:
            self._segment(self.sequence + 1).touch()
            sync(self.folder)
        reached("closed")

    def fold(self, through: int) -> None:
        """Replace the files up to the write ``through``, where a segment was closed, by what is left of them.

        That is the newest version of each document, and the ids that were deleted or retracted: enough for any index,
        also for one that is older than all of them, and for a reader that had come to any of them.
        """
        with self.locked():
            old = [path for path in self._files() if path.name <= self._segment(through).name]
            if self._growing() in old:
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

    def _growing(self) -> Path | None:
        """Return the segment to which the next write is appended, or None where it begins one."""
        return max(self.folder.glob("writes-*.log"), default=None)

    def _segment(self, first: int) -> Path:
        return self.folder / f"writes-{first:016}.log"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def write_whole(descriptor: int, content: bytes) -> None:
    """Write all bytes: one call writes as many as fit before the disk is full."""
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
