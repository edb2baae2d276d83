"""The vectors of a build: appended to disk block by block, taken up after a kill, reused from the index before."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from indexer.artifacts.manifest import InputEntry, Manifest, read_manifest
from indexer.artifacts.store import Store
from indexer.errors import UserError
from indexer.index import dense
from indexer.index.arrow import ArrowTable
from indexer.index.index import PASSAGES
from indexer.inference.encoder import Encoder, Precision, Vectors
from indexer.progress import say

KEY_BYTES = 16
JOURNAL = "vectors.f32"
BLOCK_ROWS = 65_536
Keys = npt.NDArray[np.void]


def passage_key(text: str) -> bytes:
    """Return what identifies the text of a passage: equal texts get equal vectors from the same model."""
    return hashlib.blake2b(text.encode(), digest_size=KEY_BYTES).digest()


MAP_FILE = "map.npy"
"""A linear map that makes the unit vectors of one model out of those of another: float32, shape (new, old)."""


def find_known_vectors(
    indexes: Store, model: Path, precision: Precision, inputs: list[InputEntry]
) -> KnownVectors | None:
    """Return the vectors of an index from which those of ``model`` are had without the encoder, or None.

    That is an index of the same model or, where the model is another one with a linear map behind it, an index of that
    other model. An index of the same corpus is preferred, then the live one, then the newest.

    Args:
        indexes: where to look.
        model: directory of a model artifact.
        precision: of the weights that have made the vectors.
        inputs: the files of the corpus.
    """
    hashes = [entry.sha256 for entry in inputs]
    origin = read_manifest(model).config.get("map_of")
    live = indexes.current_id()
    usable: list[Manifest] = []
    for artifact in indexes.ids():
        try:
            manifest = indexes.manifest(artifact)
        except UserError as error:
            say(f"nothing is reused from the index {artifact}: {error}")
            continue
        if manifest.config["precision"] == precision and manifest.parents["model"] in {model.name, origin}:
            usable.append(manifest)

    def likely(manifest: Manifest) -> tuple[bool, bool, str]:
        return [entry.sha256 for entry in manifest.inputs] == hashes, manifest.id == live, manifest.id

    for manifest in sorted(usable, key=likely, reverse=True):
        try:
            indexes.verify(manifest.id)
        except UserError as error:
            say(f"nothing is reused from the index {manifest.id}: {error}")
            continue
        step = None if manifest.parents["model"] == model.name else np.load(model / MAP_FILE, allow_pickle=False)
        return KnownVectors(indexes.path(manifest.id), step)
    return None


class KnownVectors:
    """The vectors of an existing index, found by passage key.

    Args:
        folder: of the index, or of one that is being built.
        step: a linear map that makes the wanted vectors out of those of the index, shape (wanted, dimension).
        vectors: other vectors of the same passages, in place of those of the index.
    """

    def __init__(self, folder: Path, step: Vectors | None = None, vectors: dense.DenseIndex | None = None) -> None:
        self._step = step
        passages = ArrowTable.open(folder / PASSAGES)
        keys = b"".join(b"".join(batch.column("key").to_pylist()) for batch in passages.batches)
        self._keys: Keys = np.frombuffer(keys, dtype=f"S{KEY_BYTES}")
        self._order = np.argsort(self._keys, kind="stable")
        self._dense = vectors or dense.DenseIndex.open(folder / dense.FILE)

    def find(self, keys: list[bytes]) -> tuple[npt.NDArray[np.bool_], Vectors]:
        """Return which of ``keys`` are known, shape (len(keys),), and the vectors of those that are."""
        wanted = np.array(keys, dtype=f"S{KEY_BYTES}")
        places = np.searchsorted(self._keys, wanted, sorter=self._order).clip(max=len(self._keys) - 1)
        rows = self._order[places]
        known = self._keys[rows] == wanted
        vectors = self._dense.vectors(rows[known])
        return known, vectors if self._step is None else dense.unit(vectors @ self._step.T)


class VectorJournal:
    """Embeds passages in order and appends their vectors to a file.

    Rows that a killed build of the same fingerprint has written are not embedded again: equal inputs and settings give
    equal passages in equal order.

    Attributes:
        embedded: how many passages went through the encoder.
        reused: how many vectors came from the index before, or from an interrupted build.
    """

    def __init__(self, folder: Path, encoder: Encoder, known: KnownVectors | None) -> None:
        self._path = folder / JOURNAL
        self._encoder = encoder
        self._known = known
        self._dimension = encoder.contract.dimension
        self._row_bytes = 4 * self._dimension
        self.embedded = self.reused = self._rows = 0

    def __enter__(self) -> Self:
        self._file = self._path.open("a+b")
        self._resumed = self._file.seek(0, os.SEEK_END) // self._row_bytes
        self._file.truncate(self._resumed * self._row_bytes)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def append(self, texts: list[str], keys: list[bytes]) -> None:
        """Add the vectors of the next passages; they are on the disk when this returns."""
        ready = min(max(self._resumed - self._rows, 0), len(texts))
        self._rows += len(texts)
        self.reused += ready
        texts, keys = texts[ready:], keys[ready:]
        if not texts:
            return
        vectors = np.empty((len(texts), self._dimension), dtype=np.float32)
        unknown = np.ones(len(texts), dtype=bool)
        if self._known:
            known, found = self._known.find(keys)
            vectors[known] = found
            unknown = ~known
        vectors[unknown] = self._encoder.encode_documents(
            [text for text, new in zip(texts, unknown, strict=True) if new]
        )
        self.embedded += int(unknown.sum())
        self.reused += int((~unknown).sum())
        self._file.write(vectors.tobytes())
        self._file.flush()
        os.fsync(self._file.fileno())

    def blocks(self) -> Iterator[Vectors]:
        """Yield all vectors in order, in blocks of bounded size."""
        vectors = np.memmap(self._path, dtype=np.float32, mode="r", shape=(self._rows, self._dimension))
        for start in range(0, self._rows, BLOCK_ROWS):
            block = vectors[start : start + BLOCK_ROWS]
            if not block.any(axis=1).all():  # a file that grew but was not written before the power failed
                raise UserError(f"{self._path}: holds empty rows; delete {self._path.parent} and build again")
            yield block

    def remove(self) -> None:
        """Delete the file: its content is in the index."""
        self._path.unlink()
