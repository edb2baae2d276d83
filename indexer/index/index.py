"""An opened index artifact: documents, passages and both search legs, memory-mapped."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from indexer.artifacts.manifest import Manifest, read_manifest, verify_files
from indexer.artifacts.store import Store
from indexer.errors import UserError
from indexer.index import dense, lexical
from indexer.index.arrow import ArrowFile, SortedStrings
from indexer.index.document_mask import Allowed
from indexer.inference.encoder import Encoder
from indexer.retrieval.fusion import Fusion

if TYPE_CHECKING:
    from indexer.live.overlay import Overlay

DOCUMENTS = "documents.arrow"
PASSAGES = "passages.arrow"
IDS = "ids.arrow"
ROWS_PER_BATCH = 1024
"""Documents in a record batch of `documents.arrow`: fixed, so that a row number leads to its batch."""


@dataclass(frozen=True)
class Document:
    """One document as a user gave it."""

    id: str
    title: str | None
    text: str
    metadata: dict[str, Any]


class Index:
    """Everything that a search needs, opened from one index artifact and the model that it pins."""

    def __init__(self, folder: Path, manifest: Manifest, encoder: Encoder) -> None:
        self.folder = folder
        self.manifest = manifest
        self.encoder = encoder
        self._within: Allowed | None = None
        self.overlay: Overlay | None = None
        """Live documents, where there are any."""
        self.dense = dense.DenseIndex.open(folder / dense.FILE)
        self.lexical = lexical.LexicalIndex.open(folder / lexical.FOLDER, manifest.config["language"])
        self._documents = ArrowFile(folder / DOCUMENTS)
        self._passages = ArrowFile(folder / PASSAGES)
        self._ids = ArrowFile(folder / IDS)
        self.document_of = self._passages.numbers("document")
        """Row of the document of each passage, shape (passages,), ascending."""
        self.first_passage = np.searchsorted(self.document_of, np.arange(len(self) + 1))
        """Row of the first passage of each document, shape (documents + 1,): the end of the last one closes it."""
        self._check()

    @classmethod
    def open(cls, folder: Path, *, verify: bool = True, cores: int | None = None, query_cache_bytes: int = 0) -> Self:
        """Open the index in directory ``folder``.

        Args:
            folder: an index artifact below a data directory, where its model is found too.
            verify: check every file of index and model against its SHA-256 before it is opened.
            cores: how many queries the encoder takes at once; by default as many as there are cores.
            query_cache_bytes: for the vectors of the latest queries; by default none are kept.

        Raises:
            UserError: a file is missing or was altered, or the model that the index pins is absent.
        """
        manifest = verify_files(folder) if verify else read_manifest(folder)
        models = Store("model", folder.parent.parent)
        model = models.path(manifest.parents["model"])
        contract = (models.verify(model.name) if verify else read_manifest(model)).contract
        precision = manifest.config.get("query_precision") or manifest.config["precision"]
        encoder = Encoder(model, contract, precision, cores, query_cache_bytes)
        return cls(folder, manifest, encoder)

    def with_encoder(self, encoder: Encoder, vectors: dense.DenseIndex) -> Self:
        """Return the same documents and words with another encoder and its ``vectors`` of the same passages.

        This is how a model is measured before there is an index of it: by the code that would serve it.
        """
        other = copy(self)
        other.encoder, other.dense = encoder, vectors
        other._check()  # noqa: SLF001 - one of us
        return other

    def with_overlay(self, overlay: Overlay) -> Self:
        """Return the index with live documents over it; ``overlay`` was made for the same index, and so was this."""
        other = copy(self)
        for name in [name for name in vars(other) if isinstance(getattr(Index, name, None), cached_property)]:
            del vars(other)[name]
        other.overlay = overlay
        other.dense, other.lexical = overlay.dense, overlay.lexical
        other.document_of, other.first_passage = overlay.document_of, overlay.first_passage
        other._documents = overlay.documents(overlay.below._documents)  # noqa: SLF001 - one of us
        other._passages = overlay.passages(overlay.below._passages)  # noqa: SLF001
        return other

    def within(self, allowed: Allowed) -> Self:
        """Return this index as somebody sees it for whom there are no documents but the ``allowed`` ones."""
        other = copy(self)
        other._within = allowed  # noqa: SLF001 - one of us
        return other

    def __len__(self) -> int:
        """Return the number of documents that a search can return."""
        if self._within is not None:
            return self._within.count
        return self.overlay.count if self.overlay else self.manifest.counts["documents"]

    @property
    def rows(self) -> int:
        """Number of the rows of documents, also of those that no search can return any more."""
        return len(self.first_passage) - 1

    @property
    def generation(self) -> str:
        """What answers: the index, and the number of the last write that is visible."""
        return f"{self.manifest.id}.{self.overlay.sequence if self.overlay else self.folded}"

    @property
    def folded(self) -> int:
        """Number of the last write that was folded into the index when it was built; 0 for none."""
        return int(self.manifest.config.get("folded", 0))

    @cached_property
    def fusion(self) -> Fusion:
        """The index's own way of combining the legs."""
        return Fusion.model_validate(self.manifest.config["fusion"])

    @property
    def candidates(self) -> int:
        """How many documents of each leg are fused: fixed, so that pages do not repeat or lose a document."""
        return int(self.manifest.config["candidates"])

    @property
    def schema(self) -> pa.Schema:
        """The fields of a document: id, title, text and, where there are other columns, metadata."""
        return self._documents.schema

    @property
    def metadata_types(self) -> dict[str, str]:
        """Names and Arrow types of the metadata columns."""
        return {field.name: str(field.type) for field in self._metadata()}

    @property
    def columns(self) -> dict[str, pa.DataType]:
        """Names and types of the columns that a filter may ask: the metadata columns, and the documents' ``id``."""
        return {"id": pa.string()} | {field.name: field.type for field in self._metadata() if field.name != "id"}

    @property
    def visible(self) -> Allowed | None:
        """The documents that searches may return at all; None for all of them."""
        if self._within is not None:
            return self._within
        return self.overlay.visible if self.overlay else None

    def column(self, name: str) -> pa.ChunkedArray:
        """Return one of `columns`, a value for each document in the order of the rows; it is mapped, not read."""
        return self._documents.column(*(["id"] if name == "id" else ["metadata", name]))

    def allowed(self, mask: npt.NDArray[np.bool_]) -> Allowed:
        """Return the documents of ``mask``, shape (documents,), as far as searches may return them."""
        allowed = Allowed(mask, self.first_passage)
        return allowed if self.visible is None else allowed & self.visible

    @cached_property
    def id_rank(self) -> npt.NDArray[np.int64]:
        """Numbers in the order of the ids, shape (documents,): breaks ties between equal scores."""
        if self.overlay:
            return self.overlay.id_rank
        rows = self._ids.numbers("row")
        rank = np.empty_like(rows)
        rank[rows] = np.arange(len(rows))
        return rank

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the documents that searches can return, with the fields of `schema`, in the order of their rows."""
        first = 0
        for batch in self._documents.batches:
            seen = None if self.visible is None else self.visible.mask[first : first + batch.num_rows]
            yield batch if seen is None else batch.filter(pa.array(seen))
            first += batch.num_rows

    def row_of(self, document_id: str) -> int | None:
        """Return the row of the document with this id, or None."""
        row = self.overlay.row_of(document_id) if self.overlay else self.place_of(document_id)[1]
        hidden = row is not None and self._within is not None and not self._within.mask[row]
        return None if hidden else row

    def place_of(self, document_id: str) -> tuple[int, int | None]:
        """Return where an id stands, or would stand, in the order of the built index's ids; and its row, or None."""
        column = SortedStrings(self._ids, "id")
        place = bisect_left(column, document_id.encode())
        if place == len(column) or column[place] != document_id.encode():
            return place, None
        return place, int(self._ids.row(place, ["row"])["row"])

    def document(self, row: int) -> Document:
        """Return the document in ``row``."""
        values = self._documents.row(row, self._documents.schema.names)
        return Document(values["id"], values["title"], values["text"], values.get("metadata") or {})

    def passage_offsets(self, passage: int) -> tuple[int, int]:
        """Return the character offsets of a passage in the text of its document, the end excluded."""
        starts, ends = self._bounds
        return int(starts[passage]), int(ends[passage])

    @cached_property
    def _bounds(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        return self._passages.numbers("start"), self._passages.numbers("end")

    def _metadata(self) -> list[pa.Field]:
        schema = self._documents.schema
        return list(schema.field("metadata").type) if "metadata" in schema.names else []

    def _check(self) -> None:
        """Refuse files that do not belong together, whatever their checksums say."""
        counts = {
            "documents": (len(self._documents), len(self._ids), len(self.lexical), len(self)),
            "passages": (len(self._passages), len(self.dense), self.manifest.counts["passages"]),
            "dimension": (self.dense.dimension, self.encoder.contract.dimension),
        }
        for name, numbers in counts.items():
            if len(set(numbers)) > 1:
                raise UserError(f"index {self.manifest.id}: {name} differ ({numbers}); build it again with --force")
