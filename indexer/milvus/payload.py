"""Payload of a document: title, text, metadata and the offsets of its passages, as pieces of text.

A field of Milvus holds 65,535 bytes. A longer payload goes on in further rows. Metadata is an Arrow record: it comes
back with the types that it has in the index.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from indexer.index.arrow import to_python
from indexer.index.served import Document

PIECE = 16_000
"""Characters of a piece; a character has four bytes at most."""


@dataclass(frozen=True)
class Payload:
    """A document, and first character and the one after the last of each of its passages."""

    document: Document
    offsets: list[tuple[int, int]]


def write_payload(row: dict[str, Any], metadata: pa.RecordBatch | None, offsets: list[tuple[int, int]]) -> list[str]:
    """Return the pieces of a document's payload.

    Args:
        row: title and text.
        metadata: a record of one row with the metadata; None for an index without any.
        offsets: of its passages.
    """
    content = {
        "title": row["title"],
        "text": row["text"],
        "offsets": offsets,
        "metadata": None if metadata is None else base64.b64encode(metadata.serialize()).decode(),
    }
    return pieces(json.dumps(content, ensure_ascii=False))


def read_payload(document_id: str, text: str, metadata_schema: pa.Schema | None) -> Payload:
    """Return a document from its payload, whose pieces are put together."""
    content = json.loads(text)
    metadata: dict[str, Any] = {}
    if metadata_schema is not None and content["metadata"] is not None:
        record = pa.ipc.read_record_batch(pa.py_buffer(base64.b64decode(content["metadata"])), metadata_schema)
        metadata = {name: to_python(record.column(name)[0]) for name in record.schema.names}
    document = Document(document_id, content["title"], content["text"], metadata)
    return Payload(document, [(start, end) for start, end in content["offsets"]])


def pieces(text: str) -> list[str]:
    """Return a text in pieces that a field holds; at least one."""
    return [text[start : start + PIECE] for start in range(0, max(len(text), 1), PIECE)]


def value_key(value: str) -> str:
    """Return the key of an exact value in the lookup."""
    return f"x:{value}"
