"""Restoring of a backup: file → data directory. Killed anywhere, the same command goes on.

Each artifact is written into a hidden folder, verified by its manifest, and renamed. The log of live writes and what is
live are replaced last, after the last member of the file was read. Until then a service sees nothing of it.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from pathlib import Path, PurePosixPath

from pydantic import ValidationError

from indexer.artifacts.manifest import FileEntry, Kind, Manifest, file_sha256, read_manifest
from indexer.artifacts.store import FOLDERS, ID_PATTERN, NEVER_LIVE_PREFIX, RESTORING, Store, data_dir, sync
from indexer.errors import UserError, first_line
from indexer.live.backup.archive import CHUNK, FOOTER, FORMAT, HEADER, KEYS, Footer, Hashed, Header, opened
from indexer.live.backup.create import Summary
from indexer.live.log import FOLDER, LOCK, WriteLog
from indexer.progress import Bar, say

STEPS = ("artifact-restored", "read", "keys-restored", "log-removed", "log-restored", "activated")
"""Named points, in order. Tests kill the process at each of them."""
KINDS: dict[str, Kind] = {folder: kind for kind, folder in FOLDERS.items()}
AGAIN = "the backup is damaged or cut off; take another copy of it"
OF_LOG = re.compile(rf"{FOLDER}/\w[\w.-]*")
Member = tuple[str, io.BufferedIOBase]
"""Name and content."""


def reached(step: str) -> None:
    """Mark a named point; a seam for the crash tests, which replace this function."""
    if step not in STEPS:
        raise ValueError(step)


def restore(file: Path, *, overwrite: bool = False, data: Path | None = None) -> Summary:
    """Write the contents of a backup into a data directory; what is there already and is the same stays.

    Args:
        file: of the backup.
        overwrite: whether live writes, keys and what is live may be replaced by those of the backup.
        data: the data directory; by default ``$DOWSE_DATA``.

    Raises:
        UserError: the file is no whole backup, the directory holds something else, or the disk is too small. What is
            live stays as it is; artifacts that were restored before the error are whole.
    """
    data = data or data_dir()
    if not file.is_file():
        raise UserError(f"{file}: there is no such file")
    data.mkdir(parents=True, exist_ok=True)
    try:
        with opened(file, file.name, "r") as archive:
            return _restore(archive, file, data, overwrite=overwrite)
    except (tarfile.TarError, EOFError, ValidationError) as error:
        raise UserError(f"{file}: {AGAIN} ({first_line(error)})") from error
    except OSError as error:
        if error.errno is None:  # of the decompression
            raise UserError(f"{file}: {AGAIN} ({first_line(error)})") from error
        raise


def _restore(archive: tarfile.TarFile, file: Path, data: Path, *, overwrite: bool) -> Summary:
    members = _members(archive, file)
    header = _header(next(members, ("", None)), file)
    stores = {folder: Store(KINDS[folder], data) for folder in header.artifacts}
    for folder, store in stores.items():
        live = store.current_id()
        if live not in {None, header.current.get(folder)} and not overwrite:
            raise UserError(f"{store.root}: {live} is live here, another one in {file}; --overwrite replaces it")
    if (free := shutil.disk_usage(data).free) < header.size and not any(store.ids() for store in stores.values()):
        raise UserError(f"{data}: the backup has {header.size:,} bytes, and {free:,} are free there; make room")
    with ExitStack() as stack:
        for store in stores.values():
            stack.enter_context(store.building())
            for left in store.root.glob(f"{RESTORING}*"):
                shutil.rmtree(left)
        staging = data / RESTORING
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
        stack.callback(shutil.rmtree, staging, ignore_errors=True)
        size = _read_all(members, header, stores, staging, overwrite=overwrite)
        reached("read")
        _replace_keys(staging / KEYS, data / KEYS)
        reached("keys-restored")
        _replace_log(staging / FOLDER, data, overwrite=overwrite)
        reached("log-restored")
        for folder in sorted(header.current, key=lambda folder: folder == FOLDERS["index"]):  # the index last
            if stores[folder].current_id() != header.current[folder]:
                stores[folder].activate(header.current[folder])
            reached("activated")
    log = WriteLog(data)
    with log.shared():
        log.read()
    return Summary(sum(map(len, header.artifacts.values())), header.size + size, log.sequence)


def _read_all(
    members: Iterator[Member], header: Header, stores: dict[str, Store], staging: Path, *, overwrite: bool
) -> int:
    """Read all members: publish the artifacts, write the other files into ``staging``, and return the size of these.

    Raises:
        UserError: something is missing, altered, or belongs to nothing.
    """
    others: dict[str, FileEntry] = {}
    footer: Footer | None = None
    incoming: _Incoming | None = None
    restored: set[tuple[str, str]] = set()
    with Bar("restore", header.size, "bytes") as bar:
        for name, content in members:
            if incoming and not name.startswith(incoming.prefix):
                restored.add(incoming.finish(header))
                incoming = None
            if name == FOOTER:
                footer = Footer.model_validate_json(content.read())
            elif name == KEYS or OF_LOG.fullmatch(name):
                others[name] = _write(staging / name, content)
            else:
                if not restored and not overwrite:  # before the long part: the other files come first
                    _refuse_others(staging, staging.parent)
                incoming = incoming or _begin(name, content, stores, header, overwrite=overwrite)
                bar.advance(incoming.take(name, content))
    wanted = {(folder, artifact) for folder, artifacts in header.artifacts.items() for artifact in artifacts}
    if footer is None or footer.files != others or restored != wanted:
        raise UserError(AGAIN)
    return sum(entry.size for entry in others.values())


class _Incoming:
    """One artifact that is being restored, or passed over because it is there.

    Attributes:
        prefix: of the names of its members.
    """

    def __init__(self, store: Store, artifact: str, manifest: Manifest, *, is_there: bool) -> None:
        self.prefix = f"{FOLDERS[store.kind]}/{artifact}/"
        self._store, self._artifact, self._manifest, self._is_there = store, artifact, manifest, is_there
        self._folder = store.root / f"{RESTORING}{artifact}"
        self._taken: set[str] = set()

    def take(self, name: str, content: io.BufferedIOBase) -> int:
        """Write a member of the artifact, and return its size."""
        inside = name.removeprefix(self.prefix)
        if inside == "manifest.json":  # it is written last
            return 0
        entry = self._manifest.files.get(inside)
        if entry is None or inside in self._taken or ".." in PurePosixPath(inside).parts or inside.startswith("/"):
            raise UserError(f"{name}: is no file of the artifact; {AGAIN}")
        self._taken.add(inside)
        if not self._is_there and _write(self._folder / inside, content, entry.size) != entry:
            raise UserError(f"{name}: content differs from the manifest's SHA-256; {AGAIN}")
        return entry.size

    def finish(self, header: Header) -> tuple[str, str]:
        """Publish the artifact under its id, without making it live; return its folder and its id."""
        folder = FOLDERS[self._store.kind]
        if self._taken != set(self._manifest.files):
            raise UserError(f"{self.prefix}: not all of its files are in the backup; {AGAIN}")
        if not self._is_there:
            (self._folder / "manifest.json").write_bytes(self.manifest_text)
            sync(self._folder / "manifest.json")
            read_manifest(self._folder)
            for path in [self._folder, *(each for each in self._folder.rglob("*") if each.is_dir())]:
                sync(path)
            if self._artifact in header.quiet.get(folder, []):
                (self._store.root / f"{NEVER_LIVE_PREFIX}{self._artifact}").write_text(self._artifact + "\n", "utf-8")
            self._folder.rename(self._store.root / self._artifact)
            sync(self._store.root)
            reached("artifact-restored")
        return folder, self._artifact

    manifest_text = b""


def _begin(
    name: str,
    content: io.BufferedIOBase,
    stores: dict[str, Store],
    header: Header,
    *,
    overwrite: bool,
) -> _Incoming:
    """Return the artifact that begins with this member, its manifest."""
    folder, artifact, inside = (*name.split("/", 2), "", "")[:3]
    if (
        artifact not in header.artifacts.get(folder, [])
        or not ID_PATTERN.fullmatch(artifact)
        or inside != "manifest.json"
    ):
        raise UserError(f"{name!r} belongs to no artifact; {AGAIN}")
    text, store = content.read(), stores[folder]
    try:
        manifest = Manifest.model_validate_json(text)
    except ValidationError as error:
        raise UserError(f"{name} is not readable as a manifest; {AGAIN}") from error
    incoming = _Incoming(store, artifact, manifest, is_there=_is_there(store, artifact, manifest, overwrite=overwrite))
    incoming.manifest_text = text
    return incoming


def _is_there(store: Store, artifact: str, manifest: Manifest, *, overwrite: bool) -> bool:
    """Say whether the same artifact is there and sound; one that is not is removed where it may be overwritten."""
    if artifact not in store.ids():
        return False
    try:
        if store.verify_once(artifact).checksum == manifest.checksum:
            return True
        problem = "differs from the one in the backup"
    except UserError as error:
        problem = str(error)
    if not overwrite:
        raise UserError(f"{store.root / artifact}: {problem}; --overwrite replaces it")
    removed = (store.root / artifact).rename(store.root / f".removing-{artifact}")
    shutil.rmtree(removed)
    return False


def _members(archive: tarfile.TarFile, file: Path) -> Iterator[Member]:
    for member in archive:
        content = archive.extractfile(member) if member.isreg() else None
        if content is None:
            raise UserError(f"{file}: has a member {member.name!r} that is no file; it is no backup of Dowse")
        yield member.name, content  # type: ignore[misc]  # typeshed calls it IO[bytes]


def _header(first: tuple[str, io.BufferedIOBase | None], file: Path) -> Header:
    name, content = first
    if name != HEADER or content is None:
        raise UserError(f"{file}: is no backup of Dowse")
    try:
        header = Header.model_validate_json(content.read())
    except ValidationError as error:
        raise UserError(f"{file}: {HEADER} is not readable; it may be of a newer Dowse") from error
    if (
        header.format != FORMAT
        or not set(header.artifacts) <= set(KINDS)
        or not set(header.current) <= set(header.artifacts)
    ):
        raise UserError(f"{file}: is of format {header.format}; this Dowse reads format {FORMAT}")
    return header


def _write(path: Path, content: io.BufferedIOBase, limit: int | None = None) -> FileEntry:
    """Write a member to the disk, and return its size and checksum; of one beyond ``limit`` the rest is not read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    reader = Hashed(content, (1 << 62) if limit is None else limit)  # type: ignore[arg-type]
    mode = 0o600 if path.name == KEYS else 0o644
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode)
    size = 0
    with os.fdopen(descriptor, "wb") as file:
        while chunk := reader.read(CHUNK):
            size += file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    return FileEntry(size=size, sha256=reader.sha256)


