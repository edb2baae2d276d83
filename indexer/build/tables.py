"""The smaller Arrow files of an index, collected while it is built: its passages, and the way from an id to its row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from indexer.build.vectors import KEY_BYTES
from indexer.inference.passages import Passage

ROWS_PER_BATCH = 65_536


class PassageTable:
    """The passages of all documents, 28 bytes each, written as one Arrow table at the end."""

    def __init__(self) -> None:
        self._numbers: list[np.ndarray[Any, Any]] = []
        self._keys = bytearray()
        self._documents = 0

    def __len__(self) -> int:
        return len(self._keys) // KEY_BYTES

    def add(self, part: list[tuple[int, Passage, str]], keys: list[bytes]) -> None:
        """Add passages of consecutive documents."""
        first = part[0][0]
        rows = [(self._documents + place - first, passage.start, passage.end) for place, passage, _ in part]
        self._numbers.append(np.array(rows, dtype=np.int32))
        self._keys += b"".join(keys)
        self._documents += part[-1][0] - first + 1

    def write(self, path: Path) -> None:
        """Write the Arrow file."""
        numbers = np.concatenate(self._numbers)
        columns = {name: numbers[:, place] for place, name in enumerate(("document", "start", "end"))}
        keys = pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(KEY_BYTES), len(self), [None, pa.py_buffer(bytes(self._keys))]
        )
        _write_table(path, pa.table({**columns, "key": keys}))


def write_ids(path: Path, ids: pa.ChunkedArray) -> None:
    """Write the ids in the order of their UTF-8 bytes with their rows: the way from an id to its document."""
    order = pc.array_sort_indices(ids)
    _write_table(path, pa.table({"id": ids.take(order).combine_chunks(), "row": order.cast(pa.int32())}))


def _write_table(path: Path, table: pa.Table) -> None:
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=ROWS_PER_BATCH)
