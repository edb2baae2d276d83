"""The learned-sparse leg of a build: weights by passage in a journal on disk, then the postings of each term.

The journal's files stay in the index: a later one takes the weights over. A killed build goes on behind the last passage
that was written whole. The postings are sorted by term in parts: memory does not grow with the corpus.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
import numpy.typing as npt

from indexer.artifacts.store import Store
from indexer.build.vectors import passage_key
from indexer.errors import UserError
from indexer.index.sparse import FOLDER, KEY_BYTES, StoredVectors, map_numbers, sums
from indexer.inference.passages import PassageMaker
from indexer.inference.sparse_encoder import SparseEncoder, SparseVectors
from indexer.progress import say

POSTINGS_PER_PART = 4_000_000
"""Postings that are sorted at a time, 10 bytes each; a term that has more is sorted by itself."""
GROWING = {"terms.i32": 4, "values.f16": 2, "lengths.i32": 4, "keys.b16": KEY_BYTES}
"""Files of the journal in the order in which they are written, and the bytes of an entry."""
POSTING = np.dtype([("term", "<i4"), ("row", "<i4"), ("weight", "<f2")])
Find = Callable[[list[bytes]], list[SparseVectors | None]]
"""Returns the known vector of each passage, by the digest of its text."""


def find_known_sparse(indexes: Store, model: str, terms: int) -> Find | None:
    """Return what finds vectors in the newest sound index with this model and number of terms, the live one first."""
    live = indexes.current_id()
    for artifact in sorted(indexes.ids(), key=lambda name: (name == live, name), reverse=True):
        try:
            manifest = indexes.manifest(artifact)
            if manifest.parents.get("sparse") != model or manifest.config["sparse"]["terms"] != terms:
                continue
            indexes.verify_once(artifact)
        except UserError as error:
            say(f"no sparse vectors are reused from the index {artifact}: {error}")
            continue
        return StoredVectors(indexes.path(artifact) / FOLDER).find
    return None


class SparseWriter:
    """Writes the learned-sparse leg of the documents that it is given, in their order.

    Args:
        folder: of the index.
        encoder: of a published model.
        terms: most terms of a passage.
        maker: cuts documents into passages for this model.
        known: finds vectors that need not be computed again.
    """

    def __init__(
        self, folder: Path, encoder: SparseEncoder, terms: int, maker: PassageMaker, known: Find | None
    ) -> None:
        self._folder = folder / FOLDER
        self._folder.mkdir(exist_ok=True)
        self._encoder = encoder
        self._terms = terms
        self._maker = maker
        self._known = known
        self._counts: list[int] = []

    def __enter__(self) -> Self:
        self._files = [(self._folder / name).open("a+b") for name in GROWING]
        self._resumed = _whole_entries(self._folder)
        self._cut_off(len(self._resumed))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files:
            file.close()

    def add(self, titles: Sequence[str | None], texts: Sequence[str]) -> None:
        """Add the next documents; their vectors are on the disk when this returns."""
        documents = self._maker.make(titles, texts)
        inputs = [text for passages in documents for _, text in passages]
        keys = [passage_key(text) for text in inputs]
        done = sum(self._counts)
        self._counts += map(len, documents)
        written = self._resumed[done : done + len(keys)]
        resumed = next(
            (at for at, pair in enumerate(zip(written, keys, strict=False)) if len(set(pair)) > 1), len(written)
        )
        if resumed < len(written):  # the power failed after a file had grown, before its content was written
            self._cut_off(done + resumed)
        self._append(inputs[resumed:], keys[resumed:])

    def finish(self) -> None:
        """Write what is left: the passages of each document, and the postings of each term."""
        _write(self._folder / "first.i64", sums(np.array(self._counts)))
        invert(self._folder, self._encoder.contract.dimension)

    def _append(self, inputs: list[str], keys: list[bytes]) -> None:
        if not inputs:
            return
        found: list[SparseVectors | None] = self._known(keys) if self._known else [None] * len(keys)
        new = [text for text, known in zip(inputs, found, strict=True) if known is None]
        encoded = iter(self._encoder.encode_documents(new, self._terms).vectors() if new else ())
        vectors = SparseVectors.of([next(encoded) if known is None else known.vectors()[0] for known in found])
        lengths = np.diff(vectors.offsets).astype("<i4").tobytes()
        parts = (vectors.terms.tobytes(), vectors.weights.tobytes(), lengths, b"".join(keys))
        for file, part in zip(self._files, parts, strict=True):
            file.write(part)
            file.flush()
            os.fsync(file.fileno())

    def _cut_off(self, passages: int) -> None:
        """Cut the files off behind the first ``passages``."""
        self._resumed = self._resumed[:passages]
        entries = int(np.fromfile(self._folder / "lengths.i32", dtype="<i4", count=passages).sum())
        counts = {"terms.i32": entries, "values.f16": entries}
        for file, (name, size) in zip(self._files, GROWING.items(), strict=True):
            file.truncate(counts.get(name, passages) * size)


def _whole_entries(folder: Path) -> list[bytes]:
    """Return the keys of the passages that a killed build has written with all of their terms and weights."""
    entries = {name: (folder / name).stat().st_size // size for name, size in GROWING.items()}
    passages = min(entries["lengths.i32"], entries["keys.b16"])
    lengths = np.fromfile(folder / "lengths.i32", dtype="<i4", count=passages)
    there = min(entries["terms.i32"], entries["values.f16"])
    whole = int(np.searchsorted(np.cumsum(lengths), there, side="right"))
    raw = (folder / "keys.b16").read_bytes()
    return [raw[start : start + KEY_BYTES] for start in range(0, whole * KEY_BYTES, KEY_BYTES)]


def invert(folder: Path, dimension: int) -> None:
    """Write the postings of each term from the vectors of the passages, both in ``folder``.

    The postings are first distributed to one file for each range of terms, then sorted range by range.
    """
    lengths, terms, weights = (map_numbers(folder / name) for name in ("lengths.i32", "terms.i32", "values.f16"))
    counts = np.zeros(dimension, dtype=np.int64)
    for begin in range(0, len(terms), POSTINGS_PER_PART):
        counts += np.bincount(terms[begin : begin + POSTINGS_PER_PART], minlength=dimension)
    offsets = sums(counts)
    _write(folder / "offsets.i64", offsets)
    range_of = offsets[:-1] // POSTINGS_PER_PART
    paths = {int(number): folder / f"part-{number}" for number in np.unique(range_of)}
    with ExitStack() as stack:
        files = {number: stack.enter_context(path.open("wb")) for number, path in paths.items()}
        for postings in _postings(sums(lengths), terms, weights):
            ranges = range_of[postings["term"]]
            for number in np.unique(ranges).tolist():
                files[number].write(postings[ranges == number].tobytes())
    with (folder / "rows.i32").open("wb") as rows, (folder / "weights.f16").open("wb") as values:
        for path in paths.values():
            part = np.fromfile(path, dtype=POSTING)
            part = part[np.argsort(part["term"], kind="stable")]  # the passages of a term stay in their order
            _put(rows, part["row"])
            _put(values, part["weight"])
            path.unlink()


def _postings(
    starts: npt.NDArray[Any], terms: npt.NDArray[Any], weights: npt.NDArray[Any]
) -> Iterator[npt.NDArray[Any]]:
    """Yield the postings in the order of the passages, in blocks of bounded size."""
    first = 0
    while first < len(starts) - 1:
        last = max(int(np.searchsorted(starts, starts[first] + POSTINGS_PER_PART, side="right")) - 1, first + 1)
        part = slice(int(starts[first]), int(starts[last]))
        block = np.empty(part.stop - part.start, dtype=POSTING)
        block["term"], block["weight"] = terms[part], weights[part]
        block["row"] = np.repeat(np.arange(first, last), np.diff(starts[first : last + 1]))
        yield block
        first = last


def _write(path: Path, numbers: npt.NDArray[Any]) -> None:
    with path.open("wb") as file:
        _put(file, numbers)


def _put(file: IO[bytes], numbers: npt.NDArray[Any]) -> None:
    # Through Python's file, which raises where the disk is full; a written map would kill the process.
    file.write(np.ascontiguousarray(numbers).tobytes())
