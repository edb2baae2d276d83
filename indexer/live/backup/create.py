"""Backup of a data directory while it is served, built and written to: one file, whole or not at all.

Artifacts never change, and nobody removes one meanwhile: the second lock of each store, which `prune` takes too, is
held. The log of live writes is opened after the artifacts were chosen, in one moment between two writes, and read as far
as it went then. So it has every write that an index in the backup has folded, and every write that was answered before.
"""

from __future__ import annotations

import os
import tarfile
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, cast

from indexer import __version__
from indexer.artifacts.manifest import FileEntry, Kind, Manifest
from indexer.artifacts.store import FOLDERS, NEVER_LIVE_PREFIX, Store, data_dir, sync
from indexer.errors import UserError
from indexer.live.backup.archive import FOOTER, KEYS, Footer, Header, add_file, add_text, opened
from indexer.live.backup.archive import HEADER as HEADER_NAME
from indexer.live.log import FOLDER, WriteLog
from indexer.progress import Bar

STEPS = ("artifact-written", "written")
"""Named points, in order. Tests kill the process at each of them."""
Chosen = dict[Kind, dict[str, Manifest]]
"""Kind → id → manifest of the artifacts of a backup."""


@dataclass(frozen=True)
class Summary:
    """What was written or restored.

    Attributes:
        artifacts: number of artifacts.
        size: of their files and of the others, in bytes.
        writes: number of the last live write; 0 for none.
    """

    artifacts: int
    size: int
    writes: int = 0


def reached(step: str) -> None:
    """Mark a named point; a seam for the crash tests, which replace this function."""
    if step not in STEPS:
        raise ValueError(step)


def backup(file: Path, *, live_only: bool = False, overwrite: bool = False, data: Path | None = None) -> Summary:
    """Write artifacts, live writes, feedback and keys of a data directory into one file; every byte is verified.

    Args:
        file: where to; `.zst` at its end compresses it.
        live_only: only what is live, and what that needs.
        overwrite: whether a file that is there is replaced.
        data: the data directory; by default ``$DOWSE_DATA``.

    Raises:
        UserError: the file exists, there is nothing to back up, or a file differs from its manifest. Nothing is written.
    """
    data = data or data_dir()
    if file.exists() and not overwrite:
        raise UserError(f"{file}: exists already; give another name, or --overwrite to replace it")
    stores = {kind: Store(kind, data) for kind in FOLDERS if Store(kind, data).root.is_dir()}
    if not any(store.ids() for store in stores.values()):
        raise UserError(f"{data}: there is nothing to back up; DOWSE_DATA names the data directory")
    part = file.with_name(f".{file.name}.part")  # of a killed backup, it is begun anew
    with ExitStack() as stack:
        for store in stores.values():
            stack.enter_context(store.building(beside=True))
        current = {kind: live for kind, store in stores.items() if (live := store.current_id())}
        chosen = _choose(stores, current, live_only=live_only)
        others, writes = _open_others(data, stack)
        header = Header(
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            version=__version__,
            size=sum(_size(manifest) for artifacts in chosen.values() for manifest in artifacts.values()),
            artifacts={FOLDERS[kind]: list(artifacts) for kind, artifacts in chosen.items()},
            current={FOLDERS[kind]: live for kind, live in current.items()},
            quiet={FOLDERS[kind]: _quiet(stores[kind], list(artifacts)) for kind, artifacts in chosen.items()},
        )
        size = header.size + sum(length for _, length in others.values())
        with opened(part, file.name, "w") as archive, Bar("back up", size, "bytes") as bar:
            add_text(archive, HEADER_NAME, header)
            footer: dict[str, FileEntry] = {}
            for name, (opened_file, length) in others.items():
                footer[name] = add_file(archive, name, opened_file, length)
                bar.advance(length)
            for kind, artifacts in chosen.items():
                for artifact, manifest in artifacts.items():
                    _add_artifact(archive, stores[kind], artifact, manifest, bar)
                    reached("artifact-written")
            add_text(archive, FOOTER, Footer(files=footer))
    sync(part)
    reached("written")
    part.replace(file)
    sync(file.parent)
    return Summary(sum(map(len, chosen.values())), size, writes)


def _choose(stores: dict[Kind, Store], current: dict[Kind, str], *, live_only: bool) -> Chosen:
    """Return the artifacts to back up: all, or the live ones and those that they need.

    Raises:
        UserError: one that is needed is not there, or has a damaged manifest.
    """
    wanted = {kind: {current[kind]} if kind in current else set[str]() for kind in stores}
    if not live_only:
        wanted = {kind: set(store.ids()) for kind, store in stores.items()}
    for artifact in sorted(wanted.get("index", ())):
        for kind, parent in stores["index"].manifest(artifact).parents.items():
            wanted.setdefault(cast("Kind", kind), set()).add(parent)
    if "model" in current:
        origin = stores["model"].manifest(current["model"]).config.get("tuned_from")
        wanted["model"] |= {artifact for artifact in stores["model"].ids() if artifact == origin}
    return {
        kind: {name: stores[kind].manifest(name) for name in sorted(names)} for kind, names in wanted.items() if names
    }


def _open_others(data: Path, stack: ExitStack) -> tuple[dict[str, tuple[BinaryIO, int]], int]:
    """Open what belongs to no artifact, each with the length up to which it counts; and return the last write's number.

    Raises:
        UserError: the log is damaged.
    """
    found: dict[str, tuple[BinaryIO, int]] = {}
    log = WriteLog(data)
    with log.shared():
        log.read()
        paths = [*log.files(), *sorted(log.folder.glob("*.jsonl"))]
        files = [(f"{FOLDER}/{path.name}", stack.enter_context(path.open("rb"))) for path in paths]
        for name, file in files:
            found[name] = (file, _whole_lines(file))
    if (keys := data / KEYS).is_file():
        file = stack.enter_context(keys.open("rb"))
        found[KEYS] = (file, os.fstat(file.fileno()).st_size)
    return found, log.sequence


def _whole_lines(file: BinaryIO) -> int:
    """Return the length of a file without an unfinished last line; the file is at its start then."""
    end = os.fstat(file.fileno()).st_size
    while end:
        start = max(end - (1 << 16), 0)
        file.seek(start)
        place = file.read(end - start).rfind(b"\n")
        if place >= 0:
            end = start + place + 1
            break
        end = start
    file.seek(0)
    return end


def _add_artifact(archive: tarfile.TarFile, store: Store, artifact: str, manifest: Manifest, bar: Bar) -> None:
    folder, prefix = store.path(artifact), f"{FOLDERS[store.kind]}/{artifact}"
    for name in ("manifest.json", *manifest.files):
        path = folder / name
        entry = manifest.files.get(name)
        if path.is_symlink() or not path.is_file():
            raise UserError(f"{path}: missing; run `{store.command('verify')}`")
        with path.open("rb") as file:
            length = entry.size if entry else path.stat().st_size
            written = add_file(archive, f"{prefix}/{name}", file, length)
        if entry and written != entry:
            raise UserError(f"{path}: content differs from the manifest's SHA-256; run `{store.command('verify')}`")
        bar.advance(length if entry else 0)


def _quiet(store: Store, artifacts: list[str]) -> list[str]:
    return [artifact for artifact in artifacts if (store.root / f"{NEVER_LIVE_PREFIX}{artifact}").exists()]


def _size(manifest: Manifest) -> int:
    return sum(entry.size for entry in manifest.files.values())
