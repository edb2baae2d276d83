"""The keys of a running service: the file is followed, so that a key counts or no longer counts without a restart."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from indexer.errors import UserError
from service.security.keys import Key, Keys, read_keys

log = logging.getLogger("dowse.service")


class Keyring:
    """Says whether keys are needed, and whose key one is.

    Once a key file was there, keys are needed until the service is started again: where the file is deleted, nobody is
    let in. A file that was made unreadable leaves the keys before it in place, and the log says so.

    Attributes:
        needed: whether a request needs a key.
    """

    def __init__(self, path: Path, poll_seconds: float = 1.0) -> None:
        """Read the file if there is one; raise `UserError` where it is no key file."""
        self._path = path
        self._poll_seconds = poll_seconds
        self._seen = self._stamp()
        self._keys = read_keys(path) if self._seen else Keys()
        self.needed = self._seen is not None
        self._next_look = time.monotonic() + poll_seconds

    def find(self, text: str) -> Key | None:
        """Return the key that ``text`` is, or None."""
        return self._keys.find(text)

    def follow(self) -> None:
        """Take up a changed file; it is looked at once in ``poll_seconds``, which costs microseconds."""
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + self._poll_seconds
        stamp = self._stamp()
        if stamp == self._seen:
            return
        self._seen, self.needed = stamp, True
        try:
            self._keys = read_keys(self._path) if stamp else Keys()
        except UserError as error:
            log.error("the keys before stay: %s", error)  # noqa: TRY400 - the message says all
            return
        log.info("%s: %d keys", self._path, len(self._keys.keys))

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return None
        except OSError:  # no permission: reading it says so
            return (0, 0, 0)
        return (found.st_mtime_ns, found.st_size, found.st_ino)
