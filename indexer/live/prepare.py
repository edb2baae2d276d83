"""From a document as it is sent to one that can be searched: passages, vectors, and metadata of the right types."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from indexer.artifacts.store import Store
from indexer.index.index import Index
from indexer.inference.encoder import Encoder, load_tokenizer
from indexer.inference.passages import Passage, Splitter, encoder_input
from indexer.live.overlay import Overlay
from indexer.live.write import LiveDocument, Write, left

log = logging.getLogger("dowse.live")


class Sent(NamedTuple):
    """A document as a client has sent it."""

    id: str
    title: str | None
    text: str
    metadata: dict[str, Any]


class Preparation:
    """Makes passages and vectors of documents exactly as the build of an index did."""

    def __init__(self, index: Index) -> None:
        self._index = index
        config = index.manifest.config
        self._one = config["passages"] == "one"
        self._overlap = int(config["overlap_tokens"])
        self._precision = config["precision"]
        model = index.manifest.parents["model"]
        self._model = Store("model", index.folder.parent.parent).path(model)
        self.recipe = f"{model} {self._precision} {config['passages']} {self._overlap}"
        """What decides the passages and vectors of a text; equal recipes need not make them again."""

    @cached_property
    def _encoder(self) -> Encoder:
        """The encoder of documents: that of the queries may have other weights."""
        queries = self._index.encoder
        if queries.precision == self._precision:
            return queries
        return Encoder(self._model, queries.contract, self._precision, queries.cores)

    @cached_property
    def _splitter(self) -> Splitter:
        contract = self._index.encoder.contract
        return Splitter(load_tokenizer(self._model), contract.max_tokens, self._overlap, contract.document_prompt)

    def prepare(self, documents: Sequence[Sent | LiveDocument]) -> list[LiveDocument]:
        """Return documents with their passages and vectors."""
        titles, texts = [each.title or "" for each in documents], [each.text for each in documents]
        if self._one:
            split = [(title, [Passage(0, len(text))]) for title, text in zip(titles, texts, strict=True)]
        else:
            split = self._splitter.split(titles, texts)
        inputs = [
            encoder_input(title, text[passage.start : passage.end])
            for (title, passages), text in zip(split, texts, strict=True)
            for passage in passages
        ]
        vectors = iter(self._encoder.encode_documents(inputs)) if inputs else iter(())
        return [
            LiveDocument(
                each.id,
                each.title,
                each.text,
                each.metadata,
                tuple((passage.start, passage.end) for passage in passages),
                np.stack([next(vectors) for _ in passages]),
            )
            for each, (_, passages) in zip(documents, split, strict=True)
        ]

    def remake(self, writes: Sequence[Write]) -> list[Write]:
        """Return writes with passages and vectors for this index, which most of them have already."""
        strange = sum(len(write.documents) for write in writes if write.recipe != self.recipe)
        if strange:
            log.info("%d documents were written for another model or index; they are embedded again", strange)
        return [
            write
            if write.recipe == self.recipe
            else replace(write, recipe=self.recipe, documents=tuple(self.prepare(write.documents)))
            for write in writes
        ]


def overlaid(index: Index, writes: Sequence[Write]) -> Index:
    """Return an index with the ``writes`` over it that it does not have: those after its last one.

    Args:
        index: built, or with a snapshot of earlier writes over it.
        writes: in their order.
    """
    overlay = index.overlay or Overlay.nothing(index)
    new = [write for write in writes if write.sequence > max(overlay.sequence, index.folded)]
    if not new:
        return index
    made = Preparation(overlay.below).remake(left(new))
    return overlay.below.with_overlay(overlay.after(made))
