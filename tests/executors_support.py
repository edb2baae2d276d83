"""Builds by several processes: what their index is compared by, and processes that must be gone."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from indexer.artifacts.manifest import Manifest
from indexer.artifacts.store import Store
from indexer.build.settings import BuildSettings
from indexer.index.index import Index
from indexer.index.lexical import fields
from indexer.retrieval.retriever import Retriever

SETTINGS = BuildSettings(language="en", dense_weight=0.5)
SIZES = {"LEAST_DOCUMENTS": 10, "MEAN_FURTHER": 10, "MOST_DOCUMENTS": 30, "WINDOW": 8}
"""Of shards and windows in these tests."""


def facts(manifest: Manifest, data: Path) -> dict[str, Any]:
    """Return what an index holds: the digest of each file, and what is found by words, whose files have random names."""
    files = {name: entry.sha256 for name, entry in manifest.files.items() if not name.startswith(fields.FOLDER)}
    assert {"vectors.faiss", "passages.arrow", "documents/00003.arrow"} <= files.keys()
    retriever = Retriever(Index.open(Store("index", data).path(manifest.id), cores=1))
    hits = retriever.page(retriever.search("the king in the garden", "lexical"), 0, 50)
    counts = {name: manifest.counts[name] for name in ("rows", "documents", "passages")}
    return {"files": files, "counts": counts, "found": [(hit.document.id, hit.score) for hit in hits]}


def children(pid: int) -> list[int]:
    """Return the processes that a process has started, with theirs."""
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        own = [int(child) for thread in threads for child in (thread / "children").read_text().split()]
    except FileNotFoundError:
        return []
    return own + [further for child in own for further in children(child)]


def wait_until_gone(pids: Iterable[int], seconds: float = 30.0) -> None:
    """Wait until the processes have ended; fail where one has not."""
    until = time.monotonic() + seconds
    for pid in pids:
        while _runs(pid):
            assert time.monotonic() < until, f"process {pid} is still there"
            time.sleep(0.05)


def _runs(pid: int) -> bool:
    """Say whether a process is there and not merely waiting for its parent to ask how it ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
