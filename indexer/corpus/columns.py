"""Choice of columns: those that hold id, title and text, made or refused before any row is read, and those of a flag."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

from indexer.corpus.chunks import Roles, Types
from indexer.errors import UserError

ID_COLUMNS = ("id", "_id")
"""Names of a column of ids, the first one that exists; BEIR and MongoDB write `_id`."""


def choose_roles(
    files: dict[str, Types], id_column: str | None, text_column: str, title_column: str | None
) -> tuple[Roles, list[str]]:
    """Return the columns that hold id, title and text in all ``files`` (name → columns), and notes on the choice.

    Raises:
        UserError: a column is missing, or its type does not fit its role.
    """
    files = {file: columns for file, columns in files.items() if columns}  # JSON lines may be empty
    notes = []
    _require(files, text_column, "--text-column", "text", _may_be_text)

    id_role = id_column
    if id_column is None:
        id_role = next((name for name in ID_COLUMNS if any(name in columns for columns in files.values())), None)
    if id_role is None:
        notes.append("ids were made from the row number: the corpus has no column 'id'")
    else:
        _require(files, id_role, "--id-column", "text or whole numbers", _is_id)

    title_role = None
    if title_column is None:
        kinds = [columns["title"] for columns in files.values() if "title" in columns and text_column != "title"]
        if all(_is_text(kind) for kind in kinds):
            title_role = "title" if kinds else None
        else:
            notes.append("column 'title' is metadata: it does not hold text")
    elif title_column not in ("", "none"):
        _require(files, title_column, "--title-column", "text", _may_be_text)
        title_role = title_column
    return Roles(id_role, title_role, text_column), notes


def _require(
    files: dict[str, Types], column: str, flag: str, expected: str, fits: Callable[[pa.DataType], bool]
) -> None:
    """Raise `UserError` where ``column`` is missing in one of ``files`` or its type does not fit."""
    for file, columns in files.items():
        existing = ", ".join(map(repr, columns))
        if column not in columns:
            raise UserError(f"{file}: no column {column!r} among {existing}; name the right one with {flag}")
        if not fits(columns[column]):
            raise UserError(
                f"{file}: column {column!r} holds {columns[column]}, not {expected}; "
                f"name another of {existing} with {flag}"
            )


def _is_text(kind: pa.DataType) -> bool:
    return kind in (pa.string(), pa.large_string(), pa.null())  # null: JSON lines whose first rows have no value


def _may_be_text(kind: pa.DataType) -> bool:
    """Say whether a type holds text, or bytes that may be text: that is checked in every row."""
    return _is_text(kind) or bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_id(kind: pa.DataType) -> bool:
    """Say whether a type may hold ids: text, or numbers that are checked in every row to be whole, or UUIDs."""
    t = pa.types
    is_number = t.is_integer(kind) or t.is_floating(kind) or t.is_decimal(kind)
    return _may_be_text(kind) or bool(is_number or t.is_fixed_size_binary(kind))


def parse_names(value: str | None, flag: str) -> tuple[str, ...]:
    """Return the names of columns in ``sku,ean``, each once.

    Args:
        value: of the flag, or of the configuration of an index; None for no columns.
        flag: for the error, such as ``--exact-columns``.

    Raises:
        UserError: a name is empty.
    """
    names = [name.strip() for name in value.split(",")] if value else []
    if not all(names):
        raise UserError(f"{flag} {value}: a name is empty; write names with commas between them: sku,ean")
    return tuple(dict.fromkeys(names))
