"""CSV and TSV files: records with their exact row numbers, and column types that hold for every row."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa

from indexer.corpus.files import suffix_of
from indexer.corpus.formats.text_file import open_bytes
from indexer.corpus.values.text_types import PATTERNS, fits
from indexer.errors import UserError

DELIMITERS = (",", ";", "\t", "|")
MAX_FIELD_CHARACTERS = 1 << 27  # the default of the csv module, 128 Ki, is shorter than many documents

_STATED_DELIMITER = re.compile(r"sep=(.)[\r\n]*", re.IGNORECASE)


class CsvReader:
    """Reader of the CSV files of one corpus, which infers the column types from all rows."""

    def __init__(self) -> None:
        self._candidate_types: dict[str, list[pa.DataType]] = {}
        self._columns_with_values: set[str] = set()

    def read_columns(self, path: Path) -> dict[str, pa.DataType]:
        """Return the columns that the header names; each is text until all rows have been observed."""
        names = _read_header(path)
        for name in names:
            self._candidate_types.setdefault(name, list(PATTERNS))
        return dict.fromkeys(names, pa.string())

    def read_records(self, path: Path) -> Iterator[tuple[int, dict[str, Any] | str]]:
        """Yield number and fields of each record; a string in place of the fields says why it is not readable.

        Numbers start at 1 and leave out the header. An empty field is null. Blank lines are counted and skipped.
        """
        names = _read_header(path)
        with _open(path) as file:
            csv.field_size_limit(MAX_FIELD_CHARACTERS)
            rows = _reader(file, path)
            next(rows, None)
            number = 0
            while True:
                number += 1
                try:
                    fields = next(rows)
                    "".join(fields).encode()  # raises where bytes are not UTF-8: they were read as lone surrogates
                except StopIteration:
                    return
                except csv.Error as error:
                    yield number, f"broken CSV: {error}"
                except UnicodeEncodeError:
                    yield number, "invalid UTF-8"
                else:
                    if len(fields) == len(names):
                        yield number, {name: field or None for name, field in zip(names, fields, strict=True)}
                    elif fields:
                        yield number, f"{len(fields)} fields where the header has {len(names)}"

    def observe(self, name: str, values: Sequence[str | None]) -> None:
        """Narrow the possible types of column ``name`` to those that ``values`` allow."""
        present = pa.array([value for value in values if value is not None], pa.string())
        if len(present):
            self._columns_with_values.add(name)
            self._candidate_types[name] = [kind for kind in self._candidate_types[name] if fits(present, kind)]

    def column_types(self) -> dict[str, pa.DataType]:
        """Return the narrowest type of each column that fits all observed values; text where there were none."""
        return {
            name: kinds[0] if kinds and name in self._columns_with_values else pa.string()
            for name, kinds in self._candidate_types.items()
        }

    def infer_type(self, name: str, values: Sequence[str | None]) -> pa.DataType:
        """Return the narrowest type of a column that is called ``name`` and has only these ``values``."""
        self._candidate_types[name] = list(PATTERNS)
        self.observe(name, values)
        return self.column_types()[name]

    def to_array(self, values: Sequence[str | None], kind: pa.DataType) -> pa.Array:
        """Convert the fields of one column."""
        return pa.array(values, pa.string()).cast(kind)


def _open(path: Path) -> TextIO:
    return io.TextIOWrapper(open_bytes(path), encoding="utf-8-sig", errors="surrogateescape", newline="")


def _reader(file: TextIO, path: Path) -> Iterator[list[str]]:
    """Return the records of an open file from the header on; blank lines before it, and Excel's ``sep=;``, are skipped."""
    line = file.readline(MAX_FIELD_CHARACTERS)
    while line and not line.strip("\r\n "):
        line = file.readline(MAX_FIELD_CHARACTERS)
    if stated := _STATED_DELIMITER.fullmatch(line):
        return csv.reader(file, delimiter=stated[1], strict=True)
    return csv.reader(chain([line] if line else [], file), delimiter=_detect_delimiter(line, path), strict=True)


def _detect_delimiter(line: str, path: Path) -> str:
    """Return the delimiter that occurs most often outside quotes in the first line."""
    line = re.sub(r'"[^"]*"', "", line)
    order = ("\t", *DELIMITERS) if suffix_of(path) == ".tsv" else DELIMITERS
    return max(order, key=line.count)  # the first of equals: the delimiter of a single column is the comma


def _read_header(path: Path) -> list[str]:
    """Return the names in the first record; an unnamed column is called after its position. An empty file has none."""
    csv.field_size_limit(MAX_FIELD_CHARACTERS)
    with _open(path) as file:
        try:
            fields = next(_reader(file, path), None)
            "".join(fields or ()).encode()
        except UnicodeEncodeError:
            raise UserError(
                f"{path}: the first line is no header in UTF-8; if the file is in a code page such as Windows-1252, save "
                "it as UTF-8"
            ) from None
        except csv.Error:
            fields = []
    if fields is None:
        return []
    if not any(fields):
        raise UserError(f"{path}: the first line is no header in UTF-8; write the column names there")
    names = [field.strip() or f"column_{position}" for position, field in enumerate(fields, 1)]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{path}: two columns are called {name!r}; rename one, or write a header if there is none")
    return names
