"""Columns in the lexical leg: fields of their own beside title and text, and values that are looked up exactly.

`--search-columns brand^2,tags` makes a field of the words of each column, with the weight that stands behind `^`. Titles
are such a field, too, which no search of documents asks: titles are completed from it. `--exact-columns sku,ean` names
columns of which a value that equals the whole query puts its documents first.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

COLUMN = "column:"
"""Begins the name of a column's field in the lexical index."""
TITLE = "title"
"""Name of the field of the titles' words."""
COLUMN_WORDS = "columns"
"""Name of the field of the words of all searched columns as they are written; half-typed words are continued from it."""
TEXT_FIELDS = ("body", "exact")
"""Fields of title and text together."""
FieldTexts = Mapping[str, str]
"""Text of each field of a document besides `TEXT_FIELDS`, by the field's name."""


def field_texts(title: str | None, metadata: Mapping[str, Any] | None, columns: Mapping[str, float]) -> FieldTexts:
    """Return what the fields of a document besides those of its text are made of."""
    values = metadata or {}
    texts = {COLUMN + name: column_text(values.get(name)) for name in columns}
    return {TITLE: title or "", COLUMN_WORDS: "\n".join(texts.values()), **texts}


def selected(batch: pa.RecordBatch, columns: Sequence[str]) -> list[dict[str, Any]]:
    """Return the values of some columns of the metadata of each document; a column that is not there has none."""
    if not columns or "metadata" not in batch.schema.names:
        return [{}] * batch.num_rows
    metadata = batch.column("metadata")
    present = [name for name in columns if metadata.type.get_field_index(name) >= 0]
    values = {name: pc.struct_field(metadata, [name]).to_pylist() for name in present}
    return [{name: of_all[row] for name, of_all in values.items()} for row in range(batch.num_rows)]


def column_text(value: Any) -> str:
    """Return a value of a column as a text; the values of a list are lines, an empty cell is an empty text."""
    return "\n".join(_values(value))


def exact_keys(value: Any) -> list[str]:
    """Return the forms in which a value is looked up, one for each of a list."""
    return [key for each in _values(value) if (key := exact_key(each))]


def exact_key(text: str) -> str:
    """Return a text as values are compared: without blanks around it and without case, in Unicode's form NFKC."""
    return unicodedata.normalize("NFKC", text).casefold().strip()


def _values(value: Any) -> list[str]:
    if value is None:
        return []
    return [str(each) for each in value if each is not None] if isinstance(value, list | tuple) else [str(value)]
