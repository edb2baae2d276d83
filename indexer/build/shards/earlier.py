"""Shards of an earlier index that a new one can take over as they are: the same documents to the byte."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np

from indexer.artifacts.manifest import Manifest
from indexer.build.shards.shard import PASSAGE, Passages
from indexer.index.arrow import ArrowTable, fixed_bytes
from indexer.index.document_mask import Rows
from indexer.index.index import DOCUMENTS, PASSAGES
from indexer.inference.passages import encoded_columns


@dataclass(frozen=True)
class EarlierShard:
    """A shard of an earlier index.

    Attributes:
        path: of its documents.
        documents: how many there are.
        passages: of these documents, which are numbered from 0; None where they were cut in another way.
        first: number of the first of these passages in the index.
    """

    path: Path
    documents: int
    passages: Passages | None
    first: int


@dataclass(frozen=True)
class EarlierShards:
    """The shards of an index, found by the SHA-256 of their documents; by default there are none."""

    _paths: dict[str, tuple[Path, int, int]] = field(default_factory=dict)
    _passages: ArrowTable | None = None
    _documents: Rows = field(default_factory=lambda: np.empty(0, dtype=np.int64))

    @classmethod
    def of(cls, folder: Path, manifest: Manifest, model: str | None, recipe: dict[str, Any]) -> Self:
        """Return the shards of the index in ``folder``; with passages where model and ``recipe`` are the index's own."""
        if not (folder / DOCUMENTS).is_dir():
            return cls()
        paths = sorted((folder / DOCUMENTS).iterdir())
        bounds = np.cumsum([0, *(len(ArrowTable.open(path)) for path in paths)]).tolist()
        shards = {
            manifest.files[path.relative_to(folder).as_posix()].sha256: (path, first, last)
            for path, (first, last) in zip(paths, pairwise(bounds), strict=True)
        }
        same = all(manifest.config[name] == recipe[name] for name in ("precision", "passages", "overlap_tokens"))
        same &= encoded_columns(manifest.config) == encoded_columns(recipe)
        if manifest.parents["model"] != model or not same:
            return cls(shards)
        passages = ArrowTable.open(folder / PASSAGES)
        return cls(shards, passages, passages.numbers("document"))

    def find(self, digest: str) -> EarlierShard | None:
        """Return the shard whose documents have this SHA-256, or None."""
        if digest not in self._paths:
            return None
        path, first, last = self._paths[digest]
        if self._passages is None:
            return EarlierShard(path, last - first, None, 0)
        start, stop = np.searchsorted(self._documents, [first, last]).tolist()
        passages = np.empty(stop - start, dtype=PASSAGE)
        for name in PASSAGE.names or ():
            column = self._passages.column(name).slice(start, stop - start).combine_chunks()
            if name == "key":
                passages[name] = fixed_bytes(column)
            else:
                passages[name] = column.to_numpy()
        passages["document"] -= first
        return EarlierShard(path, last - first, passages, start)
