"""Collections of an index in Milvus.

    dowse_20261129T114045Z_9d017a2c            documents: id, payload, metadata, vector of terms
    dowse_20261129T114045Z_9d017a2c_passages   passages: vector, document, metadata of the document
    dowse_20261129T114045Z_9d017a2c_lookup     terms with numbers and frequencies, further pieces of payloads, the index

The alias names the collection of documents; the others are found by its name. So one switch of the alias replaces all
of them, and whoever has resolved it stays with one index. A document's number is the rank of its id, a passage's has
that of its document in its upper bits: neither needs a table.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pymilvus import CollectionSchema, DataType, MilvusClient
from pymilvus.milvus_client.index import IndexParams

from indexer.index.document_mask import Rows
from indexer.milvus.engine import NUMBER
from indexer.milvus.fields import MAX_ELEMENTS, MAX_TEXT_BYTES, StoredField

PASSAGE_BITS = 20
MAX_PASSAGES = 1 << PASSAGE_BITS
"""Passages of a document."""
KEY_BYTES = 8_192
"""Longest key of the lookup: a term, with its field before it."""
TYPES = {
    "text": DataType.VARCHAR,
    "boolean": DataType.BOOL,
    "double": DataType.DOUBLE,
    "whole": DataType.INT64,
}


@dataclass(frozen=True)
class Names:
    """Names of the collections of an index; that of the documents is also the index's."""

    documents: str

    @classmethod
    def of(cls, alias: str, artifact: str) -> Names:
        """Return the names for an index artifact."""
        return cls(f"{alias}_{artifact.replace('-', '_')}")

    @property
    def passages(self) -> str:
        """Name of the collection of passages."""
        return f"{self.documents}_passages"

    @property
    def lookup(self) -> str:
        """Name of the collection of texts by key."""
        return f"{self.documents}_lookup"

    @property
    def all(self) -> tuple[str, str, str]:
        """All names, that of the documents last: while it is not there, the index is not complete."""
        return self.lookup, self.passages, self.documents


def passage_number(document: int, passage: int) -> int:
    """Return the number of a document's passage, counted from 0."""
    return document << PASSAGE_BITS | passage


def document_of(passages: Rows) -> Rows:
    """Return the numbers of the documents of passages."""
    return np.asarray(passages >> PASSAGE_BITS, dtype=np.int64)


def schemas(fields: list[StoredField], dimension: int) -> dict[str, CollectionSchema]:
    """Return the schemas of documents, passages and lookup."""
    documents, passages, lookup = (
        MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False) for _ in range(3)
    )
    documents.add_field(NUMBER, DataType.INT64, is_primary=True)
    documents.add_field("id", DataType.VARCHAR, max_length=MAX_TEXT_BYTES)
    documents.add_field("payload", DataType.VARCHAR, max_length=MAX_TEXT_BYTES)
    documents.add_field("pieces", DataType.INT64)
    documents.add_field("terms", DataType.SPARSE_FLOAT_VECTOR)
    passages.add_field(NUMBER, DataType.INT64, is_primary=True)
    passages.add_field("document", DataType.INT64)
    passages.add_field("id", DataType.VARCHAR, max_length=MAX_TEXT_BYTES)
    passages.add_field("vector", DataType.FLOAT_VECTOR, dim=dimension)
    lookup.add_field("key", DataType.VARCHAR, is_primary=True, max_length=KEY_BYTES)
    lookup.add_field("kind", DataType.VARCHAR, max_length=16)
    lookup.add_field("value", DataType.VARCHAR, max_length=MAX_TEXT_BYTES)
    lookup.add_field("unused", DataType.FLOAT_VECTOR, dim=2)  # every collection has a vector
    for schema in (documents, passages):
        for field in fields:
            options = {"max_length": MAX_TEXT_BYTES} if field.form == "text" else {}
            if field.many:
                options |= {"element_type": TYPES[field.form], "max_capacity": MAX_ELEMENTS}
            schema.add_field(field.name, DataType.ARRAY if field.many else TYPES[field.form], nullable=True, **options)
    return {"documents": documents, "passages": passages, "lookup": lookup}


def indexes(kind: str, fields: list[StoredField], lists: int = 0) -> IndexParams:
    """Return the indexes of a collection: of its vector, and of what filters ask for.

    Passages are searched exactly, or in so many ``lists`` of full vectors (IVF_FLAT): scores are exact in either.
    """
    parameters = MilvusClient.prepare_index_params()
    if kind == "documents":
        parameters.add_index("terms", index_type="SPARSE_INVERTED_INDEX", metric_type="IP")
        parameters.add_index("id", index_type="INVERTED")
    elif kind == "passages":
        if lists:
            # In this form, which every server takes: Milvus Lite overlooks a `nlist` that is not within `params`.
            number = {"params": {"nlist": lists}}
            parameters.add_index("vector", index_type="IVF_FLAT", metric_type="IP", params=number)
        else:
            parameters.add_index("vector", index_type="FLAT", metric_type="IP")
        parameters.add_index("document", index_type="INVERTED")
    else:
        parameters.add_index("unused", index_type="FLAT", metric_type="IP")
        parameters.add_index("kind", index_type="INVERTED")
    if kind != "lookup":
        for field in fields:
            if not field.many:  # Milvus Lite has no index of lists
                parameters.add_index(field.name, index_type="INVERTED")
    return parameters
