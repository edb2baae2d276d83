"""Live documents of the served index: every write is appended to the log, then shown as an overlay over the index."""

from __future__ import annotations

import errno
import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from indexer.errors import UserError, first_line, is_transient
from indexer.index.index import Index
from indexer.live.log import LogReplaced, WriteLog
from indexer.live.overlay import LiveIndex
from indexer.live.prepare import UNFIT, Preparer, apply_writes, replay_writes
from indexer.live.write import LiveDocument, Write
from service.problems import Problem
from service.serving.follower import STOP_SECONDS

log = logging.getLogger("dowse.service")

NO_LIVE_WRITES = "Milvus as a store takes no live writes; build the index again, with --store milvus"
DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}


class LiveDocuments:
    """Keeps the served index up to date with the log of writes, whether this process or another one writes.

    Args:
        data: the data directory.
        show: serves an index with the overlay of all writes; called by one thread at a time.
        poll_seconds: seconds between checks for writes of other processes.
    """

    def __init__(self, data: Path, show: Callable[[Index], None], poll_seconds: float) -> None:
        self._data = data
        self._show = show
        self._lock = threading.Lock()
        self._log = WriteLog(data)
        self._index: Index | None = None
        self._shown: Index | None = None
        self._preparer: Preparer | None = None
        self._reported = ""
        self._poll_seconds = poll_seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="follow-writes", daemon=True)

    def start(self) -> None:
        """Follow the writes of other processes."""
        self._thread.start()

    def stop(self) -> None:
        """Stop following; texts that are being encoded again are not waited for beyond `STOP_SECONDS`."""
        self._stop.set()
        self._thread.join(STOP_SECONDS)

    def open_index(self, index: Index) -> None:
        """Show a newly opened index with the overlay of all writes that were not folded into it.

        Raises:
            UserError: the log is damaged. The previous index stays live.
        """
        write_log = WriteLog(self._data)
        with write_log.shared():
            writes = write_log.read()
        # With another model this takes time: every text is encoded anew. Searches and writes go on meanwhile.
        updated = replay_writes(index, writes)
        with self._lock:
            with write_log.shared(), write_log.reading() as writes:
                updated = replay_writes(updated, writes)
            if write_log.sequence < index.folded:
                log.warning("%s", behind_index(write_log, index))
            self._show(updated)
            self._log, self._index, self._shown, self._preparer = write_log, updated, updated, Preparer(index)

    def follow(self) -> None:
        """Show the writes of other processes."""
        with self._lock:
            if self._index is None or (self._shown is self._index and not self._log.has_new()):
                return
            with self._log.shared():
                self._catch_up()

    @property
    def preparer(self) -> Preparer:
        """Preparer of passages and vectors of documents, for `write`.

        Raises:
            Problem: there is no index to write to.
        """
        if self._preparer is None:
            raise no_index_problem()
        return self._preparer

    def write(self, recipe: str, documents: Sequence[LiveDocument], deleted: Sequence[str]) -> tuple[Index, Index]:
        """Write documents and deletions; return the index before and after. The write is then on disk and visible.

        Args:
            recipe: of the `preparer` that prepared the documents; another index may have become live since.
            documents: to be added, or to replace those with the same ids.
            deleted: ids of documents to delete.

        Raises:
            Problem: the write failed, and nothing was written.
        """
        try:
            with self._lock, self._log.locked():
                before = self._catch_up()
                write = self._log.draft(recipe, documents, deleted)
                after = _fitting(before, write)  # before the log: what cannot be shown must not be acknowledged
                self._log.append(write)
                self._take(after)
                return before, after
        except OSError as error:
            raise write_problem(error, self._log.folder) from error
        except UserError as error:
            raise Problem(503, "not-written", "The log of writes is damaged; run `python -m indexer verify`") from error

    def _follow(self) -> None:
        while not self._stop.wait(self._poll_seconds):
            try:
                self.follow()
            except Exception as error:  # noqa: BLE001 - the next attempt may succeed
                self._report(error)
            else:
                self._reported = ""

    def _report(self, error: Exception) -> None:
        """Log an error of following once, however often it comes back: attempts are a fraction of a second apart."""
        said = str(error) or type(error).__name__
        if said != self._reported:
            is_known = isinstance(error, UserError) or is_transient(error)
            text = "reading new writes failed, and is tried again; the documents shown before stay: %s"
            log.error(text, said, exc_info=None if is_known else error)
        self._reported = said

    def _catch_up(self) -> Index:
        """Show the writes of the log that the index does not have yet; the caller holds both locks.

        They count as read once they are shown: after an error they are read again.
        """
        if self._index is None:
            raise no_index_problem()
        try:
            return self._read_on(self._log, self._index)
        except LogReplaced as error:
            log.error(  # noqa: TRY400 - the message says all that a traceback could
                "%s; writes up to %d were shown, and those that the log lacks now are gone", error, self._log.sequence
            )
        base = self._index.overlay.base if isinstance(self._index, LiveIndex) else self._index
        replaced = WriteLog(self._data)
        updated = self._read_on(replaced, base)
        self._log = replaced
        return updated

    def _read_on(self, write_log: WriteLog, index: Index) -> Index:
        with write_log.reading() as writes:
            updated = replay_writes(index, writes)
            self._take(updated)
        return updated

    def _take(self, index: Index) -> None:
        """Make an index the current one, and show it; `follow` shows it where that fails."""
        self._index = index
        if self._shown is not index:
            self._show(index)
            self._shown = index


class NoWrites:
    """Live documents of a store that takes none: every write is refused."""

    @property
    def preparer(self) -> Preparer:
        """Raise `Problem`: the store takes no writes."""
        raise Problem(501, "not-supported", NO_LIVE_WRITES)

    def write(
        self,
        recipe: str,  # noqa: ARG002 - as in `LiveDocuments`
        documents: Sequence[LiveDocument],  # noqa: ARG002
        deleted: Sequence[str],  # noqa: ARG002
    ) -> tuple[Index, Index]:
        """Raise `Problem`: the store takes no writes."""
        raise Problem(501, "not-supported", NO_LIVE_WRITES)


def _fitting(index: Index, write: Write) -> Index:
    """Return the index with a write over it; raise `Problem` where the write does not fit it."""
    try:
        return apply_writes(index, [write])
    except UNFIT as error:
        log.exception("a write does not fit the index, and was refused")
        detail = f"The documents do not fit the index ({first_line(error)}); nothing was written"
        raise Problem(422, "invalid-request", detail) from error


def behind_index(write_log: WriteLog, index: Index) -> str:
    """Return a sentence about a log that ends before the writes that were folded into the index."""
    return (
        f"{write_log.folder}: ends at write {write_log.sequence}, and index {index.manifest.id} has folded writes up to "
        f"{index.folded}: the folder is absent or older than the index; new writes are numbered after these"
    )


def no_index_problem() -> Problem:
    """Return the problem of a write while there is no index."""
    return Problem(503, "not-ready", "There is no index to write to; run `python -m indexer build CORPUS`")


def write_problem(error: OSError, folder: Path) -> Problem:
    """Return the problem of a write that failed with an error of the disk, and log it."""
    log.error("write refused: %s: %s", folder, error.strerror or error)
    if error.errno in DISK_FULL:
        return Problem(507, "disk-full", "The disk is full: nothing was written; make room, then send it again")
    if error.errno in READ_ONLY:
        detail = f"Nothing was written: the folder {folder.name}/ of the data directory is read-only; mount it writable"
        return Problem(503, "not-written", detail)
    return Problem(503, "not-written", f"Nothing was written ({error.strerror or error}); check the disk")
