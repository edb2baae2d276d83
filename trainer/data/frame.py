"""Training frame: a Parquet file with one row for each document or piece of one; read and filled in batches."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from indexer.errors import UserError
from trainer.files import atomic_write

COLUMNS = ("id", "document", "title", "text")
QUERY_COLUMNS = tuple(f"query_{number}" for number in range(1, 6))
BATCH_ROWS = 1024
FILL_ROWS = 20_000
"""Rows that are filled with queries at a time."""
Pairs = list[tuple[str, str]]
"""(kind, query) for each query of a row."""
Mask = np.ndarray[tuple[int], np.dtype[np.bool_]]


class FrameRow(NamedTuple):
    """One row of the frame without its queries; ``number`` counts from 0."""

    number: int
    id: str
    document: str
    title: str | None
    text: str


def open_frame(path: Path) -> pq.ParquetFile:
    """Open a frame.

    Raises:
        UserError: it does not exist, is no Parquet file, or lacks a column; the message names the command that makes a frame.
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
    """Yield the rows of a frame in order, or those that a mask over all rows selects.

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
    """Return the mask of the rows of ``documents`` documents drawn at random; of all rows where that is None.

    A larger number draws all documents of a smaller one, so a limit can be raised later.
    """
    file = open_frame(path)
    if documents is None:
        return np.ones(file.metadata.num_rows, dtype=np.bool_)
    draws = np.empty(file.metadata.num_rows, dtype=np.uint64)
    start = 0
    for batch in file.iter_batches(BATCH_ROWS, columns=["document"]):
        names = batch.column(0).to_pylist()
        draws[start : start + len(names)] = [_draw(name or "", seed) for name in names]
        start += len(names)
    distinct = np.unique(draws)
    return np.asarray(draws <= distinct[min(documents, len(distinct)) - 1]) if len(distinct) else draws.astype(np.bool_)


def rows_of(path: Path, documents: Collection[str]) -> Mask:
    """Return the mask of the rows of these documents."""
    wanted = frozenset(documents)
    batches = open_frame(path).iter_batches(BATCH_ROWS, columns=["document"])
    names = [name for batch in batches for name in batch.column(0).to_pylist()]
    return np.array([name in wanted for name in names], dtype=np.bool_)


def fill_frame(path: Path, out: Path, queries: Callable[[list[FrameRow]], list[Pairs]]) -> None:
    """Write the frame to ``out`` with its query columns and ``kinds`` filled.

    Args:
        path: the frame; its other columns are copied.
        out: written completely or not at all; may be the frame itself.
        queries: called with up to `FILL_ROWS` rows at a time; returns the (kind, query) pairs of each row.
    """
    file = open_frame(path)
    kept = [name for name in file.schema_arrow.names if name not in {*QUERY_COLUMNS, "kinds"}]
    fields = [file.schema_arrow.field(name) for name in kept]
    fields += [pa.field(name, pa.string()) for name in QUERY_COLUMNS] + [pa.field("kinds", pa.list_(pa.string()))]
    schema = pa.schema(
        fields, metadata=file.schema_arrow.metadata
    )  # with the fingerprint by which `prepare` finds a frame up to date
    done = 0
    with atomic_write(out) as part, pq.ParquetWriter(part, schema) as writer:
        for batch in file.iter_batches(FILL_ROWS, columns=kept):
            values_by_row = zip(*(batch.column(name).to_pylist() for name in COLUMNS), strict=True)
            pairs = queries([FrameRow(number, *values) for number, values in enumerate(values_by_row, done)])
            done += batch.num_rows
            columns: list[Any] = [batch.column(name) for name in kept]
            for position in range(len(QUERY_COLUMNS)):
                texts = [row[position][1] if position < len(row) else None for row in pairs]
                columns.append(pa.array(texts, pa.string()))
            columns.append(pa.array([[kind for kind, _ in row] for row in pairs], schema.field("kinds").type))
            writer.write_batch(pa.record_batch(columns, schema=schema))


def _draw(document: str, seed: int) -> int:
    """Return a number for a document that depends on its id and the seed alone."""
    digest = hashlib.blake2b(document.encode(), digest_size=8, key=seed.to_bytes(8, "big")).digest()
    return int.from_bytes(digest, "big")
