"""Inventory of a data directory: its artifacts with verdict, report and the command that makes each live, and its disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from indexer.artifacts.manifest import Manifest
from indexer.artifacts.store import FOLDERS, Store
from indexer.errors import UserError, first_line
from service.api.operations import status_schemas as schemas
from service.api.operations.schemas import Gain
from service.serving.model import REPORT_PAGE

BESIDE = ("live", "training")
"""Folders of a data directory beside those of the artifacts."""


def artifacts(data: Path, serving: frozenset[str], index_flags: str = "") -> list[schemas.Artifact]:
    """Return all artifacts, newest first, those of the kind `index` before all others.

    Args:
        data: the data directory.
        serving: ids of the artifacts from which this service answers.
        index_flags: what `indexer activate` needs beside the id of an index, for another store than the files.
    """
    found = []
    for kind in sorted(FOLDERS, key=lambda kind: (kind != "index", kind != "model")):
        store = Store(kind, data)
        try:
            current = store.current_id()
        except UserError:
            current = None
        for artifact in reversed(store.ids()):
            command = f"{store.command('activate')} {artifact}{index_flags if kind == 'index' else ''}"
            state = {"id": artifact, "kind": kind, "current": artifact == current, "serving": artifact in serving}
            try:
                facts = _facts(store.manifest(artifact))
            except UserError as error:  # pruned meanwhile, or damaged
                facts = {"problem": first_line(error)}
            found.append(schemas.Artifact(**state, activate=None if artifact == current else command, **facts))
    return found


def _facts(manifest: Manifest) -> dict[str, object]:
    config = manifest.config
    is_model = manifest.kind == "model"
    return {
        "created": manifest.created,
        "name": str(config["base"]) if "base" in config else None,
        "documents": manifest.counts.get("documents"),
        "model": manifest.parents.get("model"),
        "tuned_from": config.get("tuned_from"),
        "verdict": config.get("verdict"),
        "judged_by": config.get("judged_by"),
        "dense": _gain(manifest, "dense"),
        "hybrid": _gain(manifest, "hybrid"),
        "report": f"report/{manifest.id}" if is_model and REPORT_PAGE in manifest.files else None,
    }


def _gain(manifest: Manifest, leg: str) -> Gain | None:
    base, tuned = manifest.metrics.get(f"base_{leg}_ndcg10"), manifest.metrics.get(f"{leg}_ndcg10")
    return None if base is None or tuned is None else Gain(base=base, tuned=tuned)


def disk(data: Path) -> schemas.Disk:
    """Return the room on the disk, and what each kind takes of it; a file with several names counts once."""
    usage = shutil.disk_usage(data)
    seen: set[tuple[int, int]] = set()
    used = {name: sum(_sizes(data / name, seen)) for name in (*FOLDERS.values(), *BESIDE)}
    return schemas.Disk(
        free_bytes=usage.free, total_bytes=usage.total, used_bytes={name: size for name, size in used.items() if size}
    )


def _sizes(folder: Path, seen: set[tuple[int, int]]) -> Iterator[int]:
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                status = os.lstat(Path(root) / name)
            except FileNotFoundError:  # pruned meanwhile
                continue
            if (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                yield status.st_blocks * 512
