"""Live documents: what is written goes to the log first, then over the index that is served."""

from __future__ import annotations

import errno
import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from indexer.errors import UserError
from indexer.index.index import Index
from indexer.live.log import WriteLog
from indexer.live.prepare import Preparer, apply_writes
from indexer.live.write import LiveDocument
from service.problems import Problem

log = logging.getLogger("dowse.service")

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}


class LiveDocuments:
    """Keeps what is served in step with the log of writes, whoever writes: this process or another one.

    Args:
        data: the data directory.
        show: takes an index with everything over it that was written; called by one thread at a time.
        poll_seconds: how often to look for what other processes have written.
    """

    def __init__(self, data: Path, show: Callable[[Index], None], poll_seconds: float) -> None:
        self._data = data
        self._show = show
        self._lock = threading.Lock()
        self._log = WriteLog(data)
        self._index: Index | None = None
        self._preparer: Preparer | None = None
        self._reported = ""
        self._poll_seconds = poll_seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="follow-writes", daemon=True)

    def start(self) -> None:
        """Follow what other processes write."""
        self._thread.start()

    def stop(self) -> None:
        """Stop following."""
        self._stop.set()
        self._thread.join()

    def open_index(self, index: Index) -> None:
        """Show an index that was opened, with all writes over it that were not folded into it.

        Raises:
            UserError: the log is damaged. What was shown before stays.
        """
        writes = WriteLog(self._data)
        with writes.shared():
            known = writes.read()
        made = apply_writes(index, known)  # where the model is another one this takes time: searches and writes go on
        with self._lock:
            with writes.shared():
                made = apply_writes(made, writes.read())
            self._log, self._index, self._preparer = writes, made, Preparer(index)
            self._show(made)

    def follow(self) -> None:
        """Show what other processes have written; a log that is damaged is reported once."""
        with self._lock:
            if self._index is None or not self._log.has_new():
                return
            try:
                with self._log.shared():
                    self._catch_up()
            except UserError as error:
                if str(error) != self._reported:
                    log.error("%s", error)  # noqa: TRY400 - the message says all that a traceback could
                self._reported = str(error)

    @property
    def preparer(self) -> Preparer:
        """What makes passages and vectors of documents, for `write`.

        Raises:
            Problem: there is no index to write to.
        """
        if self._preparer is None:
            raise no_index_problem()
        return self._preparer

    def write(self, recipe: str, documents: Sequence[LiveDocument], deleted: Sequence[str]) -> tuple[Index, Index]:
        """Write; return the index before and after. What was written is on the disk and visible when this returns.

        Args:
            recipe: of the `preparer` that has prepared the documents; the index may have become another since.
            documents: to be added, or to replace those with the same ids.
            deleted: ids.

        Raises:
            Problem: nothing could be written, and nothing was.
        """
        try:
            with self._lock, self._log.locked():
                before = self._catch_up()
                write = self._log.draft(recipe, documents, deleted)
                after = apply_writes(before, [write])  # first, for what cannot be shown must not be acknowledged
                self._log.append(write)
                self._index = after
                self._show(after)
                return before, after
        except OSError as error:
            raise write_problem(error, self._log.folder) from error
        except UserError as error:
            raise Problem(503, "not-written", "The log of writes is damaged; run `python -m indexer verify`") from error

    def _follow(self) -> None:
        while not self._stop.wait(self._poll_seconds):
            try:
                self.follow()
            except Exception:
                log.exception("looking for writes failed; what was shown before stays")

    def _catch_up(self) -> Index:
        """Show what the log has and the index has not; the caller holds both locks."""
        if self._index is None:
            raise no_index_problem()
        made = apply_writes(self._index, self._log.read())
        if made is not self._index:
            self._index = made
            self._show(made)
        return made


def no_index_problem() -> Problem:
    """Return what to tell a client who writes before there is an index."""
    return Problem(503, "not-ready", "There is no index to write to; run `python -m indexer build CORPUS`")


def write_problem(error: OSError, folder: Path) -> Problem:
    """Return what to tell a client whose write the disk has not taken, and tell the log."""
    log.error("write refused: %s: %s", folder, error.strerror or error)
    if error.errno in FULL:
        return Problem(507, "disk-full", "The disk is full: nothing was written; make room, then send it again")
    if error.errno in READ_ONLY:
        detail = f"The folder {folder.name}/ of the data directory cannot be written: nothing was; mount it writable"
        return Problem(503, "not-written", detail)
    return Problem(503, "not-written", f"Nothing was written ({error.strerror or error}); look after the disk")
