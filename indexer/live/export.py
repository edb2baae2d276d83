"""Export of an index's documents, with the live writes over it, as a Parquet file: a corpus like any other."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from indexer.artifacts.store import Store, data_dir
from indexer.corpus.formats.parquet import RowGroupWriter
from indexer.errors import UserError
from indexer.index.index import Index
from indexer.live.log import WriteLog
from indexer.live.prepare import replay_writes
from indexer.progress import Bar


def export(out: Path, index: str | None = None, data: Path | None = None) -> int:
    """Write the documents to ``out``, whole or not at all, and return their number.

    Args:
        out: a Parquet file; its folder is made where there is none.
        index: id of an index; by default the live one.
        data: the data directory; by default ``$DOWSE_DATA``.

    Raises:
        UserError: there is no such index, it has no documents, or a column has the name of another field.
    """
    data = data or data_dir()
    opened = Index.open(Store("index", data).resolve(index))
    log = WriteLog(data)
    with log.shared():
        writes = log.read()
    shown = replay_writes(opened, writes)
    if not len(shown):
        raise UserError(f"index {opened.manifest.id}: holds no documents; put some first")
    members = list(shown.schema.field("metadata").type) if "metadata" in shown.schema.names else []
    if taken := {"id", "title", "text"} & {member.name for member in members}:
        raise UserError(f"index {opened.manifest.id}: has a metadata column {taken.pop()!r}, which no corpus can have")
    schema = pa.schema([*(shown.schema.field(name) for name in ("id", "title", "text")), *members])
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f".{out.name}.part")
    try:
        writer = RowGroupWriter(part, schema)
        with Bar("export", len(shown), "documents") as bar:
            for batch in shown.batches():
                writer.add(_flat(batch, schema))
                bar.advance(batch.num_rows)
        writer.close()
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)
    return len(shown)


def _flat(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Return documents with their metadata as columns of their own."""
    arrays = [batch.column(name) for name in ("id", "title", "text")]
    if "metadata" in batch.schema.names:
        arrays += batch.column("metadata").flatten()
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