def _refuse_others(staging: Path, data: Path) -> None:
    """Raise `UserError` where the directory has other keys or other live writes than the backup."""
    new, keys = staging / KEYS, data / KEYS
    if new.is_file() and keys.exists() and keys.read_bytes() != new.read_bytes():
        raise UserError(f"{keys}: there are other keys here than in the backup; --overwrite replaces them")
    if not (data / FOLDER).is_dir():
        return
    here, there = (_contents(folder) if folder.is_dir() else {} for folder in (data / FOLDER, staging / FOLDER))
    if here and here != there:
        raise UserError(
            f"{data / FOLDER}: there are other live writes here than in the backup; --overwrite replaces them"
        )


def _replace_keys(new: Path, path: Path) -> None:
    if not new.is_file() or (path.is_file() and path.read_bytes() == new.read_bytes()):
        return
    new.replace(path)
    sync(path.parent)


def _replace_log(new: Path, data: Path, *, overwrite: bool) -> None:
    """Put the folder of live writes in its place, under the log's own lock; a running service notices it.

    Raises:
        UserError: there are other live writes, and they may not be overwritten.
    """
    old, log = data / FOLDER, WriteLog(data)
    new.mkdir(exist_ok=True)
    (new / LOCK).touch()
    removed = data / f"{RESTORING}-removed"
    shutil.rmtree(removed, ignore_errors=True)
    with log.locked() if old.is_dir() else nullcontext():
        if old.is_dir():
            if _contents(old) == _contents(new):
                return
            if _contents(old) and not overwrite:
                raise UserError(
                    f"{old}: there are other live writes here than in the backup; --overwrite replaces them"
                )
            old.rename(removed)
        reached("log-removed")
        new.rename(old)
        sync(data)
    if removed.is_dir():
        say(f"{old}: replaced by that of the backup")
        shutil.rmtree(removed)


def _contents(folder: Path) -> dict[str, str]:
    """Return the checksums of the files of a log that have anything in them, by their names."""
    paths = [path for path in folder.iterdir() if path.is_file() and path.name != LOCK and path.stat().st_size]
    return {path.name: file_sha256(path) for path in paths}
