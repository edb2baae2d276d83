"""Preparation of live documents: passages and vectors as the build of an index makes them, and writes put over it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa

from indexer.corpus.treatment import Treatment
from indexer.errors import first_line
from indexer.index.index import Index
from indexer.inference.encoder import Encoder, Vectors
from indexer.inference.passages import DocumentPassages
from indexer.inference.sparse_encoder import SparseVectors, Terms, Weights
from indexer.live.metadata import FittedMetadata
from indexer.live.overlay import LiveIndex, Overlay
from indexer.live.write import LiveDocument, Write, compact_log

log = logging.getLogger("dowse.live")

CHARACTERS_PER_TURN = 100_000
"""Characters that are cut into passages in one turn; tokenizing them takes some 0.1 s."""
Item = TypeVar("Item")


class NewDocument(NamedTuple):
    """A document as a client sent it; ``fitted`` is its metadata converted to the index's columns, once that is done."""

    id: str
    title: str | None
    text: str
    metadata: dict[str, Any]
    fitted: FittedMetadata | None = None


class Preparer:
    """Makes passages and vectors of documents exactly as the build of an index did.

    Attributes:
        recipe: what decides passages, vectors and learned weights of a text; under an equal recipe they can be reused.
        treatment: what the index changes in documents.
    """

    def __init__(self, index: Index) -> None:
        config = index.manifest.config
        self._query_encoder = index.encoder
        self._precision = config["precision"]
        self._passage_maker = index.contents.passage_maker
        model = config.get("vectors_of", index.manifest.parents["model"])
        self.recipe = f"{model} {self._precision} {config['passages']} {int(config['overlap_tokens'])}"
        self._sparse, self._terms = None if index.sparse is None else index.sparse.encoder, 0
        if self._sparse:
            self._terms = int(config["sparse"]["terms"])
            self._sparse_passages = self._sparse.passage_maker(
                config["passages"], int(config["overlap_tokens"]), self._passage_maker.columns
            )
            self.recipe += f" {self._sparse.name} {self._terms}"
        self.treatment = Treatment.of_config(config)
        self.recipe += "".join(map(_html_of, self.treatment.markup))
        self.recipe += "".join(f" encoded:{name}" for name in self._passage_maker.columns)

    @cached_property
    def _document_encoder(self) -> Encoder:
        """The encoder of documents; that of queries may have weights of another precision."""
        encoder = self._query_encoder
        if encoder.precision == self._precision:
            return encoder
        return Encoder(encoder.folder, encoder.contract, self._precision, encoder.cores)

    def treat(self, document: NewDocument) -> NewDocument:
        """Return a document as a client sent it as the index keeps it: HTML as text, and lists in place of texts."""
        title, text = (self.treatment.text(*item) for item in (("title", document.title), ("text", document.text)))
        return document._replace(title=title, text=text or "", metadata=self.treatment.metadata(document.metadata))

    def prepare(self, documents: Sequence[NewDocument | LiveDocument]) -> list[LiveDocument]:
        """Return documents with their passages and vectors."""
        heads, texts = self._heads(documents), [document.text for document in documents]
        made = self._passage_maker.make(heads, texts)
        inputs = [text for passages in made for _, text in passages]
        prepared = _with_vectors(documents, made, self._document_encoder.encode_documents(inputs) if inputs else ())
        for _ in self._add_terms(prepared, sum(map(len, texts)) + 1):
            pass
        return prepared

    def prepare_in_turns(
        self, documents: Sequence[NewDocument], prepared: list[LiveDocument], tokens: int
    ) -> Iterator[None]:
        """Add documents with their passages and vectors to ``prepared``, and yield between turns.

        A turn cuts one long text, or several short ones, into passages, or encodes passages of at most ``tokens``
        tokens: its cost does not grow with the request. A document may take many turns.
        """
        made: list[DocumentPassages] = []
        for group in batched_by_size(documents, [len(document.text) for document in documents], CHARACTERS_PER_TURN):
            made += self._passage_maker.make(self._heads(group), [one.text for one in group])
            yield
        inputs = [text for passages in made for _, text in passages]
        vectors: list[Vectors] = []
        # The encoder's length bounds a passage, and its characters do: a token is rarely less than one character.
        longest = self._query_encoder.contract.max_tokens
        sizes = [min(longest, len(text) + 2) for text in inputs]
        for batch in batched_by_size(inputs, sizes, tokens):
            if vectors:
                yield
            vectors.extend(self._document_encoder.encode_documents(batch))
        complete = _with_vectors(documents, made, vectors)
        yield from self._add_terms(complete, tokens)
        prepared += complete

    def _heads(self, documents: Sequence[NewDocument | LiveDocument]) -> list[str | None]:
        return [self._passage_maker.head(document.title, document.metadata) for document in documents]

    def _add_terms(self, documents: list[LiveDocument], tokens: int) -> Iterator[None]:
        """Give documents the learned weights of their terms, where the index has such a leg, and yield between turns.

        A turn encodes passages of at most ``tokens`` tokens.
        """
        if not self._sparse or not documents:
            return
        made: list[DocumentPassages] = []
        for group in batched_by_size(documents, [len(one.text) for one in documents], CHARACTERS_PER_TURN):
            yield
            made += self._sparse_passages.make(self._heads(group), [one.text for one in group])
        inputs = [text for passages in made for _, text in passages]
        sizes = [min(self._sparse.contract.max_tokens, len(text) + 2) for text in inputs]
        vectors: list[tuple[Terms, Weights]] = []
        for batch in batched_by_size(inputs, sizes, tokens):
            yield
            vectors += self._sparse.encode_documents(batch, self._terms).vectors()
        for row, passages in enumerate(made):
            own, vectors = vectors[: len(passages)], vectors[len(passages) :]
            documents[row] = replace(documents[row], sparse=SparseVectors.of(own))

    def prepare_again(self, writes: Sequence[Write]) -> list[Write]:
        """Return writes with passages and vectors for this index; only those of another recipe are embedded again."""
        foreign = sum(len(write.documents) for write in writes if write.recipe != self.recipe)
        if foreign:
            log.info("%d documents were written for another model or index; they are embedded again", foreign)
        return [
            write
            if write.recipe == self.recipe
            else replace(write, recipe=self.recipe, documents=tuple(self.prepare(self._treat_again(write))))
            for write in writes
        ]

    def _treat_again(self, write: Write) -> list[LiveDocument]:
        """Return the documents of a write for an index of another treatment; what is text already stays as it is."""
        markup = tuple(field for field in self.treatment.markup if _html_of(field) not in write.recipe)
        missing = replace(self.treatment, markup=markup)
        return [
            replace(
                document,
                title=missing.text("title", document.title),
                text=missing.text("text", document.text) or document.text,
                metadata=missing.metadata(document.metadata),
                fitted=None,
            )
            for document in write.documents
        ]


