"""The file of an exact FAISS index, written in blocks and read by rows: FAISS itself would hold all vectors in memory.

The layout is that of `faiss.write_index` for `IndexFlatIP`: a header, the number of floats, and the vectors.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path

import faiss
import numpy as np

from indexer.errors import UserError
from indexer.index.dense import unit
from indexer.index.document_mask import Rows
from indexer.inference.encoder import Vectors

HEADER = struct.Struct("<4siqqq?iQ")
"""Kind, dimension, vectors, two numbers that FAISS no longer uses, whether it is trained, metric, floats."""
_UNUSED = 1 << 20


def header(dimension: int, rows: int) -> bytes:
    """Return the bytes before the vectors."""
    fields = (b"IxFI", dimension, rows, _UNUSED, _UNUSED, True, faiss.METRIC_INNER_PRODUCT, rows * dimension)
    return HEADER.pack(*fields)


def writes_as_faiss(dimension: int) -> bool:
    """Say whether the installed FAISS writes this layout."""
    return faiss.serialize_index(faiss.IndexFlatIP(dimension)).tobytes() == header(dimension, 0)


def write_flat(path: Path, dimension: int, rows: int, blocks: Iterable[Vectors]) -> None:
    """Write an exact index over ``blocks`` of vectors, each of shape (some rows, dimension), scaled to unit length.

    Raises:
        UserError: there are more or fewer vectors than ``rows``, or this FAISS has another layout.
        OSError: the disk is full, or cannot be written.
    """
    if not writes_as_faiss(dimension):
        raise UserError(f"faiss-cpu {faiss.__version__} has another file layout; install the version of the lock file")
    with path.open("wb") as file:
        file.write(header(dimension, rows))
        written = 0
        for block in blocks:
            file.write(np.ascontiguousarray(unit(block), dtype="<f4").data)
            written += len(block)
    if written != rows:
        raise UserError(f"{path}: {written} vectors for {rows} passages; build the index again with --force")


class FlatFile:
    """The vectors in the file of an exact index, read without keeping any page of it in memory.

    Raises:
        UserError: the file is no exact index, or does not have the size that it should have.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as file:
            start = file.read(HEADER.size)
        self._shape = 0, 0
        if len(start) == HEADER.size:
            _, dimension, rows, *_ = HEADER.unpack(start)
            if start == header(dimension, rows) and path.stat().st_size == HEADER.size + 4 * dimension * rows:
                self._shape = rows, dimension
        if not self._shape[1]:
            raise UserError(f"{path}: not the file of an exact index; build the index again with --force")

    def vectors(self, rows: Rows) -> Vectors:
        """Return the vectors of passages, shape (len(rows), dimension)."""
        if not len(rows):
            return np.empty((0, self._shape[1]), dtype=np.float32)
        # Mapped anew: pages that were read would count as memory of this process as long as the file is mapped.
        everything = np.memmap(self._path, dtype="<f4", mode="r", offset=HEADER.size, shape=self._shape)
        vectors: Vectors = np.asarray(everything[rows])
        return vectors
