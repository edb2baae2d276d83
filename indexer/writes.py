"""A write: documents put and deleted while an index is served, as one line of the log.

The line is the CRC-32 of what follows in eight hex digits, a space, and JSON. Vectors come with the documents, so that
replaying a log is reading it.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from indexer.encoder import Vectors


@dataclass(frozen=True)
class LiveDocument:
    """A document as it was put, with its passages and what an encoder made of them.

    Attributes:
        metadata: JSON, as it came.
        passages: first character and the one after the last of each passage.
        vectors: of the passages, float32, shape (passages, dimension).
    """

    id: str
    title: str | None
    text: str
    metadata: dict[str, Any]
    passages: tuple[tuple[int, int], ...]
    vectors: Vectors


@dataclass(frozen=True)
class Write:
    """What one request has changed.

    Attributes:
        sequence: number of the write, from 1.
        recipe: what made passages and vectors; another one has to make them again.
        documents: put, each a new one or a new version.
        deleted: ids.
        time: when, UTC, ISO 8601.
    """

    sequence: int
    recipe: str
    documents: tuple[LiveDocument, ...]
    deleted: tuple[str, ...]
    time: str

    def line(self) -> bytes:
        """Return the line of the log."""
        content = {
            "sequence": self.sequence,
            "time": self.time,
            "recipe": self.recipe,
            "deleted": self.deleted,
            "documents": [
                {
                    "id": document.id,
                    "title": document.title,
                    "text": document.text,
                    "metadata": document.metadata,
                    "passages": document.passages,
                    "vectors": base64.b64encode(document.vectors.astype("<f4").tobytes()).decode(),
                }
                for document in self.documents
            ],
        }
        text = json.dumps(content, ensure_ascii=False).encode()
        return b"%08x %s\n" % (zlib.crc32(text), text)

    @classmethod
    def parse(cls, line: bytes) -> Write:
        """Return the write of a line without its end; raise ValueError where it is not what was written."""
        checksum, _, text = line.partition(b" ")
        if int(checksum, 16) != zlib.crc32(text):
            raise ValueError("checksum")
        content = json.loads(text)
        return cls(
            sequence=content["sequence"],
            recipe=content["recipe"],
            documents=tuple(_document(document) for document in content["documents"]),
            deleted=tuple(content["deleted"]),
            time=content["time"],
        )


def _document(content: dict[str, Any]) -> LiveDocument:
    numbers = np.frombuffer(base64.b64decode(content["vectors"]), dtype="<f4").astype(np.float32)
    passages = tuple((start, end) for start, end in content["passages"])
    return LiveDocument(
        content["id"],
        content["title"],
        content["text"],
        content["metadata"],
        passages,
        numbers.reshape(len(passages), -1),
    )


def newest(writes: Iterable[Write]) -> dict[str, LiveDocument | None]:
    """Return what became of each document: the last version that was put, or None where it was deleted after that."""
    found: dict[str, LiveDocument | None] = {}
    for write in writes:
        found |= dict.fromkeys(write.deleted)
        found |= {document.id: document for document in write.documents}
    return found


def left(writes: Iterable[Write]) -> list[Write]:
    """Return writes without what a later one of them has replaced or deleted; the last one keeps its place."""
    kept: list[Write] = []
    later: set[str] = set()
    for write in reversed(list(writes)):
        documents = tuple(document for document in write.documents if document.id not in later)
        deleted = tuple(name for name in write.deleted if name not in later)
        later.update(write.deleted, (document.id for document in write.documents))
        if documents or deleted:
            kept.append(replace(write, documents=documents, deleted=deleted))
    return kept[::-1]