def _html_of(field: str) -> str:
    """Return the part of a recipe that says that the HTML of a field was turned into text."""
    return f" html:{field}"


def batched_by_size(items: Sequence[Item], sizes: Sequence[int], limit: int) -> Iterator[list[Item]]:
    """Yield items in their order, in lists whose sizes add up to at most ``limit``; a larger item gets its own."""
    batch: list[Item] = []
    total = 0
    for item, size in zip(items, sizes, strict=True):
        if batch and total + size > limit:
            yield batch
            batch, total = [], 0
        batch.append(item)
        total += size
    if batch:
        yield batch


def _with_vectors(
    documents: Sequence[NewDocument | LiveDocument], made: Sequence[DocumentPassages], vectors: Iterable[Vectors]
) -> list[LiveDocument]:
    """Return documents with their passages, and the vectors of all passages in their order."""
    vector = iter(vectors)
    return [
        LiveDocument(
            document.id,
            document.title,
            document.text,
            document.metadata,
            tuple((passage.start, passage.end) for passage, _ in passages),
            np.stack([next(vector) for _ in passages]),
            document.fitted,
        )
        for document, passages in zip(documents, made, strict=True)
    ]


UNFIT = (ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RecursionError, pa.ArrowInvalid)
"""Exceptions that mean that a write does not fit an index, whenever it is tried: not those of memory or of the disk."""


def apply_writes(index: Index, writes: Sequence[Write]) -> Index:
    """Return the index with the new ones of the ``writes`` over it: those after the last one that it has.

    Args:
        index: as built, or with a snapshot of earlier writes over it.
        writes: in their order.
    """
    overlay = _overlay_of(index)
    new = _new_writes(overlay, writes)
    return LiveIndex(_apply(overlay, new)) if new else index


def replay_writes(index: Index, writes: Sequence[Write]) -> Index:
    """Return the index with new writes of the log over it, as `apply_writes` does.

    A write that cannot be applied to this index is set aside with its reason, and reported: it keeps neither the others
    from being shown nor the service from starting. No other write is changed by it.
    """
    overlay = _overlay_of(index)
    new = _new_writes(overlay, writes)
    if not new:
        return index
    try:
        return LiveIndex(_apply(overlay, new))
    except UNFIT:
        unfit = find_unfit(overlay.base, new)
        if not unfit:  # each can be applied, and all together cannot: an error of the program
            raise
    for number, reason in unfit.items():
        log.error("write %d of the log cannot be applied to this index and is set aside: %s", number, reason)
    fit = [write for write in new if write.sequence not in unfit]
    applied = _apply(overlay, fit) if fit else overlay
    return LiveIndex(replace(applied, sequence=new[-1].sequence, set_aside={**overlay.set_aside, **unfit}))


def find_unfit(base: Index, writes: Sequence[Write]) -> dict[int, str]:
    """Return the numbers of the writes that cannot be applied to the index ``base``, each with the reason.

    Halves are tried first, since hardly a write is unfit.
    """
    try:
        _apply(Overlay.empty(base), list(writes))
    except UNFIT as error:
        if len(writes) > 1:
            middle = len(writes) // 2
            return find_unfit(base, writes[:middle]) | find_unfit(base, writes[middle:])
        documents = ", ".join(map(repr, writes[0].ids[:3]))
        return {writes[0].sequence: f"{first_line(error)} (documents {documents}); put them again, or forget them"}
    return {}


def _overlay_of(index: Index) -> Overlay:
    return index.overlay if isinstance(index, LiveIndex) else Overlay.empty(index)


def _new_writes(overlay: Overlay, writes: Sequence[Write]) -> list[Write]:
    return [write for write in writes if write.sequence > max(overlay.sequence, overlay.base.folded)]


def _apply(overlay: Overlay, new: list[Write]) -> Overlay:
    prepared = Preparer(overlay.base).prepare_again(compact_log(new))
    return overlay.with_writes(prepared) if prepared else replace(overlay, sequence=new[-1].sequence)
