"""Overlay: immutable snapshot of all writes since an index was built; `LiveIndex` is the index with it.

Rows of live documents follow those of the index. A document that is replaced or deleted keeps its row and is no longer
visible. Each leg searches both parts: vectors in a small matrix beside the index's, words by BM25 with the index's
statistics, learned weights by postings of their own. Nothing else needs to know in which part a document is.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from indexer.corpus.columns import parse_names
from indexer.corpus.treatment import Treatment
from indexer.index.dense import unit
from indexer.index.document_mask import DocumentMask, Mask, Rows
from indexer.index.exact import ids_are_values
from indexer.index.index import Index
from indexer.index.terms.columns import FieldTexts, exact_key, exact_keys, field_texts, selected
from indexer.inference.encoder import Vectors
from indexer.live.bm25 import InvertedIndex, Statistics
from indexer.live.legs import LiveDense, LiveLexical
from indexer.live.metadata import column_types
from indexer.live.sparse import LivePostings, LiveSparse
from indexer.live.write import LiveDocument, Write, last_writes, latest_versions

log = logging.getLogger("dowse.live")

MIN_OBSOLETE = 64
"""Obsolete versions are dropped when there are more of them than this, and more than current ones."""


@dataclass(frozen=True)
class Overlay:
    """What was written since an index was built; `with_writes` returns the next snapshot, which shares unchanged parts.

    Attributes:
        base: the index under it.
        words: inverted index of the live documents.
        terms: their postings of learned weights; empty where the index has no such leg.
        hidden: for each row of the index whether it was replaced or deleted, shape (documents,).
        versions: the live documents in the order of their rows, including versions that were replaced since.
        batch: the same documents as rows of the index have them.
        vectors: of their passages, of unit length, shape (passages, dimension).
        positions: where their ids would be among the sorted ids of the index.
        rows: id → row among the live documents, for those that are visible.
        exact: value → rows among the live documents, as `ExactValues` has those of the index.
        written: id → number of its last write, for all documents that were put or deleted, and not retracted.
        sequence: number of the last write.
        set_aside: number of each write that could not be applied to the index → why.
    """

    base: Index
    words: InvertedIndex
    hidden: npt.NDArray[np.bool_]
    versions: tuple[LiveDocument, ...]
    batch: pa.RecordBatch
    vectors: Vectors
    terms: LivePostings = field(default_factory=LivePostings)
    positions: tuple[int, ...] = ()
    rows: dict[str, int] = field(default_factory=dict)
    exact: dict[str, tuple[int, ...]] = field(default_factory=dict)
    written: dict[str, int] = field(default_factory=dict)
    sequence: int = 0
    set_aside: dict[int, str] = field(default_factory=dict)

    @classmethod
    def empty(cls, base: Index, words: InvertedIndex | None = None) -> Overlay:
        """Return the snapshot without any writes."""
        return cls(
            base=base,
            words=words or InvertedIndex(Statistics(base.lexical)),
            hidden=np.zeros(len(base), dtype=np.bool_),
            versions=(),
            batch=pa.RecordBatch.from_pylist([], base.schema),
            vectors=np.empty((0, base.dense.dimension), dtype=np.float32),
        )

    def with_writes(self, writes: Sequence[Write]) -> Overlay:
        """Return the snapshot after more writes, at least one, whose vectors are of this index's model."""
        written, changes = last_writes(writes, self.written), latest_versions(writes)
        hidden, rows = self.hidden.copy(), dict(self.rows)
        for name in changes.keys() | self.written.keys() - written.keys():
            rows.pop(name, None)
            if (row := self.base.row_of(name)) is not None:
                hidden[row] = name in written  # after a retraction the index's own version shows again
        appended = self._append(filter(None, changes.values()), rows)
        if len(appended.versions) - len(appended.rows) > max(MIN_OBSOLETE, len(appended.rows)):
            current = [appended.versions[row] for row in appended.rows.values()]
            appended = Overlay.empty(self.base, InvertedIndex(self.words.statistics))._append(current, {})  # noqa: SLF001
        return replace(appended, hidden=hidden, written=written, sequence=writes[-1].sequence, set_aside=self.set_aside)

    def _append(self, documents: Iterable[LiveDocument], rows: dict[str, int]) -> Overlay:
        """Return the snapshot with more documents appended; ``rows`` are those that were visible before."""
        new = list(documents)
        batch = _to_batch(new, self.base)
        return replace(
            self,
            words=self.words.with_texts(
                [f"{document.title or ''}\n{document.text}" for document in new], self._field_texts(batch)
            ),
            terms=self._with_terms(new),
            versions=(*self.versions, *new),
            batch=pa.concat_batches([self.batch, batch]),
            vectors=np.concatenate([self.vectors, *(unit(document.vectors) for document in new)]),
            positions=(*self.positions, *(self.base.position_of(document.id)[0] for document in new)),
            exact=self._with_exact(batch),
            rows=rows | {document.id: row for row, document in enumerate(new, len(self.versions))},
        )

    def _field_texts(self, batch: pa.RecordBatch) -> list[FieldTexts]:
        """Return the texts of the words' fields besides title and text, as the metadata was fitted to the columns."""
        columns = self.base.lexical.columns
        titles, values = batch.column("title").to_pylist(), selected(batch, list(columns))
        return [field_texts(title, of_row, columns) for title, of_row in zip(titles, values, strict=True)]

    def _with_exact(self, batch: pa.RecordBatch) -> dict[str, tuple[int, ...]]:
        """Return `exact` with the ids and values of more documents."""
        config, found = self.base.manifest.config, dict(self.exact)
        columns = parse_names(config.get("exact_columns"), "--exact-columns")
        documents = zip(batch.column("id").to_pylist(), selected(batch, columns), strict=True)
        for row, (name, values) in enumerate(documents, len(self.versions)):
            keys = [name.strip(), exact_key(name)] if ids_are_values(config.get("ids", "")) else []
            keys += [key for column in columns for key in exact_keys(values.get(column))]
            for key in dict.fromkeys(keys):
                found[key] = (*found.get(key, ()), row)
        return found

    def _with_terms(self, new: Sequence[LiveDocument]) -> LivePostings:
        if self.base.sparse is None:
            return self.terms
        return self.terms.with_documents([document.sparse for document in new])

    @cached_property
    def first_passage(self) -> Rows:
        """Row of the first passage of each document, the index's and then the live ones, shape (documents + 1,)."""
        lengths = [len(document.passages) for document in self.versions]
        return np.concatenate([self.base.first_passage, len(self.base.dense) + np.cumsum(lengths, dtype=np.int64)])

    @cached_property
    def document_of(self) -> Rows:
        """Row of the document of each passage, shape (passages,)."""
        lengths = [len(document.passages) for document in self.versions]
        return np.concatenate([self.base.document_of, len(self.base) + np.repeat(np.arange(len(lengths)), lengths)])

    @cached_property
    def offsets(self) -> list[tuple[int, int]]:
        """First character of each live passage in its document's text, and the one after its last."""
        return [offsets for document in self.versions for offsets in document.passages]

    @cached_property
    def visible(self) -> DocumentMask | None:
        """The documents that were neither replaced nor deleted; None for all."""
        if len(self.rows) == len(self.versions) and not self.hidden.any():
            return None
        live = np.zeros(len(self.versions), dtype=np.bool_)
        live[list(self.rows.values())] = True
        return DocumentMask(np.concatenate([~self.hidden, live]), self.first_passage)

    @property
    def count(self) -> int:
        """Number of visible documents, the index's and the live ones."""
        return len(self.base) - int(self.hidden.sum()) + len(self.rows)

    @cached_property
    def id_rank(self) -> npt.NDArray[np.int64]:
        """Numbers that sort as the ids do, one for each document, shape (documents,).

        The index's ranks are spread, to leave a gap before each of them that has room for all live documents.
        """
        gap = len(self.versions) + 1
        order = sorted(range(len(self.versions)), key=lambda row: self.versions[row].id.encode())
        between = np.empty(len(order), dtype=np.int64)
        between[order] = np.arange(len(order)) - len(order)  # below 0: before the id at that position
        return np.concatenate([self.base.id_rank * gap, np.array(self.positions, dtype=np.int64) * gap + between])

    def row_of(self, document_id: str) -> int | None:
        """Return the row of the visible document with this id, or None."""
        if (live := self.rows.get(document_id)) is not None:
            return len(self.base) + live
        row = self.base.row_of(document_id)
        return None if row is None or self.hidden[row] else row


