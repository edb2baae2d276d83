"""API keys: a file that holds no key, only what is needed to recognise one.

A key is `dowse_<id>_<secret>` with 256 random bits in the secret. The file keeps the SHA-256 of the whole key. A slow,
salted hash is for what people think up: it makes guessing dear. Nobody guesses 256 random bits, at whatever speed, and
a slow hash here would let anybody keep a core busy by sending wrong keys.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import logging
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from indexer.errors import UserError
from indexer.filters.filter import Filter
from service.security.permissions import Scope

KEY = re.compile(r"dowse_([0-9a-f]{8})_[A-Za-z0-9_-]{43}")
FILE_NAME = "keys.json"

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class Key(BaseModel):
    """One key, as the file has it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name = Field(description="who or what it is for; shown in logs")
    id: str = Field(pattern=r"^[0-9a-f]{8}$", description="the part of the key that is no secret")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="of the whole key")
    scopes: tuple[Scope, ...] = Field(min_length=1, description="what it may do")
    filter: Filter | None = Field(default=None, description="the documents that there are for this key; null for all")
    requests_per_minute: int | None = Field(default=None, ge=1, description="its own rate limit")
    created: str = Field(description="when, UTC")

    @model_validator(mode="after")
    def _reads_only(self) -> Self:
        if self.filter and self.scopes != ("search",):
            raise ValueError(
                "a key with a filter has the scope search alone: what it wrote could lie outside its filter"
            )
        return self


class Keys(BaseModel):
    """The file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    keys: tuple[Key, ...] = ()

    def find(self, text: str) -> Key | None:
        """Return the key that ``text`` is, or None. How long it takes says nothing about any secret."""
        digest = hashlib.sha256(text.encode()).hexdigest()
        shape = KEY.fullmatch(text)
        known = next((key for key in self.keys if shape and key.id == shape[1]), None)
        # The id is no secret, so that finding it may be quick; the digests are compared in constant time.
        return known if hmac.compare_digest(digest, known.sha256 if known else "0" * 64) else None


def read_keys(path: Path) -> Keys:
    """Read and check a key file.

    Raises:
        UserError: it cannot be read, is none, or somebody else than its owner can write to it.
    """
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise UserError(f"{path}: {reason}; `python -m service keys add NAME` makes a key file") from error
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise UserError(f"{path}: others than its owner can write to it, and so give themselves keys; chmod 600 {path}")
    try:
        keys = Keys.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise UserError(
            f"{path}: {where}: {first['msg']}; restore the file, or remove it and add the keys anew"
        ) from error
    for what in ("name", "id"):
        values = [getattr(key, what) for key in keys.keys]
        if twice := next((value for value in values if values.count(value) > 1), None):
            raise UserError(f"{path}: two keys have the {what} {twice!r}; remove one of them")
    return keys


def add_key(
    path: Path,
    name: str,
    scopes: tuple[Scope, ...],
    requests_per_minute: int | None = None,
    forced: Filter | None = None,
) -> str:
    """Add a key to a file, which is made where there is none, and return the key: it is nowhere else.

    Raises:
        UserError: the name is taken or not fit for a log.
    """
    identity = secrets.token_hex(4)
    text = f"dowse_{identity}_{secrets.token_urlsafe(32)}"
    with _locked(path) as keys:
        if any(key.name == name for key in keys.keys):
            raise UserError(f"{path}: there is a key {name!r} already; choose another name or revoke it first")
        try:
            key = Key(
                name=name,
                id=identity,
                sha256=hashlib.sha256(text.encode()).hexdigest(),
                scopes=scopes,
                filter=forced,
                requests_per_minute=requests_per_minute,
                created=datetime.now(UTC).isoformat(timespec="seconds"),
            )
        except ValidationError as error:
            first = error.errors(include_input=False)[0]
            where = ".".join(map(str, first["loc"])) or "filter"
            raise UserError(f"{where} of the key: {first['msg']}; see `keys add --help`") from error
        _write(path, keys.model_copy(update={"keys": (*keys.keys, key)}))
    return text


def revoke_key(path: Path, name: str) -> None:
    """Remove a key by its name or id; raise `UserError` where there is none. The file stays, also without any key."""
    with _locked(path) as keys:
        left = tuple(key for key in keys.keys if name not in {key.name, key.id})
        if len(left) == len(keys.keys):
            raise UserError(f"{path}: no key {name!r}; see `python -m service keys list`")
        _write(path, keys.model_copy(update={"keys": left}))


@contextmanager
def _locked(path: Path) -> Iterator[Keys]:
    """Hold the file's lock, so that of two who change it none undoes the other, and yield what it holds."""
    try:
        lock = os.open(path.with_name(f".{path.name}.lock"), os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as error:
        raise UserError(
            f"{path.parent}: {error.strerror}; name a file in a directory that you may write to with --keys"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield read_keys(path) if path.exists() else Keys()
    finally:
        os.close(lock)


def _write(path: Path, keys: Keys) -> None:
    """Replace the file: whoever reads it sees all of the old one or all of the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(keys.model_dump_json(indent=2, by_alias=True, exclude_defaults=True) + "\n")
        file.flush()
        os.fsync(descriptor)
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


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
