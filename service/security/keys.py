"""API keys: the key file, which holds only their hashes, and the keyring of a running service, which follows the file.

A key is `dowse_<id>_<secret>` with 256 random bits in the secret. The file keeps the SHA-256 of the whole key. A slow,
salted hash is for passwords that people choose: it makes guessing expensive. 256 random bits cannot be
guessed at any speed, and with a slow hash a client could keep a core busy by sending wrong keys.

Because the keyring follows the file, a key is added or revoked without a restart.
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

from indexer import strict_json
from indexer.errors import UserError, is_transient
from indexer.filters.filter import Filter
from service.security.permissions import Scope

log = logging.getLogger("dowse.service")

KEY = re.compile(r"dowse_([0-9a-f]{8})_[A-Za-z0-9_-]{43}")
FILE_NAME = "keys.json"

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class Key(BaseModel):
    """One key in the key file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name = Field(description="who or what the key is for; shown in logs")
    id: str = Field(pattern=r"^[0-9a-f]{8}$", description="the public part of the key")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="of the whole key")
    scopes: tuple[Scope, ...] = Field(min_length=1, description="what the key may do")
    filter: Filter | None = Field(default=None, description="documents that the key can see; null for all")
    requests_per_minute: int | None = Field(default=None, ge=1, description="rate limit of the key")
    created: str = Field(description="time of creation, UTC")

    @model_validator(mode="after")
    def _check_filter_scope(self) -> Self:
        if self.filter and self.scopes != ("search",):
            raise ValueError(
                "a key with a filter can have the scope search only: what it wrote could be outside its filter"
            )
        return self


class Keys(BaseModel):
    """Content of the key file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    keys: tuple[Key, ...] = ()

    def find(self, text: str) -> Key | None:
        """Return the key that ``text`` is, or None. The time that this takes reveals nothing about a secret."""
        digest = hashlib.sha256(text.encode()).hexdigest()
        match = KEY.fullmatch(text)
        known = next((key for key in self.keys if match and key.id == match[1]), None)
        # The id is public, so its comparison may stop early; the digests are compared in constant time.
        return known if hmac.compare_digest(digest, known.sha256 if known else "0" * 64) else None


class Keyring:
    """The keys of a running service; it follows the key file.

    Once there was a key file, keys are needed until the service is restarted: if the file is deleted, every request is
    refused. If the file becomes unreadable or is damaged, the previous keys stay valid, and the log says so.

    Attributes:
        needed: whether a request needs a key.

    Raises:
        UserError: the file is not a valid key file.
    """

    def __init__(self, path: Path, poll_seconds: float = 1.0) -> None:
        self._path = path
        self._poll_seconds = poll_seconds
        self._last_stamp = self._file_stamp()
        self._keys = read_keys(path) if self._last_stamp else Keys()
        self.needed = self._last_stamp is not None
        self._next_check = time.monotonic() + poll_seconds
        self._reported = ""  # the last error of the file

    def find(self, text: str) -> Key | None:
        """Return the key that ``text`` is, or None."""
        return self._keys.find(text)

    def follow(self) -> None:
        """Read the file again if it has changed; that is checked once in ``poll_seconds`` and costs microseconds."""
        now = time.monotonic()
        if now < self._next_check:
            return
        self._next_check = now + self._poll_seconds
        stamp = self._file_stamp()
        if stamp == self._last_stamp:
            return
        self.needed = True
        try:
            self._keys = read_keys(self._path) if stamp else Keys()
        except UserError as error:
            if str(error) != self._reported:
                log.error("the previous keys stay valid: %s", error)  # noqa: TRY400 - the message says all
            self._reported = str(error)
            # An error of the machine, such as too many open files, passes: a revoked key must not stay valid after it.
            if not is_transient(error):
                self._last_stamp = stamp
            return
        self._last_stamp, self._reported = stamp, ""
        log.info("%s: %d keys", self._path, len(self._keys.keys))

    def _file_stamp(self) -> tuple[int, int, int] | None:
        """Return modification time, size and inode of the file; None if there is none."""
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return None
        except OSError:  # no permission: `read_keys` reports it
            return (0, 0, 0)
        return (status.st_mtime_ns, status.st_size, status.st_ino)


def read_keys(path: Path) -> Keys:
    """Read and check a key file.

    Raises:
        UserError: it cannot be read, is not a key file, or others than its owner can write to it.
    """
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise UserError(f"{path}: {reason}; `python -m service keys add NAME` makes a key file") from error
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise UserError(f"{path}: users other than its owner can write to it and add keys; chmod 600 {path}")
    try:
        keys = Keys.model_validate_json(text)
        strict_json.loads(text)
    except strict_json.DuplicateKeyError as error:
        raise UserError(f"{path}: {error}") from None
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise UserError(
            f"{path}: {where}: {first['msg']}; restore the file, or remove it and add the keys anew"
        ) from error
    for field in ("name", "id"):
        values = [getattr(key, field) for key in keys.keys]
        if duplicate := next((value for value in values if values.count(value) > 1), None):
            raise UserError(f"{path}: two keys have the {field} {duplicate!r}; remove one of them")
    return keys


def add_key(
    path: Path,
    name: str,
    scopes: tuple[Scope, ...],
    requests_per_minute: int | None = None,
    filter_: Filter | None = None,
) -> str:
    """Add a key to a file, created if there is none, and return the key: it is stored nowhere else.

    Raises:
        UserError: the name is taken, a field is not valid, or the file cannot be written.
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
                filter=filter_,
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
    """Remove a key by its name or id. The file stays, even without any key.

    Raises:
        UserError: there is no such key, or the file cannot be written.
    """
    with _locked(path) as keys:
        remaining = tuple(key for key in keys.keys if name not in {key.name, key.id})
        if len(remaining) == len(keys.keys):
            raise UserError(f"{path}: no key {name!r}; see `python -m service keys list`")
        _write(path, keys.model_copy(update={"keys": remaining}))


@contextmanager
def _locked(path: Path) -> Iterator[Keys]:
    """Lock the file against concurrent changes, and yield its content."""
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
    """Replace the file atomically: a reader sees all of the old one or all of the new one."""
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
