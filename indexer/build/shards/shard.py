"""Shards of a build: some ten thousand documents each, which are on the disk for good once their marker is.

    documents/00000.arrow    the documents; they stay in the index
    shards/00000.passages    of each passage: document within the shard, first character, end, key (28 bytes)
    shards/00000.vectors     float32, in the order of the passages
    shards/00000.json        the marker, written last: counts, and SHA-256 of the three files
    shards/build             digest of inputs and settings

A shard ends where the digest of an id says so, not after a number of rows: where rows are inserted or deleted, all other
shards stay the same to the byte, and the next index links their documents instead of holding them twice.
"""

from __future__ import annotations

import json
import os
import shutil
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from indexer.artifacts.manifest import file_sha256
from indexer.artifacts.store import sync
from indexer.build.vectors import KEY_BYTES
from indexer.index.index import DOCUMENTS
from indexer.inference.encoder import Vectors

FOLDER = "shards"
LEAST_DOCUMENTS, MEAN_FURTHER, MOST_DOCUMENTS = 8_192, 16_384, 65_536
"""Least and most documents of a shard; once it has the least, each further one ends it with a chance of 1 in so many."""
WINDOW = 1_024
"""Passages that are encoded together, from the start of a shard on: a build that was killed cuts the same windows."""
PASSAGE = np.dtype([("document", "<i4"), ("start", "<i4"), ("end", "<i4"), ("key", f"V{KEY_BYTES}")])
"""A passage in a shard's file."""
BLOCK_ROWS = 65_536
Passages = npt.NDArray[np.void]


def number_shards(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield the documents of ``batches``, each piece with the number of the shard that it belongs to."""
    number = rows = 0
    for batch in batches:
        first = 0
        for row, document_id in enumerate(batch.column("id").to_pylist()):
            rows += 1
            if rows < LEAST_DOCUMENTS:
                continue
            if rows >= MOST_DOCUMENTS or zlib.crc32(document_id.encode()) % MEAN_FURTHER == 0:
                yield number, batch.slice(first, row + 1 - first)
                first, rows = row + 1, 0
                number += 1
        if first < batch.num_rows:
            yield number, batch.slice(first)


@dataclass(frozen=True)
class Counts:
    """How many documents and passages a complete shard has."""

    documents: int
    passages: int


class Shard:
    """The files of one shard.

    Args:
        folder: in which the index is built.
        number: of the shard, from 0.
        dimension: length of a vector.

    Attributes:
        documents: file of the documents.
        window: passages of each window but the last.
    """

    def __init__(self, folder: Path, number: int, dimension: int) -> None:
        name = f"{number:05}"
        self._folder = folder / FOLDER
        self.documents = folder / DOCUMENTS / f"{name}.arrow"
        self._passages, self._vectors = (self._folder / f"{name}.{part}" for part in ("passages", "vectors"))
        self._marker = self._folder / f"{name}.json"
        self._dimension = dimension
        self.window = WINDOW

    def counts(self) -> Counts | None:
        """Return the counts of a shard that is complete and whose files are what they were; else None."""
        try:
            marker = json.loads(self._marker.read_bytes())
            if marker["sha256"] == self._digests():
                return Counts(marker["documents"], marker["passages"])
        except (OSError, ValueError, KeyError):
            pass
        self._marker.unlink(missing_ok=True)
        return None

    def write_documents(self, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> str:
        """Write the documents, and return the SHA-256 of their file."""
        part = self._folder / "documents.part"  # the file itself may be a link to that of an earlier index
        with pa.OSFile(str(part), "wb") as file, pa.ipc.new_file(file, schema) as writer:
            for batch in batches:
                writer.write_batch(batch)
        sync(part)
        part.replace(self.documents)
        return file_sha256(self.documents)

    def link_documents(self, source: Path) -> None:
        """Replace the documents' file by a link to an equal one, where the file system can; else keep both."""
        part = self._folder / "documents.part"
        part.unlink(missing_ok=True)
        try:
            os.link(source, part)
        except OSError:
            return
        part.replace(self.documents)

    def begin(self) -> int:
        """Prepare to append passages; return how many of them have their vectors already, in whole windows."""
        self._passages.unlink(missing_ok=True)
        if not self._vectors.is_file():
            return 0
        rows = self._vectors.stat().st_size // (4 * self._dimension) // self.window * self.window
        kept = 0
        for block in self._read_vectors(rows):
            empty = np.flatnonzero(~block.any(axis=1))
            if len(empty):  # the power failed after the file had grown, before its content was written
                kept += int(empty[0]) // self.window * self.window
                break
            kept += len(block)
        os.truncate(self._vectors, kept * 4 * self._dimension)
        return kept

    def append(self, passages: Passages, vectors: Vectors | None) -> None:
        """Add passages and their vectors, None where they are there already; both are on the disk afterwards."""
        if vectors is not None:
            _append(self._vectors, vectors.astype("<f4", copy=False).tobytes())
        _append(self._passages, passages.tobytes())

    def complete(self, documents: int) -> None:
        """Write the marker: the shard is never written again."""
        passages = self._passages.stat().st_size // PASSAGE.itemsize
        marker = {"documents": documents, "passages": passages, "sha256": self._digests()}
        part = self._marker.with_suffix(".part")
        part.write_text(json.dumps(marker), encoding="utf-8")
        sync(part)
        part.replace(self._marker)
        sync(self._folder)
        sync(self.documents.parent)

    def passages(self) -> Passages:
        """Return the passages."""
        return np.fromfile(self._passages, dtype=PASSAGE)

    def vectors(self) -> Iterator[Vectors]:
        """Yield the vectors in blocks of bounded size."""
        return self._read_vectors(self._vectors.stat().st_size // (4 * self._dimension))

    def _read_vectors(self, rows: int) -> Iterator[Vectors]:
        # Read, not mapped: pages of a mapped file count as the build's memory for as long as there is room.
        with self._vectors.open("rb") as file:
            for first in range(0, rows, BLOCK_ROWS):
                count = min(BLOCK_ROWS, rows - first)
                yield np.fromfile(file, dtype="<f4", count=count * self._dimension).reshape(count, self._dimension)

    def _digests(self) -> dict[str, Any]:
        paths = {"documents": self.documents, "passages": self._passages, "vectors": self._vectors}
        return {name: file_sha256(path) for name, path in paths.items()}


def resume_shards(folder: Path, build: str) -> bool:
    """Say whether the folder holds what a killed build of the same inputs has left; delete what another one has left.

    Args:
        folder: in which the index is built.
        build: digest of the inputs and settings.
    """
    marker = folder / FOLDER / "build"
    if marker.is_file() and marker.read_text(encoding="utf-8") == build:
        return True
    for name in (FOLDER, DOCUMENTS):
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).mkdir()
    marker.write_text(build, encoding="utf-8")
    return False


def remove_shards(folder: Path) -> None:
    """Delete what only the build needs; the index has files of its own for it."""
    shutil.rmtree(folder / FOLDER)


def _append(path: Path, content: bytes) -> None:
    with path.open("ab") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
