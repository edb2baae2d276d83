"""A write: documents put, deleted or forgotten while an index is served, as one line of the log.

The line is the CRC-32 of what follows in eight hex digits, a space, and JSON. Vectors come with the documents, so that
replaying a log is reading it.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from indexer.inference.encoder import Vectors


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
class Forgotten:
    """Which earlier writes no longer count, so that the index speaks for their documents again.

    Attributes:
        through: number of the last write that may be among them. A document that was written later keeps that.
        ids: of the documents; None for all.
    """

    through: int
    ids: frozenset[str] | None = None

    def covers(self, document_id: str, sequence: int) -> bool:
        """Say whether a document is let go of whose last write has this number."""
        return sequence <= self.through and (self.ids is None or document_id in self.ids)


@dataclass(frozen=True)
class Write:
    """What one request has changed.

    Attributes:
        sequence: number of the write, from 1.
        recipe: what made passages and vectors; another one has to make them again.
        documents: put, each a new one or a new version.
        deleted: ids.
        time: when, UTC, ISO 8601.
        forgotten: in place of all documents and ids, what is let go of.
    """

    sequence: int
    recipe: str
    documents: tuple[LiveDocument, ...]
    deleted: tuple[str, ...]
    time: str
    forgotten: Forgotten | None = None

    @property
    def ids(self) -> list[str]:
        """Return the ids of the documents that were deleted or put."""
        return [*self.deleted, *(document.id for document in self.documents)]

    def line(self) -> bytes:
        """Return the line of the log."""
        content: dict[str, Any] = {"sequence": self.sequence, "time": self.time}
        if self.forgotten:  # without the other fields, so that a version that knows no forgetting refuses the line
            ids = self.forgotten.ids
            content["forgotten"] = {"through": self.forgotten.through, "ids": None if ids is None else sorted(ids)}
        else:
            content["recipe"] = self.recipe
            content["deleted"] = self.deleted
            content["documents"] = [
                {
                    "id": document.id,
                    "title": document.title,
                    "text": document.text,
                    "metadata": document.metadata,
                    "passages": document.passages,
                    "vectors": base64.b64encode(document.vectors.astype("<f4").tobytes()).decode(),
                }
                for document in self.documents
            ]
        text = json.dumps(content, ensure_ascii=False).encode()
        return b"%08x %s\n" % (zlib.crc32(text), text)

    @classmethod
    def parse(cls, line: bytes) -> Write:
        """Return the write of a line without its end; raise ValueError where it is not what was written."""
        checksum, _, text = line.partition(b" ")
        if int(checksum, 16) != zlib.crc32(text):
            raise ValueError("checksum")
        content = json.loads(text)
        if forgotten := content.get("forgotten"):
            ids = None if forgotten["ids"] is None else frozenset(forgotten["ids"])
            return cls(content["sequence"], "", (), (), content["time"], Forgotten(forgotten["through"], ids))
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


def last_writes(writes: Iterable[Write], earlier: Mapping[str, int] | None = None) -> dict[str, int]:
    """Return of each document that was put or deleted, and not forgotten since, the number of its last write.

    Args:
        writes: in their order.
        earlier: the same of the writes before these.
    """
    numbers = dict(earlier or {})
    for write in writes:
        if forgotten := write.forgotten:
            numbers = {name: number for name, number in numbers.items() if not forgotten.covers(name, number)}
        numbers |= dict.fromkeys(write.ids, write.sequence)
    return numbers


def newest(writes: Iterable[Write]) -> dict[str, LiveDocument | None]:
    """Return what became of each document: the last version that was put, or None where it was deleted after that.

    Documents that were forgotten are not in it.
    """
    found: dict[str, LiveDocument | None] = {}
    for write in left(writes):
        found |= dict.fromkeys(write.deleted)
        found |= {document.id: document for document in write.documents}
    return found


def left(writes: Iterable[Write]) -> list[Write]:
    """Return writes without what a later one of them has replaced, deleted or let go of; the last one keeps its place.

    What was forgotten stays recorded: a reader, or an index, may have the write and not yet know that it is gone.
    """
    writes = list(writes)
    numbers = last_writes(writes)
    kept: list[Write] = []
    for write in reversed(writes):
        if write.forgotten:
            forgotten = _left(write, [each.forgotten for each in kept if each.forgotten], numbers)
            if forgotten:
                kept.append(replace(write, forgotten=forgotten))
            continue
        documents = tuple(document for document in write.documents if numbers.get(document.id) == write.sequence)
        deleted = tuple(name for name in write.deleted if numbers.get(name) == write.sequence)
        if documents or deleted:
            kept.append(replace(write, documents=documents, deleted=deleted))
    return kept[::-1]


def _left(write: Write, later: list[Forgotten], numbers: Mapping[str, int]) -> Forgotten | None:
    """Return what a record of forgetting still has to say beside the ``later`` ones and the last writes' numbers."""
    forgotten = write.forgotten
    if forgotten is None or any(each.ids is None and each.through >= forgotten.through for each in later):
        return None
    if forgotten.ids is None:
        return forgotten
    again = frozenset[str]().union(*(each.ids for each in later if each.ids is not None))
    ids = frozenset(name for name in forgotten.ids - again if numbers.get(name, 0) < write.sequence)
    return replace(forgotten, ids=ids) if ids else None
