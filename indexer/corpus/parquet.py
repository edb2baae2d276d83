"""Parquet files: columns, types and batches, read and written in pieces of bounded size."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from indexer.errors import UserError

ROW_GROUP_BYTES = 16 << 20
READ_BUFFER_BYTES = 1 << 20  # without a buffer size Arrow reads a complete column chunk at once


def read_columns(path: Path) -> dict[str, pa.DataType]:
    """Return the columns of a file with the types of their values, see `plain_type`."""
    schema = pq.read_schema(path)
    for name in schema.names:
        if schema.names.count(name) > 1:
            raise UserError(f"{path}: two columns are called {name!r}; rename one")
    return {field.name: plain_type(field.type) for field in schema}


def count_rows(path: Path) -> int:
    """Return the number of rows according to the file's footer."""
    return int(pq.read_metadata(path).num_rows)


def read_batches(path: Path, names: list[str] | None, rows: int) -> Iterator[pa.RecordBatch]:
    """Yield batches of at most ``rows`` rows with the columns ``names``; None for all."""
    with pq.ParquetFile(path, buffer_size=READ_BUFFER_BYTES) as file:
        yield from file.iter_batches(batch_size=rows, columns=names)


def plain_type(kind: pa.DataType) -> pa.DataType:
    """Return the type of the values: that of the dictionary for dictionary encoding, string for a string view."""
    if pa.types.is_dictionary(kind):
        return plain_type(kind.value_type)
    return pa.string() if pa.types.is_string_view(kind) else kind


def unify_types(files: dict[str, dict[str, pa.DataType]]) -> dict[str, pa.DataType]:
    """Return for every column one type that holds its values in all ``files`` (name → columns).

    Raises:
        UserError: a column has types without a common one, such as text and numbers.
    """
    common: dict[str, pa.Field] = {}
    for file, columns in files.items():
        for name, kind in columns.items():
            field = pa.field(name, kind)
            try:
                schemas = [pa.schema([common.get(name, field)]), pa.schema([field])]
                common[name] = pa.unify_schemas(schemas, promote_options="permissive").field(0)
            except pa.ArrowException as error:
                raise UserError(
                    f"{file}: column {name!r} holds {kind} where the files before it hold {common[name].type}; "
                    "give the column one type in all files"
                ) from error
    return {name: field.type for name, field in common.items()}


class RowGroupWriter:
    """Writer of a Parquet file in row groups of about `ROW_GROUP_BYTES`; memory holds one row group."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.schema = schema
        self._file = pq.ParquetWriter(path, schema, compression="zstd", compression_level=1)
        self._buffer: list[pa.RecordBatch] = []

    def add(self, batch: pa.RecordBatch) -> None:
        """Append a batch of the file's schema."""
        self._buffer.append(batch)
        if sum(part.nbytes for part in self._buffer) >= ROW_GROUP_BYTES:
            self._flush()

    def close(self) -> None:
        """Complete the file."""
        self._flush()
        self._file.close()

    def _flush(self) -> None:
        if self._buffer:
            table = pa.Table.from_batches(self._buffer)
            self._file.write_table(table, row_group_size=max(len(table), 1))
        self._buffer = []
