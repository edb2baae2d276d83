"""Sorting, browsing and boosts over Milvus: values of documents are read by their numbers, and ordered here.

Milvus returns a bounded number of rows at once. Where more documents pass, nothing is sorted: the first of a part of
them would not be the first of all.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from indexer.errors import NotSupported
from indexer.filters.bind import comparable
from indexer.filters.encoded import EncodedColumn
from indexer.filters.fields import Types, find_field
from indexer.index.document_mask import Mask, Rows
from indexer.milvus.engine import MAX_HITS, NUMBER, Engine
from indexer.milvus.fields import StoredField, restore
from indexer.milvus.filtering.expression import Expression
from indexer.milvus.filtering.selection import MilvusSelection

AT_ONCE = 2_048
"""Documents whose values are read by one call."""


def rows_of(documents: MilvusSelection, engine: Engine) -> Rows:
    """Return the rows of documents, ascending, which is the order of their ids.

    Raises:
        NotSupported: there are more than Milvus returns.
    """
    if documents.count > MAX_HITS:
        raise NotSupported(
            f"Milvus as a store lists {MAX_HITS:,} documents at most without a query, and {documents.count:,} pass; add a "
            "filter or a query"
        )
    found = engine.query(documents.collection, documents.where, [NUMBER], limit=MAX_HITS)
    return np.sort(np.array([int(row[NUMBER]) for row in found], dtype=np.int64))


def passing(where: Expression, rows: Rows, collection: str, engine: Engine) -> Mask:
    """Return for each document of ``rows`` whether it passes an expression."""
    mask = np.zeros(len(rows), dtype=np.bool_)
    for start in range(0, len(rows), AT_ONCE):
        part = rows[start : start + AT_ONCE]
        these = Expression(f"{NUMBER} in {{rows}}", {"rows": part.tolist()})
        found = engine.query(collection, where & these, [NUMBER], limit=len(part))
        mask[start : start + AT_ONCE] = np.isin(part, [int(row[NUMBER]) for row in found])
    return mask


def values_of(
    name: str, rows: Rows, types: Types, fields: Mapping[str, StoredField], *, collection: str, engine: Engine
) -> EncodedColumn:
    """Return the values of a field of single values.

    Args:
        name: of the field, as a request has it.
        rows: of the documents.
        types: names and types of the columns of the index.
        fields: the fields of the collection, by the path that a request names.
        collection: of the documents.
        engine: the connection.

    Raises:
        NotSupported: Milvus holds no such field.
    """
    path = find_field(name, types)
    kind = comparable(path.type)
    if pa.types.is_null(kind):
        return EncodedColumn.encode(pa.chunked_array([pa.nulls(len(rows))]), None, len(rows))
    field = fields.get(name)
    if field is None:
        raise NotSupported(
            f"Milvus as a store holds no field {name!r} of type {path.type}, and can neither sort nor group by it"
        )
    known: dict[int, object] = {}
    for start in range(0, len(rows), AT_ONCE):
        part = rows[start : start + AT_ONCE].tolist()
        where = Expression(f"{NUMBER} in {{rows}}", {"rows": part})
        found = engine.query(collection, where, [NUMBER, field.name], limit=len(part))
        known |= {int(row[NUMBER]): row[field.name] for row in found}
    values = [known.get(row) for row in rows.tolist()]
    present = np.array([value is not None for value in values], dtype=np.bool_)
    restored = restore([value for value in values if value is not None], kind, field.form)
    codes = np.zeros(len(rows), dtype=np.uint32)
    encoded = EncodedColumn.encode(restored, None, int(present.sum()))
    codes[present] = encoded.codes
    return EncodedColumn(encoded.values, codes, None)
