"""Vectors as a file: a PyTorch tensor, a NumPy array, or a Parquet table with their texts."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from indexer.inference.encoder import Vectors

FORMATS = (".pt", ".npy", ".parquet")


class VectorTable:
    """Writes texts and vectors as Parquet, where that is the format."""

    def __init__(self, part: Path, out: Path) -> None:
        self._part = part if out.suffix == ".parquet" else None
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer:
            self._writer.close()

    def add(self, texts: list[str], vectors: Vectors) -> None:
        """Append rows."""
        if self._part is None:
            return
        embeddings = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])
        table = pa.table({"text": pa.array(texts, pa.string()), "embedding": embeddings})
        self._writer = self._writer or pq.ParquetWriter(self._part, table.schema)
        self._writer.write_table(table)


def write_tensor(part: Path, stored: npt.NDArray[np.float32]) -> None:
    """Write vectors as a float32 tensor; ``torch.load`` reads it with ``weights_only=True``."""
    import torch

    torch.save(torch.from_numpy(stored), part)


def write_array(part: Path, raw: Path, stored: npt.NDArray[np.float32]) -> None:
    """Write the vectors in ``raw``, which ``stored`` maps, as a NumPy array."""
    with part.open("wb") as file, raw.open("rb") as vectors:
        header = {"descr": "<f4", "fortran_order": False, "shape": stored.shape}
        np.lib.format.write_array_header_1_0(file, header)
        shutil.copyfileobj(vectors, file)
