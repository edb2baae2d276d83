"""A small file system in memory that a test can fill or make read-only; only root may mount it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

BLOCK = bytes(4096)


@dataclass(frozen=True)
class Disk:
    """A mounted file system."""

    path: Path

    def fill(self) -> None:
        """Fill the disk completely."""
        with (self.path / "ballast").open("ab", buffering=0) as file:
            try:
                while file.write(BLOCK):
                    pass
            except OSError:  # full
                return

    def forbid_writing(self) -> None:
        """Make it read-only for everybody, root included."""
        self._remount("ro")

    def relieve(self) -> None:
        """Free the space and make it writable again."""
        self._remount("rw")
        (self.path / "ballast").unlink(missing_ok=True)

    def _remount(self, option: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{option}", self.path], check=True, capture_output=True)


@contextmanager
def mounted(folder: Path, size: str) -> Iterator[Disk]:
    """Mount a disk of ``size``, such as ``1m``, on ``folder`` and unmount it afterwards.

    Raises:
        PermissionError: this user, or this container, may not mount.
    """
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder]
    try:
        process = subprocess.run(command, check=False, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise PermissionError("there is no mount command") from error
    if process.returncode:
        raise PermissionError(process.stderr.strip())
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
