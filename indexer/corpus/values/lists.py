"""Several values in one text, such as ``oak, dining; outdoor``: columns that `--list-columns` names become lists."""

from __future__ import annotations

import json
import re

import pyarrow as pa

from indexer.errors import UserError

_DELIMITER = re.compile(r"[,;|\n]")
_BRACKETS = {"[": "]", "{": "}"}
_QUOTES = "\"'"
LIST = pa.list_(pa.string())
"""Type of a column of lists."""


def split_list(text: str | None) -> list[str] | None:
    """Return the values of a text: a list in JSON, or values between commas, semicolons, bars or line ends.

    Brackets around all, and quotes around a value, are left out, as Python and PostgreSQL write lists. Empty values are left
    out, too; of a missing text there is no list.
    """
    if text is None:
        return None
    text = text.strip()
    if text.startswith("["):
        try:
            if isinstance(values := json.loads(text), list):
                texts = (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for value in values)
                return [value for part in texts if (value := part.strip())]
        except ValueError:
            pass
    if text and text[-1] == _BRACKETS.get(text[0]):
        text = text[1:-1]
    return [value for part in _DELIMITER.split(text) if (value := _unquoted(part))]


def _unquoted(part: str) -> str:
    part = part.strip()
    if len(part) > 1 and part[0] == part[-1] and part[0] in _QUOTES:
        return part[1:-1].strip()
    return part


def list_type(name: str, kind: pa.DataType) -> pa.DataType:
    """Return the type of a column that becomes lists.

    Raises:
        UserError: its values are no texts.
    """
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return kind
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind):
        return LIST
    raise UserError(
        f"--list-columns {name}: the column holds {kind}, not texts with values between commas; leave it out"
    )


def to_lists(column: pa.Array) -> pa.Array:
    """Return a column of texts as lists; one that holds lists as it is."""
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        return column
    return pa.array([split_list(text) for text in column.cast(pa.string()).to_pylist()], LIST)
