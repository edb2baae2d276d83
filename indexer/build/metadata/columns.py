"""Metadata of documents as columns: their types, a schema with more of them, documents with other values in some."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pyarrow as pa

from indexer.corpus.chunks import make_struct

METADATA = "metadata"


def column_types(schema: pa.Schema) -> dict[str, pa.DataType]:
    """Return the type of each metadata column of documents, in their order; empty where they have none."""
    position = schema.get_field_index(METADATA)
    return {} if position < 0 else {column.name: column.type for column in schema.field(position).type}


def columns_of(batch: pa.RecordBatch) -> dict[str, pa.Array]:
    """Return the metadata columns of documents, in their order; empty where they have none."""
    position = batch.schema.get_field_index(METADATA)
    metadata = None if position < 0 else batch.column(position)
    return {} if metadata is None else {column.name: metadata.field(at) for at, column in enumerate(metadata.type)}


def with_columns(schema: pa.Schema, columns: Iterable[tuple[str, pa.DataType]]) -> pa.Schema:
    """Return the schema of documents that have these metadata columns too; those that are there keep their types."""
    types = column_types(schema)
    types |= {name: kind for name, kind in columns if name not in types}
    metadata = pa.field(METADATA, pa.struct(list(types.items())))
    position = schema.get_field_index(METADATA)
    return schema.append(metadata) if position < 0 else schema.set(position, metadata)


def with_values(batch: pa.RecordBatch, values: Mapping[str, pa.Array]) -> pa.RecordBatch:
    """Return documents with other values in some metadata columns, or with these columns too."""
    metadata = make_struct(columns_of(batch) | dict(values))
    schema = with_columns(batch.schema, [(name, column.type) for name, column in values.items()])
    position = schema.get_field_index(METADATA)
    columns = [*batch.columns[:position], metadata, *batch.columns[position + 1 :]]
    return pa.RecordBatch.from_arrays(columns, schema=schema)
