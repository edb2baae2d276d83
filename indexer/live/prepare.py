"""Live documents made searchable: passages and vectors as the build of the index made them, and writes put over it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from indexer.index.index import Index
from indexer.inference.encoder import Encoder
from indexer.live.metadata import FittedMetadata
from indexer.live.overlay import LiveIndex, Overlay
from indexer.live.write import LiveDocument, Write, compact_log

log = logging.getLogger("dowse.live")


class NewDocument(NamedTuple):
    """A document as a client sent it; ``fitted`` is its metadata as the index's columns hold it, where that is known."""

    id: str
    title: str | None
    text: str
    metadata: dict[str, Any]
    fitted: FittedMetadata | None = None


class Preparer:
    """Makes passages and vectors of documents exactly as the build of an index did.

    Attributes:
        recipe: what decides the passages and vectors of a text; equal recipes need not make them again.
    """

    def __init__(self, index: Index) -> None:
        config = index.manifest.config
        self._queries = index.encoder
        self._precision = config["precision"]
        self._maker = index.contents.passage_maker
        model = index.manifest.parents["model"]
        self.recipe = f"{model} {self._precision} {config['passages']} {int(config['overlap_tokens'])}"

    @cached_property
    def _encoder(self) -> Encoder:
        """The encoder of documents: that of the queries may have other weights."""
        queries = self._queries
        if queries.precision == self._precision:
            return queries
        return Encoder(queries.folder, queries.contract, self._precision, queries.cores)

    def prepare(self, documents: Sequence[NewDocument | LiveDocument]) -> list[LiveDocument]:
        """Return documents with their passages and vectors."""
        made = self._maker.make([each.title for each in documents], [each.text for each in documents])
        inputs = [text for passages in made for _, text in passages]
        vectors = iter(self._encoder.encode_documents(inputs)) if inputs else iter(())
        return [
            LiveDocument(
                each.id,
                each.title,
                each.text,
                each.metadata,
                tuple((passage.start, passage.end) for passage, _ in passages),
                np.stack([next(vectors) for _ in passages]),
                each.fitted,
            )
            for each, passages in zip(documents, made, strict=True)
        ]

    def prepare_again(self, writes: Sequence[Write]) -> list[Write]:
        """Return writes with passages and vectors for this index, which most of them have already."""
        foreign = sum(len(write.documents) for write in writes if write.recipe != self.recipe)
        if foreign:
            log.info("%d documents were written for another model or index; they are embedded again", foreign)
        return [
            write
            if write.recipe == self.recipe
            else replace(write, recipe=self.recipe, documents=tuple(self.prepare(write.documents)))
            for write in writes
        ]


def apply_writes(index: Index, writes: Sequence[Write]) -> Index:
    """Return an index with those of the ``writes`` over it that it does not have: those after its last one.

    Args:
        index: as built, or with a snapshot of earlier writes over it.
        writes: in their order.
    """
    overlay = index.overlay if isinstance(index, LiveIndex) else Overlay.empty(index)
    new = [write for write in writes if write.sequence > max(overlay.sequence, index.folded)]
    if not new:
        return index
    return LiveIndex(overlay.with_writes(Preparer(overlay.base).prepare_again(compact_log(new))))
