"""Corpus → training frame: one row for each document or piece of one, with room for five queries.

    python -m trainer prepare --source corpus.parquet
    python -m trainer prepare --source postgresql+psycopg://me@db.example/shop --query "select id, text from listings"

The frame's Parquet metadata hold a fingerprint of its inputs: a second start with the same inputs finds it up to date.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from indexer import __version__
from indexer.corpus.corpus import Corpus, write_rejects
from indexer.corpus.duplicates import IdDigests
from indexer.corpus.formats.parquet import RowGroupWriter, read_batches
from indexer.corpus.settings import DocumentSettings, select
from indexer.errors import UserError
from indexer.progress import Bar, say
from trainer.data.frame import COLUMNS, QUERY_COLUMNS, open_frame
from trainer.data.segments import Segmenter, make_segmenter
from trainer.data.settings import PrepareSettings
from trainer.files import atomic_write, training_dir

METADATA = b"dowse"
SCHEMA = pa.schema([(name, pa.string()) for name in (*COLUMNS, *QUERY_COLUMNS)])
_PIECE = re.compile(r"#\d+$")


@dataclass(frozen=True)
class Prepared:
    """Path of the frame, its rows and documents, and whether this call has written it (``fresh``) or it was up to date."""

    path: Path
    rows: int
    documents: int
    fresh: bool


def prepare(source: str, settings: PrepareSettings, data: Path | None = None) -> Prepared:
    """Write the documents of ``source`` as a training frame.

    Args:
        source: a Parquet, CSV or JSON lines file, a folder of them, a glob, or the URL of a database.
        settings: columns, splitting of texts, and path of the frame.
        data: the data directory; by default ``$DOWSE_DATA``.

    Raises:
        UserError: the source or a setting is refused, or ids are not unique. No file is written then.
    """
    out = settings.out or training_dir(data) / "frame.parquet"
    if out.suffix != ".parquet":
        raise UserError(f"--out {out}: give a name that ends in .parquet")
    segmenter = make_segmenter(settings.unit, settings.split_over, settings.segment, data)
    corpus = Corpus.check(source, **select(settings, DocumentSettings), data=data)
    origin = _origin(corpus, segmenter, settings)
    fresh = settings.force or _recorded(out).get("fingerprint") != origin["fingerprint"]
    if fresh:
        _write(out, corpus, segmenter, origin)
    if settings.csv:
        _write_csv(out)
    return Prepared(out, pq.read_metadata(out).num_rows, corpus.documents, fresh)


def read_frame(path: Path) -> pa.Table:
    """Return a frame as a table: id, document, title, text, query_1 … query_5 and the columns of later stages.

    Raises:
        UserError: it does not exist, is no Parquet file, or lacks a column, which the message names.
    """
    file = open_frame(path)
    for name in QUERY_COLUMNS:
        if name not in file.schema_arrow.names:
            raise UserError(f"{path}: has no column {name!r}; make the frame with `python -m trainer prepare`")
    return file.read()


def _origin(corpus: Corpus, segmenter: Segmenter, settings: PrepareSettings) -> dict[str, Any]:
    """Return the origin for the frame's metadata; its fingerprint covers everything that decides the content."""
    content = {
        "dowse": __version__,
        "inputs": [[entry.size, entry.sha256] for entry in corpus.inputs],
        "segments": segmenter.identity,
        "settings": settings.model_dump(include={"id_column", "text_column", "title_column", "limit", "skip_bad_rows"}),
    }
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    named = {"inputs": [entry.model_dump() for entry in corpus.inputs], "documents": corpus.documents}
    return content | named | {"fingerprint": digest}


def _recorded(frame: Path) -> dict[str, Any]:
    """Return the origin in a frame's metadata; empty where there is no frame, or no origin in it."""
    try:
        recorded = json.loads((pq.read_schema(frame).metadata or {})[METADATA])
    except (OSError, pa.ArrowException, KeyError, ValueError):
        return {}
    return recorded if isinstance(recorded, dict) else {}


