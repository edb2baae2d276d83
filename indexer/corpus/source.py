"""One reader over Parquet, CSV, JSON lines and SQL: a file, a folder, a glob or a statement becomes bounded chunks.

A corpus is read twice. The checking pass reads what decides whether a row is a document and learns the column types;
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
from indexer.corpus.sql.url import EXAMPLE, is_url
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
    """Return the files that ``spec`` stands for, sorted by name.

    Raises:
        UserError: there is none, or they are not all of one supported format.
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
    found = path.iterdir() if path.is_dir() else map(Path, matches)
    paths = sorted(
        each for each in found if each.is_file() and each.suffix.lower() in FORMATS and not each.name.startswith(".")
    )
    if not paths:
        raise UserError(f"{spec}: holds no corpus file; give files that end in one of {supported}")
    for each in paths:
        if _format(each) != _format(paths[0]):
            raise UserError(
                f"{spec}: {paths[0].name} is {_format(paths[0])} and {each.name} is {_format(each)}; "
                "give files of one format, for instance by a glob such as '*.parquet'"
            )
    return [SourceFile(each, str(each)) for each in paths]


class Source:
    """The files of one corpus; what a database answers to ``query`` is one, kept below ``data`` while this is used.

    ``columns`` says by file name which columns a file has, as far as that is known before any row is read; ``total``
    is the number of rows where the format states it.
    """

    def __init__(self, spec: str, query: str | None = None, limit: int | None = None, data: Path | None = None) -> None:
        if is_url(spec):
            self.files = [spool(spec, query, limit, data, owner=self)]
        elif query is not None:
            raise UserError(f"--query: {spec} is no database; leave --query out, or give a URL such as {EXAMPLE}")
        else:
            self.files = find_files(spec)
        self.columns: dict[str, Types] = {}
        self.total: int | None = None
        self._reader: TextReader | None = None
        kind = _format(self.files[0].path)
        if kind != "Parquet":
            self._reader = CsvReader() if kind == "CSV" else JsonReader()
        for file in self.files:
            with _readable(file):
                if self._reader:
                    self.columns[file.name] = self._reader.columns(file.path)
                else:
                    self.columns[file.name] = parquetfiles.columns(file.path)
                    self.total = (self.total or 0) + parquetfiles.count(file.path)

    def types(self, roles: Roles) -> Types:
        """Return the types of the metadata columns; those of CSV and JSON lines are known after the checking pass.

        Raises:
            UserError: a column has types in different Parquet files that have none in common.
        """
        others = {
            file: {name: kind for name, kind in found.items() if name not in roles}
            for file, found in self.columns.items()
        }
        types = self._reader.types() if self._reader else parquetfiles.common_types(others)
        return {name: kind for name, kind in types.items() if name not in roles}

    def chunks(self, roles: Roles, limit: int | None = None, types: Types | None = None) -> Iterator[Chunk]:
        """Yield the first ``limit`` rows, or all; with metadata where its ``types`` are given.

        Raises:
            UserError: a file cannot be read.
        """
        done = 0
        for file in self.files:
            left = None if limit is None else limit - done
            with _readable(file):
                if self._reader:
                    chunks = text_chunks(self._reader, file, roles, types, before=done, limit=left)
                else:
                    chunks = parquet_chunks(file, roles, types, before=done, limit=left)
                for chunk in chunks:
                    done += len(chunk.numbers) + len(chunk.rejects)
                    yield chunk


def _format(path: Path) -> str:
    return FORMATS[path.suffix.lower()]


@contextmanager
def _readable(file: SourceFile) -> Iterator[None]:
    """Turn every way in which a file can be unreadable into a `UserError` that names it."""
    try:
        yield
    except (OSError, pa.ArrowException, UnicodeError) as error:
        detail = str(error).partition("\n")[0]
        raise UserError(f"{file.name}: not readable ({detail}); check that the file is complete") from error
