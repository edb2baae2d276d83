"""Live documents over an index: one immutable snapshot of what was written since the index was built.

Rows of live documents follow those of the index. A document that is replaced or deleted keeps its row and is no longer
visible. Both legs answer for both parts at once: vectors in a small matrix beside the index's, words by BM25 with the
index's statistics; nobody else has to know where a document lies.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from indexer.index.arrow import ArrowFile, to_python
from indexer.index.dense import Rows, unit
from indexer.index.document_mask import Allowed
from indexer.index.index import Index
from indexer.inference.encoder import Vectors
from indexer.live.bm25 import LiveWords, Statistics
from indexer.live.legs import OverlaidDense, OverlaidLexical
from indexer.live.metadata import column_types, fit_metadata
from indexer.live.write import LiveDocument, Write, last_writes, newest

log = logging.getLogger("dowse.live")

MOSTLY_DEAD = 64
"""Versions that were replaced are thrown away when they are more than the others, and more than this."""


@dataclass(frozen=True)
class Overlay:
    """What was written since an index was built; `after` makes the next snapshot, which shares what stays.

    Attributes:
        below: the index without it.
        words: of the live documents.
        hidden: for each row of the index whether it was replaced or deleted, shape (documents,).
        versions: the live documents in the order of their rows, also such that were replaced since.
        batch: the same as rows of `documents.arrow`.
        vectors: of their passages, of unit length, shape (passages, dimension).
        places: where their ids would stand among those of the index.
        rows: id → row among the live documents, of what is visible.
        written: id → number of its last write, of all that was put or deleted and is not forgotten.
        sequence: number of the last write.
    """

    below: Index
    words: LiveWords
    hidden: npt.NDArray[np.bool_]
    versions: tuple[LiveDocument, ...]
    batch: pa.RecordBatch
    vectors: Vectors
    places: tuple[int, ...] = ()
    rows: dict[str, int] = field(default_factory=dict)
    written: dict[str, int] = field(default_factory=dict)
    sequence: int = 0

    @classmethod
    def nothing(cls, below: Index, words: LiveWords | None = None) -> Overlay:
        """Return the snapshot in which nothing was written."""
        return cls(
            below=below,
            words=words or LiveWords(Statistics(below.lexical)),
            hidden=np.zeros(len(below), dtype=np.bool_),
            versions=(),
            batch=pa.RecordBatch.from_pylist([], below.schema),
            vectors=np.empty((0, below.dense.dimension), dtype=np.float32),
        )

    def after(self, writes: Sequence[Write]) -> Overlay:
        """Return the snapshot after some more writes, at least one, whose vectors are this index's."""
        written, changes = last_writes(writes, self.written), newest(writes)
        hidden, rows = self.hidden.copy(), dict(self.rows)
        for name in changes.keys() | self.written.keys() - written.keys():
            rows.pop(name, None)
            if (row := self.below.place_of(name)[1]) is not None:
                hidden[row] = name in written  # what was forgotten is what the index says again
        made = self._adding(filter(None, changes.values()), rows)
        if len(made.versions) - len(made.rows) > max(MOSTLY_DEAD, len(made.rows)):
            alive = [made.versions[row] for row in made.rows.values()]
            made = Overlay.nothing(self.below, LiveWords(self.words.statistics))._adding(alive, {})  # noqa: SLF001 - one of us
        return replace(made, hidden=hidden, written=written, sequence=writes[-1].sequence)

    def _adding(self, documents: Iterable[LiveDocument], rows: dict[str, int]) -> Overlay:
        """Return the snapshot with documents behind those that it has, of which ``rows`` are visible."""
        new = list(documents)
        return replace(
            self,
            words=self.words.adding([f"{document.title or ''}\n{document.text}" for document in new]),
            versions=(*self.versions, *new),
            batch=pa.concat_batches([self.batch, _batch(new, self.below.schema)]),
            vectors=np.concatenate([self.vectors, *(unit(document.vectors) for document in new)]),
            places=(*self.places, *(self.below.place_of(document.id)[0] for document in new)),
            rows=rows | {document.id: row for row, document in enumerate(new, len(self.versions))},
        )

    @cached_property
    def first_passage(self) -> Rows:
        """Row of the first passage of each document, the index's and then these, shape (documents + 1,)."""
        lengths = [len(document.passages) for document in self.versions]
        return np.concatenate([self.below.first_passage, len(self.below.dense) + np.cumsum(lengths, dtype=np.int64)])

    @cached_property
    def document_of(self) -> Rows:
        """Row of the document of each passage, shape (passages,)."""
        lengths = [len(document.passages) for document in self.versions]
        return np.concatenate([self.below.document_of, len(self.below) + np.repeat(np.arange(len(lengths)), lengths)])

    @cached_property
    def visible(self) -> Allowed | None:
        """The documents that are neither replaced nor deleted; None where that is all of them."""
        if len(self.rows) == len(self.versions) and not self.hidden.any():
            return None
        live = np.zeros(len(self.versions), dtype=np.bool_)
        live[list(self.rows.values())] = True
        return Allowed(np.concatenate([~self.hidden, live]), self.first_passage)

    @property
    def count(self) -> int:
        """Number of documents that are visible, the index's and these."""
        return len(self.below) - int(self.hidden.sum()) + len(self.rows)

    @cached_property
    def id_rank(self) -> npt.NDArray[np.int64]:
        """Numbers in the order of the ids, one for each document, shape (documents,)."""
        room = len(self.versions) + 1
        order = sorted(range(len(self.versions)), key=lambda row: self.versions[row].id.encode())
        between = np.empty(len(order), dtype=np.int64)
        between[order] = np.arange(len(order)) - len(order)  # below 0: before the id that stands at the place
        return np.concatenate([self.below.id_rank * room, np.array(self.places, dtype=np.int64) * room + between])

    def row_of(self, document_id: str) -> int | None:
        """Return the row of the visible document with this id, or None."""
        if (live := self.rows.get(document_id)) is not None:
            return len(self.below) + live
        row = self.below.row_of(document_id)
        return None if row is None or self.hidden[row] else row

    @property
    def dense(self) -> OverlaidDense:
        """The dense leg over both parts."""
        return OverlaidDense(self.below.dense, self.below.first_passage, self.vectors, self.document_of, self.visible)

    @property
    def lexical(self) -> OverlaidLexical:
        """The lexical leg over both parts."""
        return OverlaidLexical(
            self.below.lexical, self.below.first_passage, self.words, len(self.versions), self.visible
        )

    def documents(self, below: ArrowFile) -> ArrowFile:
        """Return the rows of the index's file, and these."""
        return Joined(below, self.batch)

    def passages(self, below: ArrowFile) -> ArrowFile:
        """Return the passages of the index's file, and these."""
        bounds = np.array(list(chain.from_iterable(each.passages for each in self.versions)), dtype=np.int32)
        columns = dict(zip(("start", "end"), bounds.reshape(-1, 2).T, strict=True))
        return Joined(below, pa.RecordBatch.from_pydict(columns))


class Joined(ArrowFile):
    """An Arrow file and some more rows behind it."""

    def __init__(self, file: ArrowFile, batch: pa.RecordBatch) -> None:
        self.schema = file.schema
        self._file, self._more = file, batch
        self._columns = {}
        self._rows = len(file)
        self.batches = [*file.batches, batch] if batch.num_rows else file.batches

    def row(self, row: int, columns: list[str]) -> dict[str, Any]:
        """Return the named columns of one row as Python values."""
        if row < self._rows:
            return self._file.row(row, columns)
        return {column: to_python(self._more.column(column)[row - self._rows]) for column in columns}


def _batch(documents: list[LiveDocument], schema: pa.Schema) -> pa.RecordBatch:
    """Return documents as rows of an index; metadata for which it has no column, or another type, are left out."""
    types = column_types(schema)
    rows = []
    for document in documents:
        values, wrong = fit_metadata(document.metadata, types)
        for name, reason in wrong.items():
            log.warning("document %r: metadata %r is left out: %s", document.id, name, reason)
        row: dict[str, Any] = {"id": document.id, "title": document.title, "text": document.text}
        rows.append(row | {"metadata": values} if types else row)
    return pa.RecordBatch.from_pylist(rows, schema)
