"""Store of artifacts: immutable directories that are published whole or not at all.

    $DOWSE_DATA/indexes/
        CURRENT                           one line: the id that is live
        20261120T101500Z-1f2e3d4c/        an artifact; `manifest.json` was written last
        .building-1f2e3d4c/               what an unfinished or killed build has left

Publishing renames a complete hidden sibling and then replaces ``CURRENT``. Wherever the process dies, either the old
artifact is live or the new one is. At most one hidden directory is left over: the next build resumes it or `prune`
removes it.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

from indexer.artifacts.manifest import Kind, Manifest, describe_files, read_manifest, verify_files, write_manifest
from indexer.artifacts.verified import PREFIX, file_states, record_of, verify_once, write_record
from indexer.errors import UserError
from indexer.progress import say

ID_PATTERN = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}")
FOLDERS: dict[Kind, str] = {
    "model": "models",
    "index": "indexes",
    "masked": "masked",
    "classifier": "classifiers",
    "reranker": "rerankers",
    "sparse": "sparse",
}
CREATE_COMMANDS: dict[Kind, str] = {
    "model": "python -m trainer base",
    "index": "python -m indexer build CORPUS",
    "masked": "python -m trainer publish-mlm DIR",
    "classifier": "python -m trainer classify publish DIR",
    "reranker": "python -m trainer reranker MODEL",
    "sparse": "python -m trainer sparse MODEL",
}
"""Command that creates the first artifact of a kind."""
KIND_NAMES: dict[Kind, str] = {
    "model": "model",
    "index": "index",
    "masked": "masked-language model",
    "classifier": "classifier",
    "reranker": "re-ranking model",
    "sparse": "learned-sparse model",
}
CURRENT = "CURRENT"
PUBLISHING = ".publishing"
"""File with the id of the artifact that is being published: after a kill the next build finishes its publishing."""
NEVER_LIVE_PREFIX = ".quiet-"
"""Prefix of the marker file of an artifact that has never been live; its id follows."""

RESTORING = ".restoring-"
"""Prefix of the folder of an artifact that is being restored from a backup; its id follows."""

STEPS = ("files", "synced", "manifest", "renamed", "current-written", "current-replaced")
"""Named points of publishing, in order. Tests kill the process at each of them."""


def reached(step: str) -> None:
    """Mark a named point of publishing; the crash tests replace this function."""
    if step not in STEPS:
        raise ValueError(step)


def data_dir() -> Path:
    """Return ``$DOWSE_DATA``, by default ``./data``."""
    return Path(os.environ.get("DOWSE_DATA") or "data")


class Store:
    """All artifacts of one kind below a data directory."""

    def __init__(self, kind: Kind, data: Path | None = None) -> None:
        self.kind: Kind = kind
        self.root = (data or data_dir()) / FOLDERS[kind]

    def ids(self) -> list[str]:
        """Return the ids of all complete artifacts, oldest first."""
        if not self.root.is_dir():
            return []
        return sorted(
            path.name
            for path in self.root.iterdir()
            if ID_PATTERN.fullmatch(path.name) and (path / "manifest.json").is_file()
        )

    def current_id(self) -> str | None:
        """Return the id of the live artifact, or None while there is none."""
        return self.activation()[0]

    def activation(self) -> tuple[str | None, int]:
        """Return the id of the live artifact, and when it was made live, in nanoseconds; None and 0 while there is none."""
        try:
            with (self.root / CURRENT).open(
                encoding="utf-8"
            ) as file:  # both of one file, which may be replaced meanwhile
                name, time = file.read().strip(), os.fstat(file.fileno()).st_mtime_ns
        except FileNotFoundError:
            return None, 0
        if not ID_PATTERN.fullmatch(name):
            raise UserError(f"{self.root / CURRENT}: {name!r} is no artifact id; run `{self.command('activate')} ID`")
        return name, time

    def path(self, artifact: str) -> Path:
        """Return the directory of ``artifact``; raise `UserError` where there is none of that id."""
        if not ID_PATTERN.fullmatch(artifact) or artifact not in self.ids():
            known = ", ".join(self.ids()[-5:]) or "none"
            raise UserError(
                f"{self.root}: no {KIND_NAMES[self.kind]} {artifact!r} (there is: {known}); see `{self.command('list')}`"
            )
        return self.root / artifact

    def resolve(self, artifact: str | None = None) -> Path:
        """Return the directory of ``artifact``, or of the live one where no id is given."""
        artifact = artifact or self.current_id()
        if artifact is None:
            raise UserError(f"{self.root}: there is no {KIND_NAMES[self.kind]} yet; run `{CREATE_COMMANDS[self.kind]}`")
        return self.path(artifact)

    def manifest(self, artifact: str) -> Manifest:
        """Read the manifest of ``artifact``."""
        return read_manifest(self.path(artifact))

    def reuse(self, fingerprint: str, *, live: bool = True) -> Manifest | None:
        """Return the newest sound artifact with this fingerprint, or None where one has to be built.

        With ``live`` it becomes live again if a *newer* one is live. If an *older* one is, that is a rollback, and
        the older one stays live. An artifact that was published without going live goes live at the first call
        with ``live``.
        """
        for artifact in reversed(self.ids()):
            if not artifact.endswith(fingerprint[:8]):
                continue
            try:
                manifest = self.verify_once(artifact)
            except UserError as error:
                say(f"built again: {error}")
                continue
            if manifest.fingerprint == fingerprint:
                if live:
                    self._make_live_again(artifact)
                return manifest
        return None

    def _make_live_again(self, artifact: str) -> None:
        live, never_live = self.current_id(), self._never_live_marker(artifact).exists()
        if live and live in self.ids() and live < artifact and not never_live:
            say(f"live is the older {live}, by choice; `{self.command('activate')} {artifact}` puts the newest live")
        elif live != artifact:
            again = "" if never_live else " again"
            self.activate(artifact)
            say(f"live{again}: {artifact}")

    def _never_live_marker(self, artifact: str) -> Path:
        """Return the marker of an artifact that was published without going live and has not been live since."""
        return self.root / f"{NEVER_LIVE_PREFIX}{artifact}"

    def verify(self, artifact: str) -> Manifest:
        """Check every file of ``artifact`` against its manifest; raise `UserError` at the first that differs."""
        return verify_files(self.path(artifact))

    def verify_once(self, artifact: str) -> Manifest:
        """Check ``artifact`` as `verify` does; what this machine has read and nothing has written to is not read again."""
        return verify_once(self.path(artifact))

    @contextmanager
    def building(self, *, beside: bool = False) -> Iterator[None]:
        """Hold the store's lock: one build at a time. The lock dies with the process, whose number is in the file.

        With ``beside`` it is a second lock, for artifacts that do not go live and are published while a long build runs.

        Raises:
            UserError: another process holds it.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / (".lock-beside" if beside else ".lock")).open("a+", encoding="utf-8") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                number = lock.read().strip()
                holder = f"process {number}" if number else "another process"
                raise UserError(f"{self.root}: {holder} is building here; wait until it has ended") from None
            lock.truncate(0)
            lock.write(f"{os.getpid()}\n")
            lock.flush()
            if not beside:
                self._finish_publishing()
            yield

    def _finish_publishing(self) -> None:
        """Make an artifact live that a killed process had renamed but not yet written into ``CURRENT``."""
        marker = self.root / PUBLISHING
        if marker.is_file() and (artifact := marker.read_text(encoding="utf-8").strip()) in self.ids():
            self.activate(artifact)
        marker.unlink(missing_ok=True)

    def staging(self, fingerprint: str) -> Path:
        """Return the hidden directory in which an artifact of this fingerprint is built.

        It still holds what a killed build of the same fingerprint has left.
        """
        path = self.root / f".building-{fingerprint[:8]}"
        path.mkdir(parents=True, exist_ok=True)
        return path

    def publish(
        self,
        staging: Path,
        draft: Manifest,
        *,
        live: bool = True,
        guard: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> Manifest:
        """Turn a complete ``staging`` directory into an artifact, make it ``live``, and return its manifest.

        ``draft`` carries everything but the id, the time and the files. The folder is renamed inside ``guard``, whose
        exceptions leave everything as it was. Call inside `building`.
        """
        reached("files")
        for path in (
            staging,
            *staging.rglob("*"),
        ):  # another user may serve it: override the modes that libraries chose
            mode = 0o755 if path.is_dir() else 0o644
            if path.stat().st_mode & 0o777 != mode:  # else its status would be new, and the file be read again
                path.chmod(mode)
        states = file_states(staging, [path.relative_to(staging).as_posix() for path in staging.rglob("*")])
        files = describe_files(staging)
        for name in files:
            sync(staging / name)
        reached("synced")
        created = datetime.now(UTC)
        newest = max(self.ids(), default="")
        # Ids must sort by time, also within a second and after the clock was set back.
        while (artifact := f"{created:%Y%m%dT%H%M%SZ}-{draft.fingerprint[:8]}") <= newest:
            created += timedelta(seconds=1)
        manifest = draft.model_copy(
            update={"id": artifact, "created": created.isoformat(timespec="seconds"), "files": files}
        )
        manifest = write_manifest(staging, manifest)
        sync(staging / "manifest.json")
        for folder in {(staging / name).parent for name in files} | {staging}:
            sync(folder)
        reached("manifest")
        marker = self.root / PUBLISHING if live else self._never_live_marker(artifact)
        with guard():
            marker.write_text(artifact + "\n", encoding="utf-8")
            sync(marker)
            staging.rename(self.root / artifact)
            sync(self.root)
        reached("renamed")
        write_record(self.root / artifact, manifest, {name: states[name] for name in files if name in states})
        if live:
            self.activate(artifact)
        return manifest

    def activate(self, artifact: str) -> None:
        """Make ``artifact`` the live one; readers see the old id or the new one."""
        self.path(artifact)
        temporary = self.root / f".{CURRENT}.{os.getpid()}"
        temporary.write_text(artifact + "\n", encoding="utf-8")
        sync(temporary)
        reached("current-written")
        temporary.replace(self.root / CURRENT)
        (self.root / PUBLISHING).unlink(missing_ok=True)
        self._never_live_marker(artifact).unlink(missing_ok=True)
        sync(self.root)
        reached("current-replaced")

    def prune(self, keep: int, pinned: set[str]) -> list[str]:
        """Remove all but the newest ``keep`` artifacts, and leftovers of killed builds; return the removed names.

        The live artifact and those in ``pinned`` stay whatever their age. Call inside `building`.
        """
        with self.building(beside=True):  # what is written beside a build is no leftover
            return self._prune(keep, pinned)

    def _prune(self, keep: int, pinned: set[str]) -> list[str]:
        kept = {self.current_id(), *pinned, *(self.ids()[-keep:] if keep else [])}
        removed = [artifact for artifact in self.ids() if artifact not in kept]
        if self.root.is_dir():
            leftovers = (".building-", ".removing-", RESTORING, f".{CURRENT}.")
            # Markers without an artifact are leftovers too.
            beside = (self._never_live_marker, lambda artifact: record_of(self.root / artifact))
            markers = {marker(artifact).name for artifact in self.ids() for marker in beside}
            removed += sorted(
                name
                for name in (path.name for path in self.root.iterdir())
                if name.startswith(leftovers) or (name.startswith((NEVER_LIVE_PREFIX, PREFIX)) and name not in markers)
            )
        for name in removed:
            self._remove(name)
        return removed

    def _remove(self, name: str) -> None:
        """Hide a directory before its files are deleted: a kill midway leaves no incomplete artifact under its id."""
        path = self.root / name
        if ID_PATTERN.fullmatch(name):
            path = path.rename(self.root / f".removing-{name}")
            self._never_live_marker(name).unlink(missing_ok=True)
            record_of(self.root / name).unlink(missing_ok=True)
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()

    def command(self, verb: str) -> str:
        """Return the command line of ``verb`` for this kind of artifact."""
        option = "" if self.kind == "index" else f" --kind {self.kind}"
        return f"python -m indexer {verb}{option}"


def sync(path: Path) -> None:
    """Flush a file or a directory entry to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def verify_parents(manifest: Manifest, data: Path | None = None) -> dict[str, Manifest]:
    """Check every file of the artifacts that one needs, and return their manifests by kind.

    Raises:
        UserError: one of them is absent, or was altered.
    """
    return {kind: Store(cast("Kind", kind), data).verify(parent) for kind, parent in manifest.parents.items()}
