"""Reading and filling the training frame: Parquet, one row for each document or piece of one, in batches."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from indexer.errors import UserError
from trainer.files import whole

COLUMNS = ("id", "document", "title", "text")
QUERY_COLUMNS = tuple(f"query_{number}" for number in range(1, 6))
BATCH_ROWS = 1024
FILL_ROWS = 20_000
Pairs = list[tuple[str, str]]
"""(kind, query) for each query of a row."""
Mask = np.ndarray[tuple[int], np.dtype[np.bool_]]


class FrameRow(NamedTuple):
    """What is read of a row of the frame; ``number`` counts from 0."""

    number: int
    id: str
    document: str
    title: str | None
    text: str


def open_frame(path: Path) -> pq.ParquetFile:
    """Open a frame.

    Raises:
        UserError: it is not there, no Parquet file, or lacks a column; the message says what makes one.
    """
    remedy = "make it with `python -m trainer prepare`"
    try:
        file = pq.ParquetFile(path)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; {remedy}") from error
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError(f"{path}: not readable as Parquet; {remedy}") from error
    for name in COLUMNS:
        kind = file.schema_arrow.field(name).type if name in file.schema_arrow.names else None
        if kind is None or not (
            pa.types.is_string(kind) or pa.types.is_large_string(kind) or (name == "title" and pa.types.is_null(kind))
        ):
            raise UserError(f"{path}: has no column {name!r} of texts; {remedy}")
    return file


def read_rows(path: Path, chosen: Mask | None = None) -> Iterator[FrameRow]:
    """Yield the rows of a frame in order, or those that a mask over all of them says.

    Raises:
        UserError: a row has no id, no document or no text.
    """
    number = 0
    for batch in open_frame(path).iter_batches(BATCH_ROWS, columns=list(COLUMNS)):
        for row in batch.to_pylist():
            if chosen is None or chosen[number]:
                for name in ("id", "document", "text"):
                    if not row[name] or not row[name].strip():
                        raise UserError(f"{path} row {number + 1}: no {name}; correct the frame")
                yield FrameRow(number, row["id"], row["document"], row["title"], row["text"])
            number += 1


def choose_rows(path: Path, documents: int | None, seed: int) -> Mask:
    """Return which rows belong to ``documents`` documents drawn at random, or to any where that is None.

    A larger number draws all the documents that a smaller one does, so that a limit can be raised later.
    """
    file = open_frame(path)
    if documents is None:
        return np.ones(file.metadata.num_rows, dtype=np.bool_)
    draws = np.empty(file.metadata.num_rows, dtype=np.uint64)
    at = 0
    for batch in file.iter_batches(BATCH_ROWS, columns=["document"]):
        names = batch.column(0).to_pylist()
        draws[at : at + len(names)] = [_draw(name or "", seed) for name in names]
        at += len(names)
    distinct = np.unique(draws)
    return np.asarray(draws <= distinct[min(documents, len(distinct)) - 1]) if len(distinct) else draws.astype(np.bool_)


def fill_frame(path: Path, out: Path, queries: Callable[[list[FrameRow]], list[Pairs]]) -> None:
    """Write the frame to ``out`` with its query columns and ``kinds`` filled.

    Args:
        path: the frame; its other columns are copied.
        out: written whole or not at all; may be the frame itself.
        queries: called with ``FILL_ROWS`` rows at a time, the last time with the rest; returns pairs for each.
    """
    file = open_frame(path)
    kept = [name for name in file.schema_arrow.names if name not in {*QUERY_COLUMNS, "kinds"}]
    fields = [file.schema_arrow.field(name) for name in kept]
    fields += [pa.field(name, pa.string()) for name in QUERY_COLUMNS] + [pa.field("kinds", pa.list_(pa.string()))]
    schema = pa.schema(fields, metadata=file.schema_arrow.metadata)  # `prepare` knows its frame by it
    done = 0
    with whole(out) as part, pq.ParquetWriter(part, schema) as writer:
        for batch in file.iter_batches(FILL_ROWS, columns=kept):
            read = zip(*(batch.column(name).to_pylist() for name in COLUMNS), strict=True)
            pairs = queries([FrameRow(number, *values) for number, values in enumerate(read, done)])
            done += batch.num_rows
            columns: list[Any] = [batch.column(name) for name in kept]
            for place in range(len(QUERY_COLUMNS)):
                texts = [row[place][1] if place < len(row) else None for row in pairs]
                columns.append(pa.array(texts, pa.string()))
            columns.append(pa.array([[kind for kind, _ in row] for row in pairs], schema.field("kinds").type))
            writer.write_batch(pa.record_batch(columns, schema=schema))


def _draw(document: str, seed: int) -> int:
    digest = hashlib.blake2b(document.encode(), digest_size=8, key=seed.to_bytes(8, "big")).digest()
    return int.from_bytes(digest, "big")
