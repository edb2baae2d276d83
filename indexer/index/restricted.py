"""Restricted view of an index: for its caller, such as a key with a filter, only some of the documents exist."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from indexer.index.document_mask import DocumentMask, Mask, Rows
from indexer.index.index import Index
from indexer.index.served import ServedIndex


class RestrictedIndex(Index):
    """An index in which only some of its documents exist.

    Args:
        base: the index with all documents.
        allowed: the documents that exist in this view.
    """

    def __init__(self, base: Index, allowed: DocumentMask) -> None:
        super().__init__(base.folder, base.manifest, base.encoder, base.contents)
        self._base = base
        self._allowed = allowed

    def __len__(self) -> int:
        """Return the number of documents that a search can return."""
        return self._allowed.count

    @property
    def root(self) -> ServedIndex:
        """The index with all documents."""
        return self._base.root

    @property
    def generation(self) -> str:
        """Index id and number of the last visible write: what an answer came from."""
        return self._base.generation

    @property
    def visible(self) -> DocumentMask:
        """The documents that searches may return at all."""
        return self._allowed

    @property
    def is_restricted(self) -> bool:
        """Whether for its caller only some of the documents exist."""
        return True

    @property
    def id_rank(self) -> npt.NDArray[np.int64]:
        """Rank of each document's id among all ids, shape (documents,): breaks ties between equal scores."""
        return self._base.id_rank

    def row_of(self, document_id: str) -> int | None:
        """Return the row of the document with this id, or None."""
        row = self._base.row_of(document_id)
        return row if row is not None and self._allowed.mask[row] else None

    def follows(self, document_id: str) -> Mask:
        """Return which documents have an id that sorts behind this one, whether it exists or not, shape (documents,)."""
        return self._base.follows(document_id)

    def exact_rows(self, query: str, allowed: DocumentMask | None = None) -> Rows:
        """Return the rows of the ``allowed`` documents that have the query as their id, or as an exact value."""
        return super().exact_rows(query, self._allowed if allowed is None else allowed)

    def _exact_rows(self, query: str) -> list[int]:
        return self._base._exact_rows(query)  # noqa: SLF001 - of the same class

    def passage_offsets(self, passage: int) -> tuple[int, int]:
        """Return the character offsets of a passage in the text of its document, the end excluded."""
        return self._base.passage_offsets(passage)
