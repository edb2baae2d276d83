"""Vectors that a build need not compute: those of an earlier index, found by the digests of its passages' texts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
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

    That is an index of the same model. Where the model is a base model with a linear map, it can also be an index of the
    base model: its vectors are mapped, unless the model maps queries only. An index of the same corpus is preferred, then the live one, then the newest.

    Args:
        indexes: where to look.
        model: directory of a model artifact.
        precision: of the encoder's weights that computed the vectors.
        inputs: the files of the corpus.
    """
    hashes = [entry.sha256 for entry in inputs]
    config = read_manifest(model).config
    base = config.get("map_of")
    live = indexes.current_id()
    candidates: list[Manifest] = []
    for artifact in indexes.ids():
        try:
            manifest = indexes.manifest(artifact)
        except UserError as error:
            say(f"nothing is reused from the index {artifact}: {error}")
            continue
        if manifest.config["precision"] == precision and manifest.parents["model"] in {model.name, base}:
            candidates.append(manifest)

    def preference(manifest: Manifest) -> tuple[bool, bool, str]:
        return [entry.sha256 for entry in manifest.inputs] == hashes, manifest.id == live, manifest.id

    for manifest in sorted(candidates, key=preference, reverse=True):
        try:
            indexes.verify(manifest.id)
        except UserError as error:
            say(f"nothing is reused from the index {manifest.id}: {error}")
            continue
        same = manifest.parents["model"] == model.name or maps_queries(config)
        linear_map = None if same else np.load(model / MAP_FILE, allow_pickle=False)
        return KnownVectors(indexes.path(manifest.id), linear_map)
    return None


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
        requested = np.array(keys, dtype=f"S{KEY_BYTES}")
        positions = np.searchsorted(self._keys, requested).clip(max=len(self._keys) - 1)
        known: npt.NDArray[np.bool_] = self._keys[positions] == requested
        vectors = self._vectors.vectors(self._rows[positions[known]].astype(np.int64))
        return known, vectors if self._linear_map is None else dense.unit(vectors @ self._linear_map.T)

    def at(self, rows: Rows) -> Vectors:
        """Return the index's own vectors of the passages ``rows``, shape (len(rows), dimension)."""
        return self._vectors.vectors(rows)


def _sorted_keys(folder: Path) -> tuple[Keys, npt.NDArray[np.int32]]:
    """Return the keys of an index's passages in their order, memory-mapped, and the passage of each.

    In an index of before December 2026 the keys have no file, and are sorted here.
    """
    if (folder / KEYS).is_file():
        keys = np.memmap(folder / KEYS, dtype=f"S{KEY_BYTES}", mode="r")
        return keys, np.memmap(folder / KEY_ROWS, dtype="<i4", mode="r")
    batches = [fixed_bytes(batch.column("key")) for batch in ArrowTable.open(folder / PASSAGES).batches]
    unsorted = np.concatenate(batches).view(f"S{KEY_BYTES}")
    order = np.argsort(unsorted, kind="stable")
    return unsorted[order], order.astype(np.int32)
