"""Write-ahead log of live documents: a write is on the disk before it is answered; later the log is folded.

    $DOWSE_DATA/live/
        folded-0000000000000041.log    the writes 1 to 41, compacted: the newest version of each document
        writes-0000000000000042.log    a segment, named by its first write; only the newest one grows
        .lock                          held while a write is appended or files are replaced

A file of a given name only grows. A reader therefore remembers by name and length what it has read, and skips writes
whose numbers it has seen before. Wherever a process dies, the files that are left hold the same writes. A log that was
replaced, for instance by an older copy, is noticed by its files: they are shorter, other ones, or gone.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from indexer.artifacts.store import Store, sync
from indexer.errors import UserError
from indexer.live.write import LiveDocument, Retraction, Write, compact_log

FOLDER = "live"
LOCK = ".lock"
CHECKSUM_BYTES = 8
"""At the start of each line."""
STEPS = ("written", "synced", "closed", "folded-written", "folded-renamed", "folded")
"""The named points of appending, closing and folding, in order. Tests kill the process at each of them."""


def reached(step: str) -> None:
    """Mark a named point; a seam for the crash tests, which replace this function."""
    if step not in STEPS:
        raise ValueError(step)


class LogReplaced(Exception):  # noqa: N818 - not an error of the reader
    """The files of the log are not those that were read before: somebody has replaced or removed them."""


class Position(NamedTuple):
    """How far a file was read: up to ``end``; the last line, from ``start``, is known again by its checksum."""

    end: int = 0
    start: int = 0
    checksum: bytes = b""


class WriteLog:
    """The log of a data directory; each call of `read` goes on where the last one ended.

    Attributes:
        sequence: number of the last write that was read.
    """

    def __init__(self, data: Path) -> None:
        self.folder = data / FOLDER
        self.sequence = 0
        self._read: dict[str, Position] = {}
        self._indexes = Store("index", data)
        self._folded: dict[str, int] = {}  # id of an index → number of the last write in it

    def has_new(self) -> bool:
        """Say whether there are unread writes, by the sizes of the files alone."""
        try:
            sizes = {path.name: path.stat().st_size for path in self.files()}
        except FileNotFoundError:  # folded into another file meanwhile
            return True
        known = {name: position.end for name, position in self._read.items()}
        return {name: size for name, size in sizes.items() if size} != {name: end for name, end in known.items() if end}

    def read(self) -> list[Write]:
        """Return the writes since the last call, in their order; see `reading`."""
        with self.reading() as writes:
            return writes

    @contextmanager
    def reading(self) -> Iterator[list[Write]]:
        """Yield the writes since the last call, in their order. Call inside `shared` or `locked`.

        They count as read once the block has ended without an exception: what fails is read again. A last line without
        its line end is skipped: a killed writer has left it, and the write was never answered.

        Raises:
            UserError: a line is damaged. Then no write counts as read.
            LogReplaced: the files are other ones than before. A new `WriteLog` reads them from the start.
        """
        writes: list[Write] = []
        files = self.files()
        self._check_known(files)
        sequence, positions = self.sequence, {}
        for path in files:
            end, start, checksum = self._read.get(path.name, Position())
            with path.open("rb") as file:
                file.seek(start)
                if file.read(len(checksum)) != checksum or path.stat().st_size < end:
                    raise LogReplaced(f"{path}: is another file than before")
                file.seek(end)
                lines = file.read().split(b"\n")
            if path.name.startswith("writes-"):
                sequence = max(sequence, _number(path.name) - 1)
            for line in lines[:-1]:
                try:
                    write = Write.parse(line)
                except (ValueError, KeyError, TypeError):
                    raise UserError(
                        f"{path}: the line at byte {end:,} is damaged; restore the file from a backup, "
                        "or remove the line and lose the documents in it"
                    ) from None
                start, checksum = end, line[:CHECKSUM_BYTES]
                end += len(line) + 1
                if write.sequence > sequence:
                    writes.append(write)
                    sequence = write.sequence
            if path.name.startswith("folded-"):
                sequence = max(sequence, _number(path.name))
            positions[path.name] = Position(end, start, checksum)
        yield writes
        self.sequence, self._read = sequence, positions

    def _check_known(self, files: list[Path]) -> None:
        """Raise `LogReplaced` where a file that was read is gone, but for one that was folded into another."""
        names = {path.name for path in files}
        through = max((_number(name) for name in names if name.startswith("folded-")), default=0)
        for name, position in self._read.items():
            if name not in names and position.end and _number(name) > through:
                raise LogReplaced(f"{self.folder / name}: is gone")

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Hold a shared lock, to read while no file is replaced. Without a lock file, nothing was ever written."""
        try:
            lock = (self.folder / LOCK).open("rb")
        except FileNotFoundError:
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
        while True:
            self.folder.mkdir(parents=True, exist_ok=True)
            with (self.folder / LOCK).open("ab") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if self._is_lock(lock.fileno()):
                    yield
                    return

    def _is_lock(self, descriptor: int) -> bool:
        """Say whether an open file is the lock file, or that of a folder that was replaced while it was waited for."""
        try:
            return os.path.samestat(os.fstat(descriptor), (self.folder / LOCK).stat())
        except FileNotFoundError:
            return False

    def draft(
        self,
        recipe: str = "",
        documents: Iterable[LiveDocument] = (),
        deleted: Iterable[str] = (),
        retraction: Retraction | None = None,
    ) -> Write:
        """Return the next write, for `append`. Call inside `locked`, after everything was read.

        Its number is above those of the log, and above those that any index has folded: an index takes writes up to
        its own number for its own. The log may be absent or older than the index.
        """
        number = max(self.sequence, self.folded_through()) + 1
        return Write(number, recipe, tuple(documents), tuple(deleted), _now(), retraction)

    def folded_through(self) -> int:
        """Return the highest number of a write that an index of the data directory has folded; 0 for none."""
        ids = self._indexes.ids()
        for artifact in set(ids) - self._folded.keys():
            try:
                self._folded[artifact] = int(self._indexes.manifest(artifact).config.get("folded", 0))
            except UserError:  # a damaged index is never opened
                continue
        return max((self._folded.get(artifact, 0) for artifact in ids), default=0)

    def append(self, write: Write) -> None:
        """Append a `draft`; it is on the disk, and counts as read, when this returns. Call inside `locked`.

        Raises:
            OSError: the disk is full, or cannot be written; the log is then as it was.
        """
        line = write.line()
        path = self._active_segment() or self._segment_path(write.sequence)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        end = self._read.get(path.name, Position()).end
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
        self._read[path.name] = Position(end + len(line), end, line[:CHECKSUM_BYTES])

    def close(self) -> None:
        """Let the next write begin a new segment. Call inside `locked`, after everything was read."""
        if (active := self._active_segment()) and active.stat().st_size:
            self._segment_path(self.sequence + 1).touch()
            sync(self.folder)
        reached("closed")

    def fold(self, through: int, set_aside: Collection[int] = ()) -> None:
        """Replace the files up to the write ``through``, the last one of a closed segment, by one compacted file.

        It holds the newest version of each document, and the ids that were deleted or retracted. That is enough for any
        index, also for one older than all these writes, and for a reader that has stopped at any of them. Writes whose
        numbers are in ``set_aside`` stay as they are, and replace no earlier version.

        Raises:
            LogReplaced: the log is not the one that was read.
        """
        with self.locked(), self.reading():
            old = [path for path in self.files() if path.name <= self._segment_path(through).name]
            if self._active_segment() in old:
                raise ValueError(f"the segment of write {through} is not closed")
            writes = WriteLog(self.folder.parent).read()
            temporary = self.folder / ".folding"
            with temporary.open("wb") as file:
                file.writelines(
                    write.line()
                    for write in compact_log((write for write in writes if write.sequence <= through), set_aside)
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

    def files(self) -> list[Path]:
        """Return the files of the log in the order of their writes."""
        return [path for kind in ("folded", "writes") for path in sorted(self.folder.glob(f"{kind}-*.log"))]

    def _active_segment(self) -> Path | None:
        """Return the segment to which the next write is appended, or None where it begins one."""
        return max(self.folder.glob("writes-*.log"), default=None)

    def _segment_path(self, first: int) -> Path:
        return self.folder / f"writes-{first:016}.log"


def _number(name: str) -> int:
    """Return the number in the name of a file of the log."""
    return int(name.partition("-")[2].partition(".")[0])


def write_all(descriptor: int, content: bytes) -> None:
    """Write all bytes; one call of `os.write` may write only some, such as those for which the disk has room."""
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
