"""Facets over Milvus: the values of a field are read for the documents that pass a filter, and counted here.

Milvus returns a bounded number of rows at once. Where more documents pass, nothing is counted: a part of them would give
wrong numbers.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from indexer.errors import NotSupported
from indexer.filters.bind import comparable
from indexer.filters.encoded import EncodedColumn
from indexer.filters.facets import Facet, FacetRequest, count_values, find_countable
from indexer.filters.fields import Types
from indexer.index.document_mask import DocumentMask
from indexer.milvus.engine import MAX_HITS, Engine
from indexer.milvus.fields import StoredField, restore
from indexer.milvus.filtering.filter import ID
from indexer.milvus.filtering.selection import MilvusSelection


def count(
    request: FacetRequest, types: Types, fields: Mapping[str, StoredField], engine: Engine, documents: MilvusSelection
) -> Facet:
    """Count the values of a field.

    Args:
        request: the field, and what to count of it.
        types: names and types of the columns of the index.
        fields: the fields of the collection, by the path that a request names.
        engine: the connection.
        documents: what is counted.

    Raises:
        UnknownField: the index has no such field.
        WrongType: the field cannot be counted, or not in these ranges.
        NotSupported: Milvus holds no such field, or more documents pass than are counted.
    """
    path = find_countable(request, types)
    kind = comparable(path.type)
    if pa.types.is_null(kind):
        nothing = EncodedColumn.encode(pa.chunked_array([], kind), np.empty(0, np.int64), documents.count)
        return count_values(request, path, types, nothing, _all(documents.count))
    field = ID if request.field == "id" else fields.get(request.field)
    if field is None:
        raise NotSupported(
            f"Milvus as a store holds no field {request.field!r} of type {path.type}, and cannot count it"
        )
    if documents.count > MAX_HITS:
        raise NotSupported(
            f"Milvus as a store counts the values of {MAX_HITS:,} documents at most, and {documents.count:,} pass; "
            "add a filter, or leave out the facets"
        )
    rows = engine.query(documents.collection, documents.where, [field.name], limit=MAX_HITS)
    lists = [
        [] if row[field.name] is None else list(row[field.name]) if field.many else [row[field.name]] for row in rows
    ]
    owners = np.repeat(np.arange(len(lists)), [len(each) for each in lists])
    values = restore([value for each in lists for value in each], kind, field.form)
    return count_values(request, path, types, EncodedColumn.encode(values, owners, len(rows)), _all(len(rows)))


def _all(documents: int) -> DocumentMask:
    return DocumentMask(np.ones(documents, dtype=np.bool_), np.arange(documents + 1))
