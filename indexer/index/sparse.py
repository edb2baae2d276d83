"""The learned-sparse leg: postings of terms over passages, memory-mapped, summed exactly for every query.

    sparse/
        offsets.i64           where the postings of each term begin, and the end, (terms + 1,)
        rows.i32 weights.f16  passage and weight of each posting, by term and then by passage
        first.i64             first passage of each document, and the end, (documents + 1,)
        keys.b16              digest of each passage's text
        lengths.i32           number of terms of each passage
        terms.i32 values.f16  terms and weights by passage: the same numbers once more

Search reads the postings; a later index takes over the weights by passage without encoding. Passages are those that fit
into the sparse model, longer than the dense ones. A document has the score of its best passage.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from indexer.errors import UserError
from indexer.index.document_mask import DocumentMask, Rows
from indexer.index.legs import Scores
from indexer.inference.sparse_encoder import Numbers, Offsets, SparseEncoder, SparseVectors, Terms, Weights

FOLDER = "sparse"
KEY_BYTES = 16
DTYPES = {
    "offsets.i64": "<i8",
    "rows.i32": "<i4",
    "weights.f16": "<f2",
    "first.i64": "<i8",
    "keys.b16": f"V{KEY_BYTES}",
    "lengths.i32": "<i4",
    "terms.i32": "<i4",
    "values.f16": "<f2",
}
"""Files of the leg and the type of their numbers."""


def map_numbers(path: Path) -> npt.NDArray[Any]:
    """Map one of the leg's files into memory.

    Raises:
        UserError: the file is missing.
    """
    if not path.is_file():
        raise UserError(f"{path}: missing; build the index again with --force")
    dtype = np.dtype(DTYPES[path.name])
    if not path.stat().st_size:  # nothing can be mapped
        return np.empty(0, dtype)
    return np.asarray(np.memmap(path, dtype=dtype, mode="r"))


def sums(lengths: npt.NDArray[Any]) -> Offsets:
    """Return where each of several groups of these lengths begins, and the end, shape (groups + 1,)."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def sum_products(
    passages: int, terms: Terms, weights: Numbers, postings: Callable[[int], tuple[Terms, Weights]]
) -> Scores:
    """Return the sum of products of each passage over the terms of a query, shape (passages,).

    The order of the terms decides the last bits of a sum: it is the same for built and for live documents.
    """
    scores = np.zeros(passages, dtype=np.float32)
    for term, weight in zip(terms.tolist(), weights, strict=True):
        rows, products = postings(term)
        scores[rows] += weight * products.astype(np.float32)
    return scores


def best_by_document(scores: Scores, first: Offsets) -> Scores:
    """Return the largest score among the passages of each document, shape (documents,); each has a passage."""
    if len(scores) == len(first) - 1:
        return scores
    best: Scores = np.maximum.reduceat(scores, first[:-1])
    return best


def best_documents(scores: Scores, count: int, allowed: DocumentMask | None = None) -> tuple[Scores, Rows]:
    """Return score and row of the ``count`` best ``allowed`` documents with a score above 0; of equal ones the lower row.

    Args:
        scores: of all documents, shape (documents,).
        count: how many documents, at most.
        allowed: the documents that may be returned; None for all.
    """
    rows = np.flatnonzero(scores > 0 if allowed is None else (scores > 0) & allowed.mask)
    found = scores[rows]
    if len(rows) > count > 0:  # a sort of what may be among the best alone
        least = np.partition(found, len(found) - count)[len(found) - count]
        rows = rows[found >= least]
        found = scores[rows]
    order = np.argsort(-found, kind="stable")[:count]
    return found[order], rows[order]


class SparseIndex:
    """Postings that can be searched. Safe to use from several threads.

    Attributes:
        encoder: the model whose terms these are.
        first_passage: first passage of each document, and the end, shape (documents + 1,).
    """

    def __init__(self, folder: Path, encoder: SparseEncoder) -> None:
        self.encoder = encoder
        self._folder = folder
        self._offsets, self._rows, self._weights, self.first_passage = (
            map_numbers(folder / name) for name in ("offsets.i64", "rows.i32", "weights.f16", "first.i64")
        )

    @classmethod
    def open(cls, folder: Path, encoder: SparseEncoder) -> Self:
        """Map the files of the leg.

        Raises:
            UserError: a file is missing, or the files do not belong together or to the model.
        """
        index = cls(folder, encoder)
        postings = int(index._offsets[-1]) if len(index._offsets) else -1
        if len(index._offsets) != encoder.contract.dimension + 1 or not postings == len(index._rows) == len(
            index._weights
        ):
            raise UserError(f"{folder}: does not fit the model {encoder.name}; build the index again with --force")
        return index

    def __len__(self) -> int:
        """Return the number of documents."""
        return len(self.first_passage) - 1

    def all_scores(self, query: str) -> Scores:
        """Return the score of every document, shape (documents,); 0 where no term of the query has a weight."""
        passages = int(self.first_passage[-1])
        return best_by_document(
            sum_products(passages, *self.encoder.query_terms(query), self._postings), self.first_passage
        )

    def search(self, query: str, count: int, allowed: DocumentMask | None = None) -> tuple[Scores, Rows]:
        """Return score and row of the ``count`` best of the ``allowed`` documents; of equal scores the lower row."""
        return best_documents(self.all_scores(query), count, allowed)

    def scores(self, query: str, documents: Rows) -> Scores:
        """Return the score of each of ``documents``, shape (len(documents),)."""
        return self.all_scores(query)[documents]

    def _postings(self, term: int) -> tuple[Terms, Weights]:
        part = slice(int(self._offsets[term]), int(self._offsets[term + 1]))
        return self._rows[part], self._weights[part]


class StoredVectors:
    """The vectors of an index's passages, found by the digest of their text."""

    def __init__(self, folder: Path) -> None:
        self._keys = map_numbers(folder / "keys.b16").view(f"S{KEY_BYTES}")
        self._order = np.argsort(self._keys, kind="stable")
        self._terms, self._weights = map_numbers(folder / "terms.i32"), map_numbers(folder / "values.f16")
        self._offsets = sums(map_numbers(folder / "lengths.i32"))

    def find(self, keys: list[bytes]) -> list[SparseVectors | None]:
        """Return the vector of each of ``keys``, None for one that is not known."""
        if not len(self._keys):
            return [None] * len(keys)
        wanted = np.array(keys, dtype=f"S{KEY_BYTES}")
        positions = np.searchsorted(self._keys, wanted, sorter=self._order).clip(max=len(self._keys) - 1)
        rows = self._order[positions]
        return [
            self._vector(int(row)) if is_known else None
            for row, is_known in zip(rows, self._keys[rows] == wanted, strict=True)
        ]

    def _vector(self, row: int) -> SparseVectors:
        part = slice(int(self._offsets[row]), int(self._offsets[row + 1]))
        return SparseVectors.of([(self._terms[part], self._weights[part])])
