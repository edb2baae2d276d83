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

from indexer import dense
from indexer.encoder import Encoder, Vectors
from indexer.errors import UserError
from indexer.index import PASSAGES, ArrowFile

KEY_BYTES = 16
JOURNAL = "vectors.f32"
BLOCK_ROWS = 65_536
Keys = npt.NDArray[np.void]


def passage_key(text: str) -> bytes:
    """Return what identifies the text of a passage: equal texts get equal vectors from the same model."""
    return hashlib.blake2b(text.encode(), digest_size=KEY_BYTES).digest()


class KnownVectors:
    """The vectors of an existing index of the same model, found by passage key."""

    def __init__(self, folder: Path) -> None:
        passages = ArrowFile(folder / PASSAGES)
        keys = b"".join(b"".join(batch.column("key").to_pylist()) for batch in passages.batches)
        self._keys: Keys = np.frombuffer(keys, dtype=f"S{KEY_BYTES}")
        self._order = np.argsort(self._keys, kind="stable")
        self._dense = dense.DenseIndex.open(folder / dense.FILE)

    def find(self, keys: list[bytes]) -> tuple[npt.NDArray[np.bool_], Vectors]:
        """Return which of ``keys`` are known, shape (len(keys),), and the vectors of those that are."""
        wanted = np.array(keys, dtype=f"S{KEY_BYTES}")
        places = np.searchsorted(self._keys, wanted, sorter=self._order).clip(max=len(self._keys) - 1)
        rows = self._order[places]
        known = self._keys[rows] == wanted
        return known, self._dense.vectors(rows[known])


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
