"""Parquet files: columns, types and batches, read and written in pieces of bounded size."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from indexer.corpus.formats.parquet_open import PROBE_ROWS, open_parquet
from indexer.corpus.values.stored_types import contains, repeated_member, stored_type
from indexer.errors import UserError

ROW_GROUP_BYTES = 16 << 20
INTEGER_DIGITS = 20
"""Of the greatest whole number of 64 bits."""


def read_columns(path: Path) -> dict[str, pa.DataType]:
    """Return the columns of a file with the types in which an index keeps them, see `stored_type`.

    Raises:
        UserError: two columns, or two members of one struct, have the same name.
    """
    with open_parquet(path) as file:
        schema = file.schema_arrow
    for name in schema.names:
        if schema.names.count(name) > 1:
            raise UserError(f"{path}: two columns are called {name!r}; rename one")
    for field in schema:
        if (repeated := repeated_member(field.type)) is not None:
            raise UserError(f"{path}: two members in column {field.name!r} are called {repeated!r}; rename one")
    return {field.name: stored_type(field.type) for field in schema}


def count_rows(path: Path) -> int:
    """Return the number of rows according to the file's footer."""
    return int(pq.read_metadata(path).num_rows)


def read_batches(path: Path, names: list[str] | None, rows: int) -> Iterator[pa.RecordBatch]:
    """Yield batches of at most ``rows`` rows with the columns ``names``; None for all.

    Where Arrow cannot restore its own types, as for a dictionary with a value that is not UTF-8, the columns have those of
    Parquet.
    """
    with open_parquet(path) as file:
        written = {field.name: field.type for field in file.schema_arrow}
    done, failure = 0, None
    if not any(contains(kind, _is_list_view) for kind in written.values()):  # Arrow converts these to broken lists
        try:
            with open_parquet(path) as file:
                for batch in file.iter_batches(batch_size=rows, columns=names):
                    yield batch
                    done += batch.num_rows
                return
        except pa.ArrowInvalid as error:
            failure = error
    try:
        for batch in _read_plain(path, names, rows, written):
            skipped = min(done, batch.num_rows)
            done -= skipped
            if skipped < batch.num_rows:
                yield batch.slice(skipped)
    except (pa.ArrowException, OSError) as error:
        raise failure or error from None


def _read_plain(
    path: Path, names: list[str] | None, rows: int, written: dict[str, pa.DataType]
) -> Iterator[pa.RecordBatch]:
    """Yield batches with the types of Parquet; durations, which it does not know, are restored."""
    with open_parquet(path, restore=False) as file:
        for batch in file.iter_batches(batch_size=rows, columns=names):
            columns = [
                column.cast(stored_type(written[name])) if contains(written[name], pa.types.is_duration) else column
                for name, column in zip(batch.schema.names, batch.columns, strict=True)
            ]
            yield pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _is_list_view(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind))


def unify_types(files: dict[str, dict[str, pa.DataType]]) -> dict[str, pa.DataType]:
    """Return for every column one type that holds its values in all ``files`` (name → columns).

    Moments of different zones are in UTC together.

    Raises:
        UserError: a column has types without a common one, such as text and numbers.
    """
    common: dict[str, pa.DataType] = {}
    for file, columns in files.items():
        for name, kind in columns.items():
            before = common.setdefault(name, kind)
            if before == kind:
                continue
            one, other = _with_room(*_in_utc(before, kind))
            try:
                schemas = [pa.schema([(name, one)]), pa.schema([(name, other)])]
                common[name] = pa.unify_schemas(schemas, promote_options="permissive").field(0).type
            except pa.ArrowException as error:
                raise UserError(
                    f"{file}: column {name!r} holds {kind} where the files before it hold {before}; "
                    "give the column one type in all files"
                ) from error
    return common


def _in_utc(one: pa.DataType, other: pa.DataType) -> tuple[pa.DataType, pa.DataType]:
    """Return two types, those of moments in different zones as moments in UTC."""
    both = (one, other)
    if all(pa.types.is_timestamp(kind) and kind.tz for kind in both) and one.tz != other.tz:
        return pa.timestamp(one.unit, "UTC"), pa.timestamp(other.unit, "UTC")
    return both


def _with_room(one: pa.DataType, other: pa.DataType) -> tuple[pa.DataType, pa.DataType]:
    """Return two types, whole numbers beside decimals as decimals: else Arrow's common type may hold none of them."""
    for kind, decimal in ((one, other), (other, one)):
        if pa.types.is_integer(kind) and pa.types.is_decimal(decimal):
            return decimal, pa.decimal128(INTEGER_DIGITS, 0)
    return one, other


def without_nanoseconds(files: dict[Path, pa.DataType], name: str, common: pa.DataType) -> pa.DataType:
    """Return ``common`` in microseconds where column ``name`` needs no nanoseconds, and some file has coarser ones.

    Nanoseconds since 1970 end in 2262, so that a common type of them cannot hold a far date of another file. Durations of
    nanoseconds end after 292 years.

    Args:
        files: the type of the column in each file.
        name: of the column.
        common: the type of all files together.
    """
    fine = [path for path, kind in files.items() if _is_in_nanoseconds(kind)]
    if not _is_in_nanoseconds(common) or len(fine) == len(files):
        return common
    coarser = pa.timestamp("us", common.tz) if pa.types.is_timestamp(common) else pa.duration("us")
    try:
        for path in fine:
            for batch in read_batches(path, [name], PROBE_ROWS):
                batch.column(name).cast(coarser)
    except pa.ArrowInvalid:
        return common
    return coarser


def _is_in_nanoseconds(kind: pa.DataType) -> bool:
    return bool((pa.types.is_timestamp(kind) or pa.types.is_duration(kind)) and kind.unit == "ns")


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