class LiveIndex(Index):
    """An index with a snapshot of live documents over it.

    Args:
        overlay: the snapshot; its base is the index.
    """

    def __init__(self, overlay: Overlay) -> None:
        base, contents = overlay.base, overlay.base.contents
        rows = len(overlay.versions)
        super().__init__(
            base.folder,
            base.manifest,
            base.encoder,
            replace(
                contents,
                documents=contents.documents.with_batch(overlay.batch),
                dense=LiveDense(
                    contents.dense, contents.first_passage, overlay.vectors, overlay.document_of, overlay.visible
                ),
                lexical=LiveLexical(contents.lexical, contents.first_passage, overlay.words, rows, overlay.visible),
                sparse=None if contents.sparse is None else LiveSparse(contents.sparse, overlay.terms),
                document_of=overlay.document_of,
                first_passage=overlay.first_passage,
            ),
        )
        self.overlay = overlay

    def __len__(self) -> int:
        """Return the number of documents that a search can return."""
        return self.overlay.count

    @property
    def generation(self) -> str:
        """Index id and number of the last visible write: what an answer came from."""
        return f"{self.manifest.id}.{self.overlay.sequence}"

    @property
    def visible(self) -> DocumentMask | None:
        """The documents that searches may return at all; None for all of them."""
        return self.overlay.visible

    @property
    def id_rank(self) -> npt.NDArray[np.int64]:
        """Numbers that sort as the ids do, shape (documents,): they break ties between equal scores."""
        return self.overlay.id_rank

    def row_of(self, document_id: str) -> int | None:
        """Return the row of the document with this id, or None."""
        return self.overlay.row_of(document_id)

    def follows(self, document_id: str) -> Mask:
        """Return which documents have an id that sorts behind this one, whether it exists or not, shape (documents,)."""
        live = [version.id.encode() > document_id.encode() for version in self.overlay.versions]
        return np.concatenate([self.overlay.base.follows(document_id), np.array(live, dtype=np.bool_)])

    def _exact_rows(self, query: str) -> list[int]:
        overlay = self.overlay
        live = [row for key in dict.fromkeys((query.strip(), exact_key(query))) for row in overlay.exact.get(key, ())]
        return [*overlay.base._exact_rows(query), *(len(overlay.base) + row for row in dict.fromkeys(live))]  # noqa: SLF001 - of the same class

    def passage_offsets(self, passage: int) -> tuple[int, int]:
        """Return the character offsets of a passage in the text of its document, the end excluded."""
        live = passage - len(self.overlay.base.dense)
        return self.overlay.offsets[live] if live >= 0 else self.overlay.base.passage_offsets(passage)


def _to_batch(documents: list[LiveDocument], base: Index) -> pa.RecordBatch:
    """Return documents as rows of the index ``base``, without metadata that has no column or does not fit its type."""
    types, treatment = column_types(base.schema), Treatment.of_config(base.manifest.config)
    rows = []
    for document in documents:
        fitted = document.fit(types, treatment)
        for name, reason in fitted.errors.items():
            log.warning("document %r: metadata %r is left out: %s", document.id, name, reason)
        row: dict[str, Any] = {"id": document.id, "title": document.title, "text": document.text}
        rows.append(row | {"metadata": fitted.values} if types else row)
    return pa.RecordBatch.from_pylist(rows, base.schema)
