"""Protocols of the legs: the methods of dense, lexical and learned-sparse search that retrieval calls.

An index artifact has `DenseIndex`, `LexicalIndex` and, where it was built with one, `SparseIndex`. An index with live
documents has those of `indexer.live.legs` and `indexer.live.sparse`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

import numpy as np
import numpy.typing as npt
from typing_extensions import TypeVar

from indexer.index.document_mask import DocumentMask, Rows
from indexer.index.terms.vocabulary import Near
from indexer.index.terms.words import Analyzer, QueryTerms, Spelling
from indexer.inference.encoder import Vectors
from indexer.inference.sparse_encoder import SparseEncoder

Scores = npt.NDArray[np.float32]
Query = str | QueryTerms
"""A query as it was typed, or its terms, where it is searched more than once."""
Allowed_contra = TypeVar("Allowed_contra", contravariant=True, default=DocumentMask)
"""A set of documents, as a store of served indexes has it."""
Field = tuple[str, float, Analyzer]
"""Name of a field of the lexical index, weight of its terms, and what makes them of a text."""


class DenseLeg(Protocol):
    """Vectors of passages, compared by cosine."""

    def __len__(self) -> int:
        """Return the number of passages."""

    @property
    def dimension(self) -> int:
        """Length of a vector."""

    def search(self, vector: Vectors, count: int, allowed: DocumentMask | None = None) -> tuple[Vectors, Rows]:
        """Return cosine and row of the ``count`` nearest passages of ``allowed`` documents, best first."""

    def search_many(self, vectors: Vectors, count: int) -> tuple[Vectors, Rows]:
        """Return what `search` returns for each of several vectors, shape (vectors, count)."""

    def scores(self, vector: Vectors, rows: Rows) -> Vectors:
        """Return the cosine of ``vector`` to each passage of ``rows``, shape (len(rows),)."""

    def vectors(self, rows: Rows) -> Vectors:
        """Return the vectors of passages, shape (len(rows), dimension)."""


class LexicalLeg(Protocol[Allowed_contra]):
    """Documents, scored by BM25."""

    def __len__(self) -> int:
        """Return the number of rows of documents."""

    def terms(self, text: str) -> list[str]:
        """Return the distinct terms of ``text`` as the index knows them: lower-cased, stemmed, no stop words."""

    def analyze(self, query: Query) -> QueryTerms:
        """Return the terms of a query; those that are terms already are returned as they are."""

    def search(self, query: Query, count: int, allowed: Allowed_contra | None = None) -> tuple[Scores, Rows]:
        """Return BM25 score and row of the ``count`` best of the ``allowed`` documents that hold a term of the query."""

    def search_all(self, query: Query) -> tuple[Scores, Rows] | None:
        """Return BM25 score and row of every document that holds a term of the query; None where there may be too many."""

    def matching(self, query: Query, allowed: Allowed_contra | None = None) -> Rows:
        """Return the rows of all documents that hold a term of the query, in any order; of the ``allowed`` ones alone."""

    def scores(self, query: Query, documents: Rows) -> Scores:
        """Return the BM25 score of each of ``documents``, shape (len(documents),); 0 where no term occurs."""

    def fields(self) -> list[Field]:
        """Return name, weight of a term, and analyzer of each field."""

    @property
    def columns(self) -> Mapping[str, float]:
        """Weight of each column that is searched beside title and text."""

    @property
    def word_fields(self) -> list[str]:
        """Names of the fields that hold words as they are written."""

    @property
    def title_field(self) -> str:
        """Name of the field from which titles are completed."""

    def document_frequency(self, name: str, term: str) -> int:
        """Return how many documents have a term in a field."""

    def average_length(self, name: str) -> float:
        """Return the average number of terms in a field."""

    def count_documents(self, word: str, allowed: Allowed_contra) -> int:
        """Return how many of the ``allowed`` documents hold a word of `vocabulary` as it is written, not its stem."""

    def knows(self, word: str) -> bool:
        """Say whether ``word`` occurs in a document, or has no terms to look for, like a stop word."""

    def knows_all(self, text: str) -> bool:
        """Say whether the leg `knows` every word of `spellings`; False may also mean that finding out takes longer."""

    @property
    def vocabulary(self) -> Mapping[str, int]:
        """The most frequent words, unstemmed and in lower case, each with its document frequency."""

    def near(self, word: str, edits: int) -> list[Near]:
        """Return the words of the vocabulary within so many edits, nearest first, of equally near ones the most frequent."""

    def continuations(self, prefix: str, count: int, field: str | None = None) -> list[tuple[str, int]]:
        """Return the most frequent words that begin with ``prefix``, as they are written, with their frequencies.

        Words of title and text, or those of another ``field``.
        """

    def comparable(self, word: str) -> str:
        """Return a word, spelt as in the vocabulary, in the form in which it is compared."""

    def spellings(self, text: str) -> list[Spelling]:
        """Return the words of letters in ``text``, each with its place and as the vocabulary spells it."""

    def spans(self, query: str, texts: Iterable[str]) -> list[list[tuple[int, int]]]:
        """Return where the terms of ``query`` occur in each of ``texts``, as code points (start, end), the end excluded."""


class SparseLeg(Protocol):
    """Documents, scored by the weights that a learned-sparse model gives their terms."""

    @property
    def encoder(self) -> SparseEncoder:
        """The model: it gives the terms of queries, and those of new documents."""

    def __len__(self) -> int:
        """Return the number of rows of documents."""

    def all_scores(self, query: str) -> Scores:
        """Return the score of every document, shape (documents,); 0 where no term of the query has a weight."""

    def search(self, query: str, count: int, allowed: DocumentMask | None = None) -> tuple[Scores, Rows]:
        """Return score and row of the ``count`` best of the ``allowed`` documents; of equal scores the lower row."""

    def scores(self, query: str, documents: Rows) -> Scores:
        """Return the score of each of ``documents``, shape (len(documents),)."""
