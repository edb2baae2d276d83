"""A write: documents that were put, deleted or retracted while an index is served, as one line of the log.

The line is the CRC-32 of what follows in eight hex digits, a space, and JSON. Vectors come with the documents, so that
replaying a log is reading it.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa

from indexer.inference.encoder import Vectors
from indexer.live.metadata import FittedMetadata, fit_metadata


@dataclass(frozen=True)
class LiveDocument:
    """A document as it was put, with its passages and what an encoder made of them.

    Attributes:
        metadata: JSON, as it came.
        passages: first character and the one after the last of each passage.
        vectors: of the passages, float32, shape (passages, dimension).
        fitted: the metadata as columns of an index hold them, where it was checked against them already.
    """

    id: str
    title: str | None
    text: str
    metadata: dict[str, Any]
    passages: tuple[tuple[int, int], ...]
    vectors: Vectors
    fitted: FittedMetadata | None = field(default=None, compare=False, repr=False)

    def fit(self, types: dict[str, pa.DataType]) -> FittedMetadata:
        """Return the metadata as columns of these types hold it."""
        return self.fitted if self.fitted and self.fitted.types == types else fit_metadata(self.metadata, types)


@dataclass(frozen=True)
class Retraction:
    """Which earlier writes no longer count, so that the index's own version of their documents shows again.

    Attributes:
        through: number of the last write that may be among them. A document that was written later keeps that write.
        ids: of the documents; None for all.
    """

    through: int
    ids: frozenset[str] | None = None

    def covers(self, document_id: str, sequence: int) -> bool:
        """Say whether a document is retracted whose last write has this number."""
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
        retraction: in place of all documents and ids, which earlier writes no longer count.
    """

    sequence: int
    recipe: str
    documents: tuple[LiveDocument, ...]
    deleted: tuple[str, ...]
    time: str
    retraction: Retraction | None = None

    @property
    def ids(self) -> list[str]:
        """Return the ids of the documents that were deleted or put."""
        return [*self.deleted, *(document.id for document in self.documents)]

    def line(self) -> bytes:
        """Return the line of the log."""
        content: dict[str, Any] = {"sequence": self.sequence, "time": self.time}
        if self.retraction:  # without the other fields, so that a version that knows no retractions refuses the line
            ids = self.retraction.ids
            content["forgotten"] = {"through": self.retraction.through, "ids": None if ids is None else sorted(ids)}
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
        if retracted := content.get("forgotten"):
            ids = None if retracted["ids"] is None else frozenset(retracted["ids"])
            return cls(content["sequence"], "", (), (), content["time"], Retraction(retracted["through"], ids))
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
    """Return of each document that was put or deleted, and not retracted since, the number of its last write.

    Args:
        writes: in their order.
        earlier: the same of the writes before these.
    """
    numbers = dict(earlier or {})
    for write in writes:
        if retraction := write.retraction:
            numbers = {name: number for name, number in numbers.items() if not retraction.covers(name, number)}
        numbers |= dict.fromkeys(write.ids, write.sequence)
    return numbers


def latest_versions(writes: Iterable[Write]) -> dict[str, LiveDocument | None]:
    """Return the last version of each document that was put, or None where it was deleted after that.

    Documents whose writes were retracted are not in it.
    """
    versions: dict[str, LiveDocument | None] = {}
    for write in compact_log(writes):
        versions |= dict.fromkeys(write.deleted)
        versions |= {document.id: document for document in write.documents}
    return versions


def compact_log(writes: Iterable[Write]) -> list[Write]:
    """Return writes without everything that a later write supersedes, in their order.

    Retractions stay: a reader, or an index, may have a write and not know yet that it was retracted.
    """
    writes = list(writes)
    numbers = last_writes(writes)
    kept: list[Write] = []
    for write in reversed(writes):
        if write.retraction:
            later = [each.retraction for each in kept if each.retraction]
            if retraction := _compact_retraction(write, later, numbers):
                kept.append(replace(write, retraction=retraction))
            continue
        documents = tuple(document for document in write.documents if numbers.get(document.id) == write.sequence)
        deleted = tuple(name for name in write.deleted if numbers.get(name) == write.sequence)
        if documents or deleted:
            kept.append(replace(write, documents=documents, deleted=deleted))
    return kept[::-1]


def _compact_retraction(write: Write, later: list[Retraction], numbers: Mapping[str, int]) -> Retraction | None:
    """Return what a retraction still has to say beside the ``later`` ones and the numbers of the last writes."""
    retraction = write.retraction
    if retraction is None or any(each.ids is None and each.through >= retraction.through for each in later):
        return None
    if retraction.ids is None:
        return retraction
    repeated = frozenset[str]().union(*(each.ids for each in later if each.ids is not None))
    ids = frozenset(name for name in retraction.ids - repeated if numbers.get(name, 0) < write.sequence)
    return replace(retraction, ids=ids) if ids else None
