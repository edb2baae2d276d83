"""Inspection of the log of live writes: what a service would set aside or not show, without any service."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from indexer.artifacts.manifest import Manifest
from indexer.artifacts.store import Store
from indexer.index.index import Index
from indexer.live.log import WriteLog
from indexer.live.prepare import Preparer, find_unfit
from indexer.live.write import Write, last_writes


def log_problems(data: Path) -> list[str]:
    """Return what is wrong with the log of a data directory and its live index, one line each with the remedy.

    Raises:
        UserError: the log is damaged, or the index cannot be opened.
    """
    log = WriteLog(data)
    with log.shared():
        writes = log.read()
    indexes = Store("index", data)
    if indexes.current_id() is None:
        return []
    manifest = indexes.manifest(indexes.resolve().name)
    folded = int(manifest.config.get("folded", 0))
    problems = [
        f"{log.folder}: write {write.sequence} of {write.time} is newer than index {manifest.id}, which has folded "
        f"writes up to {folded}, and is not shown: build the index again with `python -m indexer build CORPUS`"
        for write in writes
        if write.sequence <= folded and write.time > manifest.created.replace("+00:00", ".999+00:00")
    ]
    problems += [
        f"{log.folder}: write {write.sequence} could not be applied when index {manifest.id} was compacted, and is set "
        f"aside (documents {', '.join(map(repr, write.ids[:3]))}): put them again, or forget them"
        for write in hidden_writes(writes, manifest)
    ]
    return problems + [
        f"{log.folder}: write {number} cannot be applied to index {manifest.id} and is set aside: {reason}"
        for number, reason in _unfit(indexes, manifest, writes).items()
    ]


def set_aside_writes(data: Path, writes: Sequence[Write]) -> set[int]:
    """Return the numbers of the writes of a log that its live index does not hold and no service can show.

    Raises:
        UserError: the index cannot be opened.
    """
    indexes = Store("index", data)
    if indexes.current_id() is None:
        return set()
    manifest = indexes.manifest(indexes.resolve().name)
    return {write.sequence for write in hidden_writes(writes, manifest)} | _unfit(indexes, manifest, writes).keys()


def hidden_writes(writes: Sequence[Write], index: Manifest) -> list[Write]:
    """Return the writes of a log that compaction had set aside, as long as their documents were not put again.

    An index takes writes up to the last folded one for its own, so nothing else tells of these.
    """
    numbers = set(index.config.get("set_aside", ()))
    last = last_writes(write for write in writes if write.sequence not in numbers)
    return [
        write
        for write in writes
        if write.sequence in numbers and any(last.get(name, 0) < write.sequence for name in write.ids)
    ]


def _unfit(indexes: Store, manifest: Manifest, writes: Sequence[Write]) -> dict[int, str]:
    """Return the numbers of the writes after the last folded one that cannot be applied, each with the reason."""
    new = [write for write in writes if write.sequence > int(manifest.config.get("folded", 0))]
    if not new:
        return {}
    index = Index.open(indexes.root / manifest.id, verify=False, cores=1)
    return find_unfit(index, [_without_encoding(write, index) for write in new])


def _without_encoding(write: Write, index: Index) -> Write:
    """Return a write of another recipe with empty vectors: the service encodes its texts again, which takes long."""
    recipe = Preparer(index).recipe
    if write.recipe == recipe:
        return write
    documents = [
        replace(document, vectors=np.zeros((len(document.passages), index.dense.dimension), dtype=np.float32))
        for document in write.documents
    ]
    return replace(write, recipe=recipe, documents=tuple(documents))
