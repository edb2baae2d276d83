"""Record of verified files: what this machine has compared with its checksum since it started, and nothing has written to.

Comparing a large index takes as long as reading it. The record keeps the state of each file as it was *before* it was read:
inode, size, and the times of the last change of its content and of its status, which the kernel keeps and no program can set
back. A file whose state is the same is not read again. A copied or restored file, an altered one, and every file after a
restart of the machine, is. Damage of the disk alone changes no state: a service reads all files again in the background.

The record lies beside the artifact, `.verified-ID`. Where it cannot be written, everything is read each time.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from indexer.artifacts.manifest import Manifest, read_manifest, verify_files

PREFIX = ".verified-"
BOOT = Path("/proc/sys/kernel/random/boot_id")
"""Where Linux has a number that is another one after each start of the machine."""
SETTLED_SECONDS = 2.0
"""A state counts only if it was so old when it was taken: a change within the same tick of the clock would not show."""
State = list[int]
"""Inode, size, and the nanoseconds of the last change of content and of status."""


def record_of(directory: Path) -> Path:
    """Return the path of the record of the artifact in ``directory``."""
    return directory.parent / f"{PREFIX}{directory.name}"


def file_states(directory: Path, names: Iterable[str]) -> dict[str, State]:
    """Return the states of files of an artifact that have settled. Call it *before* they are read."""
    latest = time.time_ns() - int(SETTLED_SECONDS * 1e9)
    states = {}
    for name in names:
        with suppress(OSError):
            status = (directory / name).stat()
            if max(status.st_mtime_ns, status.st_ctime_ns) <= latest:
                states[name] = [status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]
    return states


def write_record(directory: Path, manifest: Manifest, states: dict[str, State]) -> None:
    """Note that the files with these ``states`` are as the manifest says; nothing is noted where that cannot be written."""
    if (boot := _boot()) is None:
        return
    path = record_of(directory)
    part = path.with_name(f"{path.name}.{os.getpid()}")
    with suppress(OSError):
        try:
            part.write_text(
                json.dumps({"boot": boot, "manifest": manifest.checksum, "files": states}), encoding="utf-8"
            )
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


def unchanged_files(directory: Path, manifest: Manifest) -> set[str]:
    """Return the names of the files that were verified since this machine started, and not changed since."""
    try:
        record = json.loads(record_of(directory).read_bytes())
        if record["boot"] != _boot() or record["manifest"] != manifest.checksum:
            return set()
        known: dict[str, State] = record["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return set()
    states = file_states(directory, known)
    return {name for name, state in states.items() if known[name] == state and name in manifest.files}


def verify_once(directory: Path) -> Manifest:
    """Check an artifact as `verify_files` does, but read no file again that the record has; return its manifest.

    Raises:
        UserError: a file is missing, was altered, or was not published with the artifact.
    """
    manifest = read_manifest(directory)
    unchanged = unchanged_files(directory, manifest)
    states = file_states(directory, manifest.files)
    verify_files(directory, unchanged=unchanged)
    if states.keys() != unchanged:
        write_record(directory, manifest, states)
    return manifest


def verify_again(directory: Path, read: Callable[[Path], str]) -> None:
    """Read every file again and compare it; ``read`` returns the SHA-256 of a file.

    Raises:
        UserError: a file was altered; the record is removed.
    """
    try:
        verify_files(directory, read=read)
    except Exception:
        record_of(directory).unlink(missing_ok=True)
        raise


def _boot() -> str | None:
    try:
        return BOOT.read_text(encoding="ascii").strip()
    except OSError:
        return None
