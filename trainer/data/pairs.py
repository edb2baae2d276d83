"""Pairs of a query and the document that answers it: the files between query generation and fine-tuning."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from indexer.errors import UserError
from trainer.data.frame import QUERY_COLUMNS
from trainer.data.split import Split

SCHEMA = pa.schema([(name, pa.string()) for name in ("query_id", "query", "document", "frame_id", "kind")])
DEFAULT_KIND = "search"
"""Kind of a query in a frame without kinds."""
BATCH_ROWS = 10_000


def pairs_of(frame: pa.Table) -> pa.Table:
    """Return one row for each filled query of a frame, with the columns of `SCHEMA`, in the order of the frame.

    A query that a document has twice is taken once: the title of each of its pieces, for example.
    """
    columns = [name for name in QUERY_COLUMNS if name in frame.column_names]
    has_kinds = "kinds" in frame.column_names
    parts: list[pa.Table] = []
    seen: tuple[str, set[str]] = ("", set())
    for batch in frame.select(["id", "document", *columns, *(["kinds"] if has_kinds else [])]).to_batches(BATCH_ROWS):
        rows: list[tuple[str, str, str, str, str]] = []
        for row in batch.to_pylist():
            if row["document"] != seen[0]:
                seen = (row["document"], set())
            queries = [row[name].strip() for name in columns if row[name] and row[name].strip()]
            kinds = row.get("kinds") or []
            for position, query in enumerate(queries):
                if query.casefold() not in seen[1]:
                    seen[1].add(query.casefold())
                    kind = kinds[position] if position < len(kinds) else DEFAULT_KIND
                    rows.append((f"{row['id']}/{position + 1}", query, row["document"], row["id"], kind))
        parts.append(pa.Table.from_pylist([dict(zip(SCHEMA.names, row, strict=True)) for row in rows], schema=SCHEMA))
    return pa.concat_tables(parts) if parts else SCHEMA.empty_table()


def read_pairs(path: Path, split: Path | None = None, side: str = "train") -> pa.Table:
    """Return the pairs of a file of pairs, or of a filled frame.

    Args:
        path: Parquet with the columns of `SCHEMA` (others stay), or a frame.
        split: result of `trainer split`; where given, only pairs whose document is on ``side`` of it are returned.
        side: train, dev or test.

    Raises:
        UserError: the file is not readable, lacks a column or has an empty cell, or nothing is left.
    """
    remedy = "give the pairs of `python -m trainer filter`, or a frame with queries"
    try:
        table = pq.read_table(path)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; {remedy}") from error
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path}: not readable as Parquet; {remedy}") from error
    if {"id", "document", QUERY_COLUMNS[0]} <= set(table.column_names):
        table = pairs_of(table)
    for name in SCHEMA.names:
        if name not in table.column_names:
            raise UserError(f"{path}: has no column {name!r}; {remedy}")
        try:
            table = table.set_column(table.column_names.index(name), name, table[name].cast(pa.string()))
        except pa.ArrowException as error:
            raise UserError(
                f"{path}: column {name!r} holds {table.schema.field(name).type}, not text; {remedy}"
            ) from error
        if table[name].null_count:
            row = table[name].is_null().index(True).as_py() + 1
            raise UserError(f"{path} row {row}: no {name}; fill it or leave the row out")
    if split is not None:
        documents = pa.array(Split.read(split).documents(side), pa.string())
        table = table.filter(pc.is_in(table["document"], documents))
    if not table.num_rows:
        where = f" for a document of {side} in {split}" if split else ""
        raise UserError(f"{path}: no query{where}; {remedy}")
    return table
