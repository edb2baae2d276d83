"""File of a backup: a tar archive, by its name compressed with zstd (`.zst`) or not.

backup.json                       what is in it, and which artifacts are live
live/writes-….log  …              the log of live writes, feedback; keys.json
indexes/ID/manifest.json          each artifact begins with its manifest, which has the checksums of the others
indexes/ID/vectors.faiss  …
complete.json                     checksums of what belongs to no artifact; without it the file is not whole

It is read and written from the first byte to the last, without going back.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal

from pydantic import BaseModel, ConfigDict, Field

from indexer.artifacts.manifest import FileEntry
from indexer.errors import UserError

FORMAT = 1
HEADER = "backup.json"
FOOTER = "complete.json"
KEYS = "keys.json"
CHUNK = 1 << 20


class Header(BaseModel):
    """First member of a backup.

    Attributes:
        format: number of this format.
        created: when it was made, UTC.
        version: of Dowse.
        size: bytes of all artifacts.
        artifacts: folder of a store → ids of its artifacts.
        current: folder of a store → id of its live artifact.
        quiet: folder of a store → ids of artifacts that have never been live.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    created: str
    version: str
    size: int
    artifacts: dict[str, list[str]] = Field(default_factory=dict)
    current: dict[str, str] = Field(default_factory=dict)
    quiet: dict[str, list[str]] = Field(default_factory=dict)


class Footer(BaseModel):
    """Last member of a backup: size and SHA-256 of the files that belong to no artifact, by their names in it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    files: dict[str, FileEntry]


class Hashed(io.RawIOBase):
    """Reads at most ``size`` bytes of a file, and knows the SHA-256 of what was read."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        super().__init__()
        self._file, self._left, self._hash = file, size, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes; fewer than asked for at the end."""
        content = self._file.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(content)
        self._hash.update(content)
        return content

    @property
    def sha256(self) -> str:
        """Of what was read so far."""
        return self._hash.hexdigest()


def add_file(archive: tarfile.TarFile, name: str, file: BinaryIO, size: int) -> FileEntry:
    """Add the first ``size`` bytes of a file to a backup; return their size and checksum.

    Raises:
        UserError: the file is shorter.
    """
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o600 if name == KEYS else 0o644
    reader = Hashed(file, size)
    try:
        archive.addfile(member, reader)
    except OSError as error:
        if error.errno is not None:  # of the disk, and not tarfile's own about the length
            raise
        raise UserError(f"{name}: shorter than its manifest says; run `python -m indexer verify`") from error
    return FileEntry(size=size, sha256=reader.sha256)


def add_text(archive: tarfile.TarFile, name: str, model: BaseModel) -> None:
    """Add a model as JSON."""
    content = model.model_dump_json(indent=2).encode() + b"\n"
    add_file(archive, name, io.BytesIO(content), len(content))


@contextmanager
def opened(path: Path, name: str, mode: Literal["r", "w"]) -> Iterator[tarfile.TarFile]:
    """Open the file of a backup at ``path`` for reading or writing; by ``name`` it is compressed."""
    with path.open("rb" if mode == "r" else "wb") as file:
        if not name.endswith(".zst"):
            with _tar(file, mode) as archive:
                yield archive
            return
        import pyarrow as pa

        stream = pa.CompressedInputStream if mode == "r" else pa.CompressedOutputStream
        with stream(pa.PythonFile(file, mode=mode), "zstd") as compressed, _tar(compressed, mode) as archive:
            yield archive


def _tar(file: Any, mode: Literal["r", "w"]) -> tarfile.TarFile:
    if mode == "r":
        return tarfile.open(fileobj=file, mode="r|", bufsize=CHUNK)
    return tarfile.open(fileobj=file, mode="w|", format=tarfile.PAX_FORMAT, bufsize=CHUNK)
