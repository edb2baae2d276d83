"""Vectors of a build: appended to a journal on disk, resumed after a kill, reused from earlier indexes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

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
MAP_FILE = "map.npy"
"""Linear map that turns the unit vectors of one model into those of another: float32, shape (new, old)."""
Keys = npt.NDArray[np.void]


def passage_key(text: str) -> bytes:
    """Return the digest that identifies a passage's text: equal texts have equal vectors with the same model."""
    return hashlib.blake2b(text.encode(), digest_size=KEY_BYTES).digest()


def find_known_vectors(
    indexes: Store, model: Path, precision: Precision, inputs: list[InputEntry]
) -> KnownVectors | None:
    """Return the vectors of an index from which those of ``model`` follow without the encoder, or None.

    That is an index whose model gives documents the same vectors: the same model, or one that differs in its queries only
    (see `vectors_of`). Where the model is a base model with a linear map, it can also be an index with the base model's
    vectors: these are mapped. An index of the same corpus is preferred, then the live one, then the newest.

    Args:
        indexes: where to look.
        model: directory of a model artifact.
        precision: of the encoder's weights that computed the vectors.
        inputs: the files of the corpus.
    """
    hashes = [entry.sha256 for entry in inputs]
    models = Store("model", indexes.root.parent)
    own, base = vectors_of(models, model.name), read_manifest(model).config.get("map_of")
    live = indexes.current_id()
    candidates: list[tuple[Manifest, str]] = []
    for artifact in indexes.ids():
        try:
            manifest = indexes.manifest(artifact)
            origin = vectors_of(models, manifest.parents["model"])
        except UserError as error:
            say(f"nothing is reused from the index {artifact}: {error}")
            continue
        if manifest.config["precision"] == precision and origin in {own, base}:
            candidates.append((manifest, origin))

    def preference(candidate: tuple[Manifest, str]) -> tuple[bool, bool, str]:
        manifest = candidate[0]
        return [entry.sha256 for entry in manifest.inputs] == hashes, manifest.id == live, manifest.id

    for manifest, origin in sorted(candidates, key=preference, reverse=True):
        try:
            indexes.verify(manifest.id)
        except UserError as error:
            say(f"nothing is reused from the index {manifest.id}: {error}")
            continue
        linear_map = None if origin == own else np.load(model / MAP_FILE, allow_pickle=False)
        return KnownVectors(indexes.path(manifest.id), linear_map)
    return None


def vectors_of(models: Store, model: str) -> str:
    """Return the id of the model whose vectors the documents have in an index of ``model``: itself, but for two kinds.

    A model that maps the queries of dense search has those of its base. A model whose queries are another model's, mapped,
    has those of the model that it stands in for. Either may no longer be published; its id still says which vectors fit.

    Raises:
        UserError: ``model`` is not published, or its manifest was altered.
    """
    return origin_of(models.manifest(model).config) or model


def origin_of(config: Mapping[str, Any]) -> str | None:
    """Return what `vectors_of` does, from the configuration of the model's manifest; None for the model itself."""
    origin: str | None = config.get("vectors_of") or (config["map_of"] if maps_queries(config) else None)
    return origin


def maps_queries(config: Mapping[str, Any]) -> bool:
    """Say whether a tuned model, of which this is the manifest's configuration, maps the queries of dense mode only.

    Its passages then have the base model's vectors, and hybrid search is that of the base model.
    """
    return config.get("hybrid") == "base"


def fold(matrix: Vectors) -> Vectors:
    """Return the matrix for queries that stands for a map of queries and passages, shape (dimension, dimension).

    For a map M, (Mq)·(Md) is (MᵀMq)·d. So the passages can stay as they are, but for the length of Md.
    """
    return np.ascontiguousarray(matrix.T @ matrix, dtype=np.float32)


class KnownVectors:
    """The vectors of an existing index, found by passage key.

    Args:
        folder: of the index, or of one that is being built.
        linear_map: turns the index's vectors into the requested ones, shape (new, old dimension); None for no change.
        vectors: other vectors of the same passages, in place of the index's.
    """

    def __init__(
        self, folder: Path, linear_map: Vectors | None = None, vectors: dense.DenseIndex | None = None
    ) -> None:
        self._linear_map = linear_map
        passages = ArrowTable.open(folder / PASSAGES)
        keys = b"".join(b"".join(batch.column("key").to_pylist()) for batch in passages.batches)
        self._keys: Keys = np.frombuffer(keys, dtype=f"S{KEY_BYTES}")
        self._order = np.argsort(self._keys, kind="stable")
        self._dense = vectors or dense.DenseIndex.open(folder / dense.FILE)

    def find(self, keys: list[bytes]) -> tuple[npt.NDArray[np.bool_], Vectors]:
        """Return which of ``keys`` are known, shape (len(keys),), and the vectors of those that are."""
        requested = np.array(keys, dtype=f"S{KEY_BYTES}")
        positions = np.searchsorted(self._keys, requested, sorter=self._order).clip(max=len(self._keys) - 1)
        rows = self._order[positions]
        known = self._keys[rows] == requested
        vectors = self._dense.vectors(rows[known])
        return known, vectors if self._linear_map is None else dense.unit(vectors @ self._linear_map.T)


class JoinedVectors(KnownVectors):
    """The vectors of several indexes of one model; of a passage that several have, the first one's.

    Args:
        sources: of the indexes, at least one.
    """

    def __init__(self, sources: Sequence[KnownVectors]) -> None:
        self._sources = sources

    def find(self, keys: list[bytes]) -> tuple[npt.NDArray[np.bool_], Vectors]:
        """Return which of ``keys`` are known, shape (len(keys),), and the vectors of those that are."""
        known = np.zeros(len(keys), dtype=np.bool_)
        places: list[npt.NDArray[np.int64]] = []
        vectors: list[Vectors] = []
        for source in self._sources:
            missing = np.flatnonzero(~known)
            found, own = source.find([keys[place] for place in missing.tolist()])
            places.append(missing[found])
            vectors.append(own)
            known[missing[found]] = True
        return known, np.concatenate(vectors)[np.argsort(np.concatenate(places))]


class VectorJournal:
    """Append-only file of the passages' vectors, which also embeds the passages.

    Rows that a killed build of the same fingerprint has written are not embedded again: equal inputs and settings give
    equal passages in equal order.

    Attributes:
        embedded: number of passages that were encoded.
        reused: number of vectors from an earlier index or from an interrupted build.
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
        """Add the vectors of the next passages; they are on disk when this returns."""
        resumed = min(max(self._resumed - self._rows, 0), len(texts))
        self._rows += len(texts)
        self.reused += resumed
        texts, keys = texts[resumed:], keys[resumed:]
        if not texts:
            return
        vectors = np.empty((len(texts), self._dimension), dtype=np.float32)
        unknown = np.ones(len(texts), dtype=bool)
        if self._known:
            known, known_vectors = self._known.find(keys)
            vectors[known] = known_vectors
            unknown = ~known
        vectors[unknown] = self._encoder.encode_documents(
            [text for text, is_new in zip(texts, unknown, strict=True) if is_new]
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
            if not block.any(axis=1).all():  # the power failed after the file had grown, before its content was written
                raise UserError(f"{self._path}: holds empty rows; delete {self._path.parent} and build again")
            yield block

    def remove(self) -> None:
        """Delete the file, once its content is in the index."""
        self._path.unlink()
