"""Background check of an opened index: every file is read again and compared with its checksum, while searches run.

At the opening a file is not read that this machine has verified since its start and nothing has written to
(`indexer.artifacts.verified`). Damage by the disk itself shows only when the file is read. The same reading brings the files
into the page cache, so that searches need not wait for the disk; where memory is scarce, what was read is dropped again.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from indexer.artifacts.manifest import read_manifest
from indexer.artifacts.verified import unchanged_files, verify_again
from indexer.errors import UserError
from service.serving.follower import STOP_SECONDS
from service.serving.memory import available_memory

log = logging.getLogger("dowse.service")

BLOCK_BYTES = 4 << 20
NICE = 19
"""Priority of the thread that reads: the lowest."""


class Stopped(Exception):  # noqa: N818 - no error
    """The check was stopped."""


def count_unread(folder: Path) -> int:
    """Return the bytes of an artifact that would be opened without being read, since they were verified before."""
    try:
        manifest = read_manifest(folder)
    except (UserError, OSError):  # opening it will say why
        return 0
    return sum(manifest.files[name].size for name in unchanged_files(folder, manifest))


class Recheck:
    """Reads the files of one artifact after another in a thread of its own.

    Args:
        damaged: is called with the folder and the error where a file is not as published.
    """

    def __init__(self, damaged: Callable[[Path, UserError], None]) -> None:
        self._damaged = damaged
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, folders: list[Path]) -> None:
        """Check the artifacts in ``folders``; what is still being checked of others is given up."""
        self._stop.set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(folders, self._stop), name="recheck", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop, and wait a moment until no file is read any more."""
        self._stop.set()
        if self._thread:
            self._thread.join(STOP_SECONDS)

    def _run(self, folders: list[Path], stop: threading.Event) -> None:
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)  # of a thread, on Linux
        for folder in folders:
            available = available_memory()
            keep = available is None or available > sum(path.stat().st_size for path in folder.rglob("*"))
            try:
                verify_again(folder, partial(read_sha256, stop=stop, keep=keep))
            except Stopped:
                return
            except UserError as error:
                self._damaged(folder, error)
                return
            except OSError as error:  # of the machine, such as too many open files: it says nothing about the files
                log.warning("%s was not read again in the background: %s", folder.name, error)
                return
            log.info("%s: all files were read again, and are as published", folder.name)


def read_sha256(path: Path, stop: threading.Event, *, keep: bool) -> str:
    """Return the SHA-256 of a file; with ``keep`` it stays in the page cache, else it is dropped behind the reading.

    Raises:
        Stopped: ``stop`` was set.
    """
    digest, block = hashlib.sha256(), bytearray(BLOCK_BYTES)
    with path.open("rb", buffering=0) as file:
        start = 0
        while size := file.readinto(block):
            if stop.is_set():
                raise Stopped
            digest.update(memoryview(block)[:size])
            if not keep:  # pages that a search has mapped stay
                os.posix_fadvise(file.fileno(), start, size, os.POSIX_FADV_DONTNEED)
            start += size
    return digest.hexdigest()
