"""A write: documents that were put, deleted or retracted while an index is served, as one line of the log.

The line is the CRC-32 of what follows in eight hex digits, a space, and JSON. Vectors are stored with the documents:
replaying a log needs no encoder.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa

from indexer.corpus.treatment import Treatment
from indexer.inference.encoder import Vectors
from indexer.inference.sparse_encoder import SparseVectors
from indexer.live.metadata import FittedMetadata, fit_metadata

SPARSE_TYPES = {"offsets": "<i8", "terms": "<i4", "weights": "<f2"}
"""Parts of sparse vectors and the type of their numbers in the log."""


@dataclass(frozen=True)
class LiveDocument:
    """A document as it was put, with its passages and their vectors.

    Attributes:
        metadata: JSON, as the client sent it.
        passages: first character and the one after the last of each passage.
        vectors: of the passages, float32, shape (passages, dimension).
        fitted: the metadata converted to the columns of an index, where that was done already.
        sparse: learned weights of the terms of its passages in the sparse model, where the index has such a leg.
    """

    id: str
    title: str | None
    text: str
    metadata: dict[str, Any]
    passages: tuple[tuple[int, int], ...]
    vectors: Vectors
    fitted: FittedMetadata | None = field(default=None, compare=False, repr=False)
    sparse: SparseVectors | None = field(default=None, compare=False, repr=False)

    def fit(self, types: dict[str, pa.DataType], treatment: Treatment) -> FittedMetadata:
        """Return the metadata converted to columns of these types, in an index of this treatment."""
        if self.fitted and self.fitted.types == types:
            return self.fitted
        return fit_metadata(treatment.metadata(self.metadata), types)


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
    """The changes of one request.

    Attributes:
        sequence: number of the write, from 1.
        recipe: what decided passages and vectors; for another recipe they have to be made again.
        documents: those that were put, new ones or new versions.
        deleted: ids of the documents that were deleted.
        time: of the write, UTC, ISO 8601.
        retraction: which earlier writes no longer count; such a write has no documents and deletes none.
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
        if self.retraction:  # without the other fields: a program that knows no retractions refuses the line
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
                | ({"sparse": _sparse_content(document.sparse)} if document.sparse else {})
                for document in self.documents
            ]
        text = json.dumps(content, ensure_ascii=False).encode()
        return b"%08x %s\n" % (zlib.crc32(text), text)

    @classmethod
    def parse(cls, line: bytes) -> Write:
        """Return the write of a line without its end; raise ValueError where it is damaged."""
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


def last_writes(writes: Iterable[Write], earlier: Mapping[str, int] | None = None) -> dict[str, int]:
    """Return the number of the last write of each document that was put or deleted, and not retracted since.

    Args:
        writes: in their order.
        earlier: the result for the writes before these.
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


def compact_log(writes: Iterable[Write], set_aside: Collection[int] = ()) -> list[Write]:
    """Return writes without everything that a later write supersedes, in their order.

    Retractions stay: a reader or an index may have a write, and not know yet that it was retracted. Writes whose numbers
    are in ``set_aside`` supersede nothing, and stay until their documents are retracted.
    """
    writes = list(writes)
    numbers = last_writes(write for write in writes if write.sequence not in set_aside)
    kept: list[Write] = []
    for write in reversed(writes):
        if write.sequence in set_aside:
            retractions = [newer.retraction for newer in kept if newer.retraction]
            if not all(any(r.covers(name, write.sequence) for r in retractions) for name in write.ids):
                kept.append(write)
            continue
        if write.retraction:
            later = [newer.retraction for newer in kept if newer.retraction]
            if retraction := _compact_retraction(write, later, numbers):
                kept.append(replace(write, retraction=retraction))
            continue
        documents = tuple(document for document in write.documents if numbers.get(document.id) == write.sequence)
        deleted = tuple(name for name in write.deleted if numbers.get(name) == write.sequence)
        if documents or deleted:
            kept.append(replace(write, documents=documents, deleted=deleted))
    return kept[::-1]


def _compact_retraction(write: Write, later: list[Retraction], numbers: Mapping[str, int]) -> Retraction | None:
    """Return what a retraction adds to ``later`` ones and to the ``numbers`` of the last writes; None for nothing."""
    retraction = write.retraction
    if retraction is None or any(newer.ids is None and newer.through >= retraction.through for newer in later):
        return None
    if retraction.ids is None:
        return retraction
    repeated = frozenset[str]().union(*(newer.ids for newer in later if newer.ids is not None))
    ids = frozenset(name for name in retraction.ids - repeated if numbers.get(name, 0) < write.sequence)
    return replace(retraction, ids=ids) if ids else None


def _document(content: dict[str, Any]) -> LiveDocument:
    vectors = np.frombuffer(base64.b64decode(content["vectors"]), dtype="<f4").astype(np.float32)
    passages = tuple((start, end) for start, end in content["passages"])
    return LiveDocument(
        content["id"],
        content["title"],
        content["text"],
        content["metadata"],
        passages,
        vectors.reshape(len(passages), -1),
        sparse=_sparse_vectors(content["sparse"]) if "sparse" in content else None,
    )


def _sparse_content(vectors: SparseVectors) -> dict[str, str]:
    arrays: dict[str, np.ndarray[Any, Any]] = vars(vectors)
    return {name: base64.b64encode(arrays[name].astype(kind).tobytes()).decode() for name, kind in SPARSE_TYPES.items()}


def _sparse_vectors(content: dict[str, str]) -> SparseVectors:
    return SparseVectors(
        **{name: np.frombuffer(base64.b64decode(content[name]), dtype=kind) for name, kind in SPARSE_TYPES.items()}
    )
