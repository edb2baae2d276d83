"""Source of a corpus: one reader over Parquet, CSV, JSON lines and SQL, which yields chunks of bounded size.

A corpus is read twice. The checking pass reads what decides whether a row is a document and infers the column types;
the second pass delivers the rows with all columns.
"""

from __future__ import annotations

import glob
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from indexer.corpus import parquet as parquetfiles
from indexer.corpus.chunks import Chunk, Roles, SourceFile, TextReader, Types, parquet_chunks, text_chunks
from indexer.corpus.csv import CsvReader
from indexer.corpus.jsonl import JsonReader
from indexer.corpus.sql.source import spool
from indexer.corpus.sql.url import URL_EXAMPLE, is_url
from indexer.errors import UserError

FORMATS = {
    ".parquet": "Parquet",
    ".csv": "CSV",
    ".tsv": "CSV",
    ".jsonl": "JSON lines",
    ".ndjson": "JSON lines",
    ".json-lines": "JSON lines",
}


def find_files(spec: str) -> list[SourceFile]:
    """Return the files that ``spec`` names: a file, a folder or a glob; sorted by name.

    Raises:
        UserError: there is no such file, or the files are not all of one supported format.
    """
    path = Path(spec)
    supported = " ".join(FORMATS)
    if path.is_file():
        if path.suffix.lower() not in FORMATS:
            raise UserError(f"{spec}: not a supported format; give a file that ends in one of {supported}")
        return [SourceFile(path, spec)]
    if not path.exists() and not glob.has_magic(spec):
        raise UserError(f"{spec}: no such file or folder; give the path of the corpus")
    matches = glob.iglob(spec, recursive=True)  # noqa: PTH207 - a Path has no glob for an absolute pattern
    candidates = path.iterdir() if path.is_dir() else map(Path, matches)
    paths = sorted(
        file
        for file in candidates
        if file.is_file() and file.suffix.lower() in FORMATS and not file.name.startswith(".")
    )
    if not paths:
        raise UserError(f"{spec}: holds no corpus file; give files that end in one of {supported}")
    for file in paths:
        if _format(file) != _format(paths[0]):
            raise UserError(
                f"{spec}: {paths[0].name} is {_format(paths[0])} and {file.name} is {_format(file)}; "
                "give files of one format, for instance by a glob such as '*.parquet'"
            )
    return [SourceFile(file, str(file)) for file in paths]


class Source:
    """The files of one corpus; the rows of a database are one file below ``data`` as long as this object is used.

    ``columns`` has by file name the columns of the file, as far as they are known before any row is read. ``total`` is
    the number of rows where the format states it.
    """

    def __init__(self, spec: str, query: str | None = None, limit: int | None = None, data: Path | None = None) -> None:
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
        kind = _format(self.files[0].path)
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

    def chunks(self, roles: Roles, limit: int | None = None, types: Types | None = None) -> Iterator[Chunk]:
        """Yield the first ``limit`` rows, or all; with metadata where the ``types`` of its columns are given.

        Raises:
            UserError: a file cannot be read.
        """
        rows_read = 0
        for file in self.files:
            remaining = None if limit is None else limit - rows_read
            with _user_error_if_unreadable(file):
                if self._reader:
                    chunks = text_chunks(self._reader, file, roles, types, offset=rows_read, limit=remaining)
                else:
                    chunks = parquet_chunks(
                        file,
                        roles,
                        self.types(roles) if types is None else types,
                        metadata=types is not None,
                        offset=rows_read,
                        limit=remaining,
                    )
                for chunk in chunks:
                    rows_read += len(chunk.numbers) + len(chunk.rejects)
                    yield chunk


def _format(path: Path) -> str:
    return FORMATS[path.suffix.lower()]


@contextmanager
def _user_error_if_unreadable(file: SourceFile) -> Iterator[None]:
    """Turn every error of an unreadable file into a `UserError` that names the file."""
    try:
        yield
    except (OSError, pa.ArrowException, UnicodeError) as error:
        detail = str(error).partition("\n")[0]
        raise UserError(f"{file.name}: not readable ({detail}); check that the file is complete") from error
