"""JSON lines: one object per line, and column types that hold for every row."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from indexer import strict_json
from indexer.corpus.files import suffix_of
from indexer.corpus.formats.json_array import elements
from indexer.corpus.formats.text_file import open_bytes
from indexer.corpus.values.text_types import MOMENTS, fits

PEEK_ROWS = 1000  # rows that decide which columns there are, before the corpus is read
_EXACT = pa.int32()
"""Stands for whole numbers that floats hold too; those of `pa.int64()` go with no float, and the column becomes text."""
MAX_OBJECT_KEYS = 256  # an object with more keys is used as a dictionary: no column gets a field for each of them
_SCALARS: dict[type, pa.DataType] = {
    type(None): pa.null(),
    bool: pa.bool_(),
    float: pa.float64(),
    str: pa.string(),
}


class _ConflictError(Exception):
    """No Arrow type holds both values."""


class JsonReader:
    """Reader of the JSON lines of one corpus, which infers the column types from all rows."""

    def __init__(self) -> None:
        self._types: dict[str, pa.DataType | None] = {}  # None: the types conflict, the column becomes text
        self._moments: dict[str, list[pa.DataType]] = {}  # types of dates and times that all texts of a column fit

    def read_columns(self, path: Path) -> dict[str, pa.DataType]:
        """Return the columns of the first `PEEK_ROWS` rows with their types in these rows; the type may be null."""
        peek = JsonReader()
        rows = [row for _, row in islice(self.read_records(path), PEEK_ROWS) if isinstance(row, dict)]
        for name in dict.fromkeys(name for row in rows for name in row):
            peek.observe(name, [row.get(name) for row in rows])
        return {name: _known(kind) if kind else pa.string() for name, kind in peek._types.items()}

    def read_records(self, path: Path) -> Iterator[tuple[int, dict[str, Any] | str]]:
        """Yield line number (from 1) and object of each line; a string in place of the object says why it is not readable.

        Blank lines are counted and skipped.
        """
        with open_bytes(path) as file:
            lines = elements(file, path) if suffix_of(path) == ".json" else file
            for number, line in enumerate(lines, 1):
                text = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
                if text.strip():
                    yield number, parse_object(text)

    def observe(self, name: str, values: Sequence[Any]) -> None:
        """Widen the type of column ``name`` to hold ``values``."""
        current = self._types.setdefault(name, pa.null())
        if current is not None:
            try:
                self._types[name] = _merge(current, _common_type(values))
            except _ConflictError:
                self._types[name] = None
        if self._types[name] == pa.string() and self._moments.get(name, MOMENTS):
            present = pa.array([value for value in values if value is not None], pa.string())
            self._moments[name] = [kind for kind in self._moments.get(name, MOMENTS) if fits(present, kind)]

    def column_types(self) -> dict[str, pa.DataType]:
        """Return the type of each column; text where types conflict or where all values are null.

        Texts that are all dates, or times, in ISO 8601 are read as such.
        """
        types = {name: _known(kind) if kind else pa.null() for name, kind in self._types.items()}
        types |= {name: kinds[0] for name, kinds in self._moments.items() if kinds and types[name] == pa.string()}
        return {name: pa.string() if pa.types.is_null(kind) else kind for name, kind in types.items()}

    def to_array(self, values: Sequence[Any], kind: pa.DataType) -> pa.Array:
        """Convert the values of one column; in a column of text, values of other types become their JSON text."""
        if kind == pa.string():
            values = [value if value is None or isinstance(value, str) else _text(value) for value in values]
        elif kind == pa.float64():
            values = [None if value is None else float(value) for value in values]
        elif kind in MOMENTS:
            return pa.array(values, pa.string()).cast(kind)
        return pa.array(values, kind)


def parse_object(line: bytes) -> dict[str, Any] | str:
    """Return the object of a line; a string in its place says why there is none."""
    try:
        value = strict_json.loads(line.decode())
        if b"\\u" in line:
            _text(value).encode()  # an escaped lone surrogate is JSON, but no text
    except UnicodeError:
        return "invalid UTF-8"
    except json.JSONDecodeError as error:
        return f"broken JSON: {error.msg} at character {error.pos + 1}"
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, brackets a thousand deep
        return f"broken JSON: {error}"
    if not isinstance(value, dict):
        return "the line holds no JSON object"
    return value


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _common_type(values: Iterable[Any]) -> pa.DataType:
    common = pa.null()
    for value in values:
        kind = _type(value)
        if kind is not common:
            common = _merge(common, kind)
    return common


def _type(value: Any) -> pa.DataType:
    if scalar := _SCALARS.get(type(value)):
        return scalar
    if isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise _ConflictError
        return _EXACT if int(float(value)) == value else pa.int64()
    if isinstance(value, list):
        return pa.list_(_common_type(value))
    if len(value) > MAX_OBJECT_KEYS:
        raise _ConflictError
    return pa.struct([(name, _type(member)) for name, member in value.items()])


def _known(kind: pa.DataType) -> pa.DataType:
    """Return a type of an index for an inferred one."""
    if pa.types.is_list(kind):
        return pa.list_(_known(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([(field.name, _known(field.type)) for field in kind])
    return pa.int64() if kind == _EXACT else kind


def _merge(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    """Return the narrowest type that holds the values of both; raise `_ConflictError` where there is none."""
    if one == other or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    if {one, other} == {_EXACT, pa.float64()}:
        return pa.float64()
    if {one, other} == {_EXACT, pa.int64()}:
        return pa.int64()
    if pa.types.is_list(one) and pa.types.is_list(other):
        return pa.list_(_merge(one.value_type, other.value_type))
    if pa.types.is_struct(one) and pa.types.is_struct(other):
        members = {field.name: field.type for field in one}
        for field in other:
            members[field.name] = _merge(members.get(field.name, pa.null()), field.type)
        if len(members) <= MAX_OBJECT_KEYS:
            return pa.struct(list(members.items()))
    raise _ConflictError
