"""Vectors that a build need not compute: those of an earlier index, found by the digests of its passages' texts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from indexer.artifacts.manifest import InputEntry, Manifest, read_manifest
from indexer.artifacts.store import Store
from indexer.errors import UserError
from indexer.index import dense
from indexer.index.arrow import ArrowTable, fixed_bytes
from indexer.index.document_mask import Rows
from indexer.index.flat_file import FlatFile
from indexer.index.index import PASSAGES
from indexer.inference.encoder import Precision, Vectors
from indexer.progress import say

KEY_BYTES = 16
KEYS, KEY_ROWS = "keys.b16", "keys.i32"
MAP_FILE = "map.npy"
"""Linear map that turns the unit vectors of one model into those of another: float32, shape (new, old)."""
Keys = npt.NDArray[np.bytes_]


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
        if manifest.counts["passages"] and manifest.config["precision"] == precision and origin in {own, base}:
            candidates.append((manifest, origin))

    def preference(candidate: tuple[Manifest, str]) -> tuple[bool, bool, str]:
        manifest = candidate[0]
        return [entry.sha256 for entry in manifest.inputs] == hashes, manifest.id == live, manifest.id

    for manifest, origin in sorted(candidates, key=preference, reverse=True):
        try:
            indexes.verify_once(manifest.id)
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

    Attributes:
        folder: of the index.
        own: whether the vectors are those in the index, unchanged.
    """

    def __init__(
        self, folder: Path, linear_map: Vectors | None = None, vectors: dense.DenseIndex | None = None
    ) -> None:
        self.folder = folder
        self.own = linear_map is None and vectors is None
        self._linear_map = linear_map
        self._keys, self._rows = _sorted_keys(folder)
        self._vectors = vectors or FlatFile(folder / dense.FILE)

    def find(self, keys: list[bytes]) -> tuple[npt.NDArray[np.bool_], Vectors]:
        """Return which of ``keys`` are known, shape (len(keys),), and the vectors of those that are."""
        if not len(self._keys):  # the index is empty
            return np.zeros(len(keys), dtype=np.bool_), self._vectors.vectors(np.empty(0, dtype=np.int64))
        requested = np.array(keys, dtype=f"S{KEY_BYTES}")
        positions = np.searchsorted(self._keys, requested).clip(max=len(self._keys) - 1)
        known: npt.NDArray[np.bool_] = self._keys[positions] == requested
        vectors = self._vectors.vectors(self._rows[positions[known]].astype(np.int64))
        return known, vectors if self._linear_map is None else dense.unit(vectors @ self._linear_map.T)

    def at(self, rows: Rows) -> Vectors:
        """Return the index's own vectors of the passages ``rows``, shape (len(rows), dimension)."""
        return self._vectors.vectors(rows)


class JoinedVectors(KnownVectors):
    """The vectors of several indexes of one model; of a passage that several have, the first one's.

    Args:
        sources: of the indexes, at least one.
    """

    def __init__(self, sources: Sequence[KnownVectors]) -> None:
        self.folder, self.own = sources[0].folder, False
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


def _sorted_keys(folder: Path) -> tuple[Keys, npt.NDArray[np.int32]]:
    """Return the keys of an index's passages in their order, memory-mapped, and the passage of each.

    In an index of before December 2026 the keys have no file, and are sorted here.
    """
    if (folder / KEYS).is_file():
        if not (folder / KEYS).stat().st_size:  # nothing can be mapped
            return np.empty(0, dtype=f"S{KEY_BYTES}"), np.empty(0, dtype=np.int32)
        keys = np.memmap(folder / KEYS, dtype=f"S{KEY_BYTES}", mode="r")
        return keys, np.memmap(folder / KEY_ROWS, dtype="<i4", mode="r")
    batches = [fixed_bytes(batch.column("key")) for batch in ArrowTable.open(folder / PASSAGES).batches]
    unsorted = np.concatenate(batches).view(f"S{KEY_BYTES}")
    order = np.argsort(unsorted, kind="stable")
    return unsorted[order], order.astype(np.int32)
