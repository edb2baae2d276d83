"""Table of the exact values of an index: what equals a whole query puts its documents first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from indexer.build.shards.tables import ROWS_PER_BATCH, sorted_values
from indexer.index.exact import FILE
from indexer.index.index import open_documents
from indexer.index.terms.columns import exact_key, exact_keys

SCHEMA = pa.schema([("key", pa.string()), ("row", pa.int32())])


def write_exact(folder: Path, columns: Sequence[str], *, ids: bool) -> None:
    """Write the values of the ``columns``, and the ids that are not as they are compared, sorted, with their rows.

    Where there are none, nothing is written.
    """
    keys: list[pa.Array] = []
    rows: list[np.ndarray] = []
    first = 0
    for batch in open_documents(folder).batches:
        found: list[tuple[str, int]] = []
        if ids:
            pairs = enumerate(batch.column("id").to_pylist(), first)
            found = [(key, row) for row, each in pairs if (key := exact_key(each)) and key != each]
        for name in columns:
            values = pc.struct_field(batch.column("metadata"), [name]).to_pylist()
            found += [(key, row) for row, value in enumerate(values, first) for key in exact_keys(value)]
        keys.append(pa.array([key for key, _ in found], pa.string()))
        rows.append(np.array([row for _, row in found], dtype=np.int32))
        first += batch.num_rows
    if not sum(map(len, keys)):
        (folder / FILE).unlink(missing_ok=True)  # of a killed build
        return
    row_of = np.concatenate(rows)
    with pa.OSFile(str(folder / FILE), "wb") as file, pa.ipc.new_file(file, SCHEMA) as writer:
        for values, places in sorted_values(pa.chunked_array(keys, pa.string())):
            table = pa.table([values, pa.array(row_of[places])], schema=SCHEMA)
            writer.write_table(table, max_chunksize=ROWS_PER_BATCH)
