"""Dowse in LangChain: retriever, vector store and embeddings. `pip install './client[langchain]'`.

The service makes the vectors. So the vector store takes no embeddings of others, and cannot search by a vector.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, Self

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever
from langchain_core.vectorstores import VectorStore
from pydantic import Field

from dowse_client.client import Dowse
from dowse_client.integrations.documents import EXTRA, Documents, StoredDocument, batches

URL = "http://127.0.0.1:8000"
MAX_TEXTS = 256
Mode = Literal["hybrid", "dense", "lexical"]


class DowseRetriever(BaseRetriever):
    """Finds passages of the index for a query; `metadata` has the score, and the document's title and metadata."""

    url: str = URL
    """URL of the service."""
    key: str | None = None
    """API key, where the service needs one."""
    k: int = 4
    """Number of documents, at most 100."""
    mode: Mode = "hybrid"
    """By meaning and words, or by one of them."""
    filter: dict[str, Any] | None = None
    """Which documents may be returned, as `POST /search` takes it."""
    whole: bool = False
    """Whether to give whole texts instead of the passages that were found."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Further fields of `POST /search`, such as `rerank`, `diversity` or `group_by`."""
    extra: str = EXTRA
    """The text column for metadata without a column of their own."""

    @cached_property
    def _documents(self) -> Documents:
        return Documents(Dowse(self.url, key=self.key), self.extra)

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, k: int | None = None, **options: Any
    ) -> list[Document]:
        del run_manager
        search = {"mode": self.mode, "filter": self.filter, **self.options, **options}
        found = self._documents.search(query, self.k if k is None else k, whole=self.whole, **search)
        return [_document(each, score=each.score) for each in found]


class DowseEmbeddings(Embeddings):
    """Vectors of the live model, the same as in the index.

    Args:
        url: URL of the service.
        key: API key, where the service needs one.
        model: id or name of the model. By default the one that is live at the first call; once another one is live,
            calls fail, for its vectors could not be compared with the earlier ones.
        client: a client to use in place of a new one.
    """

    def __init__(
        self, url: str = URL, *, key: str | None = None, model: str | None = None, client: Dowse | None = None
    ) -> None:
        self._dowse = client or Dowse(url, key=key)
        self._model = model

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return the vectors of texts."""
        return [vector for some in batches(texts, MAX_TEXTS) for vector in self._embed(some, "document")]

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of a query, with the model's prompt for queries."""
        return self._embed([text], "query")[0]

    def _embed(self, texts: list[str], kind: Literal["query", "document"]) -> list[list[float]]:
        if self._model is None:
            self._model = self._dowse.embedding_models().data[0].id
        answer = self._dowse.embeddings(texts, self._model, input_type=kind)
        return [each.embedding for each in answer.data if isinstance(each.embedding, list)]


class DowseVectorStore(VectorStore):
    """The documents of a writable service (`--writable`).

    Args:
        url: URL of the service.
        key: API key, where the service needs one.
        client: a client to use in place of a new one.
        mode: how documents are searched.
        extra: the text column for metadata without a column of their own.
    """

    def __init__(
        self,
        url: str = URL,
        *,
        key: str | None = None,
        client: Dowse | None = None,
        mode: Mode = "hybrid",
        extra: str = EXTRA,
    ) -> None:
        self._dowse = client or Dowse(url, key=key)
        self._documents = Documents(self._dowse, extra)
        self._mode = mode

    @property
    def embeddings(self) -> DowseEmbeddings:
        """The model that the service encodes with."""
        return DowseEmbeddings(client=self._dowse)

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        **kwargs: Any,  # noqa: ARG002 - the interface has them
    ) -> list[str]:
        """Add texts, or replace those with the same ids; return the ids. Where none is given, one is made up."""
        texts = list(texts)
        names = [name or str(uuid.uuid4()) for name in ids or [None] * len(texts)]
        entries = zip(names, texts, metadatas or [{}] * len(texts), strict=True)
        self._documents.put(StoredDocument(name, text, metadata) for name, text, metadata in entries)
        return names

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool:  # noqa: ARG002 - the interface has them
        """Delete documents by id; all of them where no ids are given. An id that is not there is no error."""
        if ids is None:
            self._documents.delete_by_filter({})
        else:
            self._documents.delete(ids)
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Return the documents of these ids in their order, without those that are not there."""
        return [_document(each) for each in self._documents.get(ids)]

    def similarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        """Return the best documents, whole; further arguments (`filter`, `rerank`, …) are fields of `POST /search`."""
        return [_document(each) for each in self._search(query, k, **kwargs)]

    def similarity_search_with_score(self, query: str, k: int = 4, **kwargs: Any) -> list[tuple[Document, float]]:
        """Return the best documents with their scores; those of hybrid search compare only within one answer."""
        return [(_document(each), each.score or 0.0) for each in self._search(query, k, **kwargs)]

    def max_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,  # noqa: ARG002 - the service chooses among all candidates
        lambda_mult: float = 0.5,
        **kwargs: Any,
    ) -> list[Document]:
        """Return good documents that differ; ``lambda_mult`` is 1 for no diversity, and 0 for nothing else."""
        return self.similarity_search(query, k, diversity=1 - lambda_mult, **kwargs)

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings | None = None,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Return a store to which texts were added; ``kwargs`` are those of the constructor.

        Raises:
            ValueError: ``embedding`` is another model; the service encodes with its own.
        """
        if embedding is not None and not isinstance(embedding, DowseEmbeddings):
            raise ValueError("Dowse encodes with the model of its index: give no `embedding`, or a DowseEmbeddings")
        store = cls(**kwargs)
        store.add_texts(texts, metadatas, ids=ids)
        return store

    def _similarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        found = self._search(query, k, **kwargs)
        if any(each.relevance is None for each in found):
            raise NotImplementedError("the live index has no calibrated relevance; build it anew, or use the scores")
        return [(_document(each), each.relevance or 0.0) for each in found]

    def _search(self, query: str, k: int, **search: Any) -> list[StoredDocument]:
        return self._documents.search(query, k, whole=True, **{"mode": self._mode, **search})


def _document(stored: StoredDocument, **more: Any) -> Document:
    metadata: Mapping[str, Any] = {**stored.metadata, **more}
    return Document(id=stored.id, page_content=stored.text, metadata=dict(metadata))