def _write(out: Path, corpus: Corpus, segmenter: Segmenter, origin: dict[str, Any]) -> None:
    """Write the frame, and the rejected rows beside it."""
    ids = _UniqueIds()
    with (
        atomic_write(out) as part,
        closing(RowGroupWriter(part, SCHEMA.with_metadata({METADATA: json.dumps(origin)}))) as writer,
    ):
        with Bar("prepare", corpus.documents, "documents") as bar:
            for batch in corpus.batches():
                rows = _rows(batch, segmenter)
                ids.add(rows.column("id"))
                writer.add(rows)
                bar.advance(batch.num_rows)
        writer.close()
        ids.check(part)
        if corpus.rejects:
            rejects = out.with_suffix(".rejects.jsonl")
            write_rejects(rejects, corpus.rejects)
            say(f"{len(corpus.rejects):,} rows left out: {rejects}")


def _rows(batch: pa.RecordBatch, segmenter: Segmenter) -> pa.RecordBatch:
    """Return the rows of the frame for a batch of documents."""
    documents, titles, texts = (batch.column(name).to_pylist() for name in ("id", "title", "text"))
    columns: list[list[str | None]] = [[], [], [], []]
    split = segmenter.pieces([title or "" for title in titles], texts)
    for document, title, pieces in zip(documents, titles, split, strict=True):
        for number, piece in enumerate(pieces):
            name = f"{document}#{number}" if len(pieces) > 1 else document
            for column, value in zip(columns, (name, document, title, piece), strict=True):
                column.append(value)
    arrays = [pa.array(column, pa.string()) for column in columns]
    arrays += [pa.nulls(len(columns[0]), pa.string())] * len(QUERY_COLUMNS)
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


class _UniqueIds:
    """Check that no document has the id of a piece of another. Ids of documents are unique already."""

    def __init__(self) -> None:
        self._seen = IdDigests()
        self._rows = 0

    def add(self, ids: pa.StringArray) -> None:
        """Add the ids of the next rows; only ids that end like those of pieces can occur twice."""
        like_a_piece = pc.match_substring_regex(ids, _PIECE.pattern)
        numbers = self._rows + np.flatnonzero(like_a_piece.to_numpy(zero_copy_only=False))
        self._seen.add(0, numbers, ids.filter(like_a_piece))
        self._rows += len(ids)

    def check(self, frame: Path) -> None:
        """Raise `UserError` where two rows have the same id."""
        for duplicate in self._seen.duplicates():
            name = next(name for row, name in enumerate(_ids(frame)) if row == duplicate.row)
            raise UserError(
                f"id {name!r}: a document and a piece of the document {_PIECE.sub('', name)!r} both have this id; "
                "rename the document"
            )


def _ids(frame: Path) -> Iterator[str]:
    """Yield the ids of the rows of a frame."""
    for batch in read_batches(frame, ["id"], 1024):
        yield from batch.column("id").to_pylist()


def _write_csv(frame: Path) -> None:
    """Write a frame as CSV beside it, unless there is a newer one. Null is an empty field."""
    path = frame.with_suffix(".csv")
    if path.exists() and path.stat().st_mtime_ns >= frame.stat().st_mtime_ns:
        return
    with atomic_write(path) as part, pq.ParquetFile(frame) as file, Bar("csv", file.metadata.num_rows, "rows") as bar:
        kinds = [pa.string()] * len(file.schema_arrow)
        schema = pa.schema(list(zip(file.schema_arrow.names, kinds, strict=True)))
        with pa.csv.CSVWriter(part, schema) as writer:
            for batch in file.iter_batches(1024):
                columns = [
                    pc.binary_join(column, "|") if pa.types.is_list(column.type) else column.cast(pa.string())
                    for column in batch.columns
                ]
                writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
                bar.advance(batch.num_rows)
    say(f"{path}: {bar.done:,} rows")
