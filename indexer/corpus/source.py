"""Source of a corpus: one reader over Parquet, CSV, JSON lines and SQL, which yields chunks of bounded size.

A corpus is read twice. The checking pass reads what decides whether a row is a document and infers the column types;
the second pass delivers the rows with all columns.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from indexer.corpus.chunks import (
    Chunk,
    Roles,
    SourceFile,
    TextReader,
    Types,
    make_batch,
    make_struct,
    parquet_chunks,
    text_chunks,
)
from indexer.corpus.files import find_files, format_of, local_path
from indexer.corpus.formats import parquet as parquetfiles
from indexer.corpus.formats.csv import CsvReader
from indexer.corpus.formats.jsonl import JsonReader
from indexer.corpus.sql.source import spool
from indexer.corpus.sql.url import URL_EXAMPLE, is_url
from indexer.errors import UserError


class Source:
    """The files of one corpus; the rows of a database are one file below ``data`` as long as this object is used.

    ``columns`` has by file name the columns of the file, as far as they are known before any row is read. ``total`` is
    the number of rows where the format states it.
    """

    def __init__(self, spec: str, query: str | None = None, limit: int | None = None, data: Path | None = None) -> None:
        spec = local_path(spec)
        if is_url(spec):
            self.files = [spool(spec, query, limit, data, owner=self)]
        elif query is not None:
            raise UserError(f"--query: {spec} is no database; leave --query out, or give a URL such as {URL_EXAMPLE}")
        else:
            self.files = find_files(spec)
        self.columns: dict[str, Types] = {}
        self.total: int | None = None
        self._reader: TextReader | None = None
        self._unified: dict[Roles, Types] = {}
        kind = format_of(self.files[0].path)
        if kind != "Parquet":
            self._reader = CsvReader() if kind == "CSV" else JsonReader()
        for file in self.files:
            with _user_error_if_unreadable(file):
                if self._reader:
                    self.columns[file.name] = self._reader.read_columns(file.path)
                else:
                    self.columns[file.name] = parquetfiles.read_columns(file.path)
                    self.total = (self.total or 0) + parquetfiles.count_rows(file.path)

    def types(self, roles: Roles) -> Types:
        """Return the types of the metadata columns; those of CSV and JSON lines are known after the checking pass.

        Raises:
            UserError: a column has types without a common one in different Parquet files.
        """
        return self._file_types(roles) | {name: kind for name, (kind, _) in self._partitions(roles).items()}

    def _file_types(self, roles: Roles) -> Types:
        """Return the types of the metadata columns that are in the files."""
        if self._reader:
            return {name: kind for name, kind in self._reader.column_types().items() if name not in roles}
        if roles not in self._unified:
            self._unified[roles] = self._unify(roles)
        return self._unified[roles]

    def _unify(self, roles: Roles) -> Types:
        others = {
            file: {name: kind for name, kind in columns.items() if name not in roles}
            for file, columns in self.columns.items()
        }
        types = parquetfiles.unify_types(others)
        for name, kind in types.items():
            holders = {file.path: others[file.name][name] for file in self.files if name in others[file.name]}
            types[name] = parquetfiles.without_nanoseconds(holders, name, kind)
        return types

    def _partitions(self, roles: Roles) -> dict[str, tuple[pa.DataType, pa.Array]]:
        """Return, for every column that only folders ``name=value`` give, its type and its value for each file."""
        in_files = {*roles, *self._file_types(roles)}
        values = [dict(file.partitions) for file in self.files]
        reader = CsvReader()
        columns = {}
        for name in dict.fromkeys(name for pairs in values for name in pairs if name not in in_files):
            column = [pairs.get(name) for pairs in values]
            kind = reader.infer_type(name, column)
            columns[name] = kind, reader.to_array(column, kind)
        return columns

    def chunks(self, roles: Roles, limit: int | None = None, types: Types | None = None) -> Iterator[Chunk]:
        """Yield the first ``limit`` rows, or all; with metadata where the ``types`` of its columns are given.

        Raises:
            UserError: a file cannot be read.
        """
        rows_read = 0
        folders = self._partitions(roles) if types is not None else {}
        if types is not None:
            types = {name: kind for name, kind in types.items() if name not in folders}
        for position, file in enumerate(self.files):
            remaining = None if limit is None else limit - rows_read
            with _user_error_if_unreadable(file):
                if self._reader:
                    chunks = text_chunks(self._reader, file, roles, types, offset=rows_read, limit=remaining)
                else:
                    chunks = parquet_chunks(
                        file,
                        roles,
                        self._file_types(roles) if types is None else types,
                        metadata=types is not None,
                        offset=rows_read,
                        limit=remaining,
                    )
                for chunk in chunks:
                    rows_read += len(chunk.numbers) + len(chunk.rejects)
                    yield _with_columns(chunk, {name: column[position] for name, (_, column) in folders.items()})


def _with_columns(chunk: Chunk, values: dict[str, pa.Scalar]) -> Chunk:
    """Return a chunk with more metadata columns, each with one value for all rows."""
    if not values:
        return chunk
    batch = chunk.batch
    columns = {name: pa.repeat(value, batch.num_rows) for name, value in values.items()}
    arrays = batch.columns
    if "metadata" in batch.schema.names:
        metadata = arrays.pop()
        columns = {field.name: metadata.field(number) for number, field in enumerate(metadata.type)} | columns
    return chunk._replace(batch=make_batch([*arrays, make_struct(columns)]))


@contextmanager
def _user_error_if_unreadable(file: SourceFile) -> Iterator[None]:
    """Turn every error of an unreadable file into a `UserError` that names the file."""
    try:
        yield
    except (OSError, EOFError, zlib.error, pa.ArrowException, UnicodeError) as error:
        detail = str(error).partition("\n")[0]
        raise UserError(f"{file.name}: not readable ({detail}); check that the file is complete") from error
