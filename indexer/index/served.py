"""Served index: what a search needs of an index, wherever its documents, vectors and words are kept.

`Index` answers from the files of an artifact: FAISS, tantivy and Arrow. Another store of served indexes implements the
same methods. Documents and passages have numbers; what they mean is up to the store, except that documents of lower
`id_ranks` come first among equal scores.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from indexer.artifacts.manifest import Manifest
from indexer.index.arrow import is_scalar
from indexer.index.document_mask import Rows
from indexer.index.legs import LexicalLeg, SparseLeg
from indexer.index.terms.rules import Rules
from indexer.inference.encoder import Encoder, Vectors

Neighbours = tuple[Rows, Vectors, Rows]
"""Rows and cosines of the documents nearest to a query, best first, and the best passage of each."""


class Document(NamedTuple):
    """One document as a user gave it."""

    id: str
    title: str | None
    text: str
    metadata: dict[str, Any]


class Selection(Protocol):
    """A set of documents of one index, such as those that pass a filter."""

    @property
    def count(self) -> int:
        """Number of documents."""

    @property
    def nbytes(self) -> int:
        """Memory of the set."""


class ServedIndex(ABC):
    """An index as searches use it. Safe to use from several threads.

    Attributes:
        manifest: of the index artifact.
        encoder: of the model that the index pins.
        lexical: the BM25 leg.
        sparse: the learned-sparse leg; None for none.
    """

    manifest: Manifest
    encoder: Encoder
    lexical: LexicalLeg[Any]
    sparse: SparseLeg | None

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of documents that a search can return."""

    @property
    @abstractmethod
    def passages(self) -> int:
        """Number of passages of the documents that a search can return."""

    @property
    @abstractmethod
    def generation(self) -> str:
        """Index id and number of the last visible write: what an answer came from."""

    @property
    @abstractmethod
    def schema(self) -> pa.Schema:
        """The fields of a document: id, title, text and, where there are other columns, metadata."""

    @property
    @abstractmethod
    def visible(self) -> Any | None:
        """The documents that searches may return at all, a `Selection` of this store; None for all of them."""

    @property
    @abstractmethod
    def dense_map(self) -> Vectors | None:
        """Matrix by which a query's vector is multiplied in dense mode, shape (dimension, dimension); None for none."""

    @abstractmethod
    def row_of(self, document_id: str) -> int | None:
        """Return the row of the document with this id, or None."""

    @abstractmethod
    def exact_rows(self, query: str, allowed: Any | None = None) -> Rows:
        """Return the rows of the ``allowed`` documents that have the query as their id, or as an exact value."""

    @property
    @abstractmethod
    def rules(self) -> Rules:
        """Synonyms and stop words of queries with which the index was built."""

    @abstractmethod
    def documents(self, rows: Rows) -> list[Document]:
        """Return the documents in ``rows``, in their order."""

    @abstractmethod
    def first_document(self) -> Document | None:
        """Return some document that a search can return; None where there is none."""

    @abstractmethod
    def id_ranks(self, rows: Rows) -> npt.NDArray[np.int64]:
        """Return numbers that sort as the ids of these documents do, shape (len(rows),)."""

    @abstractmethod
    def nearest_documents(self, vector: Vectors, depth: int, allowed: Any | None = None) -> Neighbours:
        """Return the ``depth`` documents nearest to a vector; of the ``allowed`` ones alone where they are given."""

    @abstractmethod
    def nearest_of_many(self, vectors: Vectors, depth: int) -> list[Neighbours]:
        """Return what `nearest_documents` returns for each of several vectors, shape (vectors, dimension)."""

    @abstractmethod
    def best_passages(self, vector: Vectors, rows: Rows) -> tuple[Vectors, Rows]:
        """Return cosine and number of the best passage of each document of ``rows``, both of shape (len(rows),)."""

    @abstractmethod
    def sample(self, count: int) -> Rows:
        """Return at most ``count`` passages from all over the documents that can be searched, always the same."""

    @abstractmethod
    def passage_scores(self, vector: Vectors, passages: Rows) -> Vectors:
        """Return the cosine of a vector to each of ``passages``, shape (len(passages),)."""

    @abstractmethod
    def passage_vectors(self, rows: Rows) -> list[Vectors]:
        """Return for each document of ``rows`` the vectors of its passages, shape (passages, dimension)."""

    @abstractmethod
    def passages_of_documents(self, rows: Rows) -> list[Rows]:
        """Return for each document of ``rows`` its passages, in their order."""

    @abstractmethod
    def offsets(self, passages: Rows) -> list[tuple[int, int]]:
        """Return the character offsets of each passage in the text of its document, the end excluded."""

    def document(self, row: int) -> Document:
        """Return the document in ``row``."""
        return self.documents(np.array([row], dtype=np.int64))[0]

    @property
    def root(self) -> ServedIndex:
        """The index of which this one is a view; itself where it is none. Views share the memory of its caches."""
        return self

    @property
    def is_restricted(self) -> bool:
        """Whether for its caller only some of the documents exist."""
        return self.visible is not None

    @property
    def folded(self) -> int:
        """Number of the last write that was folded into the index when it was built; 0 for none."""
        return int(self.manifest.config.get("folded", 0))

    @property
    def candidates(self) -> int:
        """How many documents of each leg are fused; a fixed number, or pages would repeat or lose a document."""
        return int(self.manifest.config["candidates"])

    @property
    def metadata_types(self) -> dict[str, str]:
        """Names and Arrow types of the metadata columns."""
        return {field.name: str(field.type) for field in self._metadata_fields()}

    @property
    def scalar_columns(self) -> list[str]:
        """Names of the metadata columns whose values are single ones: no lists, structs, maps or unions."""
        return [field.name for field in self._metadata_fields() if is_scalar(field.type)]

    @property
    def columns(self) -> dict[str, pa.DataType]:
        """Names and types of the columns that a filter may use: the metadata columns, and the documents' ``id``."""
        return {"id": pa.string()} | {field.name: field.type for field in self._metadata_fields() if field.name != "id"}

    def _metadata_fields(self) -> list[pa.Field]:
        return list(self.schema.field("metadata").type) if "metadata" in self.schema.names else []
