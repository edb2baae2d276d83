"""Tables of an index that are made of its shards: passages, and ids and keys in their order, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from indexer.build.shards.shard import Shard
from indexer.build.vectors import KEY_BYTES, KEY_ROWS, KEYS
from indexer.index.arrow import ArrowTable, fixed_bytes
from indexer.index.document_mask import Rows
from indexer.index.index import IDS, PASSAGES, open_documents
from indexer.inference.encoder import Vectors

ROWS_PER_BATCH = 65_536
SORTED_TOGETHER = 4_000_000
"""Values that are sorted in memory at a time."""
SPLITTING_SAMPLE = 10_000
PASSAGE_SCHEMA = pa.schema(
    [("document", pa.int32()), ("start", pa.int32()), ("end", pa.int32()), ("key", pa.binary(KEY_BYTES))]
)


def write_passages(folder: Path, shards: Iterable[Shard]) -> int:
    """Write the passages of all shards, one after the other; return their number."""
    documents = passages = 0
    with pa.OSFile(str(folder / PASSAGES), "wb") as file, pa.ipc.new_file(file, PASSAGE_SCHEMA) as writer:
        for shard in shards:
            rows = shard.passages()
            columns = [np.ascontiguousarray(rows[name]) for name in ("document", "start", "end")]
            keys = pa.py_buffer(np.ascontiguousarray(rows["key"]))
            column = pa.FixedSizeBinaryArray.from_buffers(pa.binary(KEY_BYTES), len(rows), [None, keys])
            columns[0] += documents
            table = pa.table([*map(pa.array, columns), column], schema=PASSAGE_SCHEMA)
            writer.write_table(table, max_chunksize=ROWS_PER_BATCH)
            documents += int(rows["document"][-1]) + 1  # every document has a passage
            passages += len(rows)
    return passages


def all_vectors(shards: Iterable[Shard]) -> Iterator[Vectors]:
    """Yield the vectors of all shards, in blocks."""
    for shard in shards:
        yield from shard.vectors()


def write_ids(folder: Path) -> None:
    """Write the ids in the order of their UTF-8 bytes, each with its row: the lookup from an id to its document."""
    schema = pa.schema([("id", pa.string()), ("row", pa.int32())])
    with pa.OSFile(str(folder / IDS), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        for ids, rows in sorted_values(open_documents(folder).column("id")):
            table = pa.table([ids, pa.array(rows.astype(np.int32))], schema=schema)
            writer.write_table(table, max_chunksize=ROWS_PER_BATCH)


def write_keys(folder: Path) -> None:
    """Write the keys of the passages in their order, and the passage of each: where a later build looks them up."""
    with (folder / KEYS).open("wb") as keys, (folder / KEY_ROWS).open("wb") as passages:
        for values, rows in sorted_values(ArrowTable.open(folder / PASSAGES).column("key")):
            keys.write(fixed_bytes(values).tobytes())
            passages.write(rows.astype("<i4").tobytes())


def sorted_values(column: pa.ChunkedArray, together: int | None = None) -> Iterator[tuple[pa.Array, Rows]]:
    """Yield all values in the order of their bytes, in pieces, with their rows; of equal values the first row first.

    Some ``together`` values are sorted at a time; for each such range the column, which is memory-mapped, is read again.
    """
    if not len(column):
        return
    for low, high in pairwise([None, *_splits(column, together or SORTED_TOGETHER), None]):
        parts, rows, first = [], [], 0
        for chunk in column.chunks:
            tests: list[tuple[Callable[..., Any], Any]] = [(pc.greater_equal, low), (pc.less, high)]
            masks = [test(chunk, bound) for test, bound in tests if bound is not None]
            if masks:
                mask = pc.and_(*masks) if len(masks) > 1 else masks[0]
                parts.append(chunk.filter(mask))
                rows.append(first + np.flatnonzero(mask.to_numpy(zero_copy_only=False)))
            else:
                parts.append(chunk)
                rows.append(np.arange(first, first + len(chunk)))
            first += len(chunk)
        values = pa.concat_arrays(parts)
        order = pc.array_sort_indices(values)
        yield values.take(order), np.concatenate(rows)[order.to_numpy()]


def _splits(column: pa.ChunkedArray, together: int) -> list[pa.Scalar]:
    """Return values that divide the column into ranges of about equal size, found on a sample."""
    ranges = -(-len(column) // together)
    if ranges < 2:
        return []
    sample = column.take(pa.array(np.linspace(0, len(column) - 1, SPLITTING_SAMPLE).astype(np.int64)))
    values = sample.combine_chunks()
    values = values.take(pc.array_sort_indices(values)).unique()
    places = np.linspace(0, len(values), ranges + 1).astype(int)[1:-1]
    return [values[int(place)] for place in dict.fromkeys(places.tolist()) if 0 < place < len(values)]
