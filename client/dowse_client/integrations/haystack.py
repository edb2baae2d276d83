"""Dowse in Haystack: document store and retriever. `pip install './client[haystack]'`.

The service makes the vectors: embeddings of documents are not stored, and none come back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal, Self

from haystack import Document, component, default_from_dict, default_to_dict
from haystack.document_stores.errors import DuplicateDocumentError
from haystack.document_stores.types import DuplicatePolicy
from haystack.errors import FilterError
from haystack.utils import Secret, deserialize_secrets_inplace

from dowse_client import problems
from dowse_client.client import Dowse
from dowse_client.integrations.documents import EXTRA, Documents, StoredDocument
from dowse_client.integrations.haystack_filters import to_dowse

MAX_FACET = 100
Mode = Literal["hybrid", "dense", "lexical"]


class DowseDocumentStore:
    """The documents of a service; one that is to be written needs `--writable`.

    Args:
        url: URL of the service.
        key: API key, where the service needs one.
        extra: the text column for metadata without a column of their own; filters do not see these.
    """

    def __init__(self, url: str = "http://127.0.0.1:8000", *, key: Secret | None = None, extra: str = EXTRA) -> None:
        self.url, self.key, self.extra = url, key, extra
        self.documents = Documents(Dowse(url, key=key.resolve_value() if key else None), extra)

    def to_dict(self) -> dict[str, Any]:
        """Return what `from_dict` makes the same store of; of the key, the name of its variable."""
        key = self.key.to_dict() if self.key else None
        description: dict[str, Any] = default_to_dict(self, url=self.url, key=key, extra=self.extra)
        return description

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Return the store that `to_dict` describes."""
        deserialize_secrets_inplace(data["init_parameters"], ["key"])
        store: Self = default_from_dict(cls, data)
        return store

    def count_documents(self) -> int:
        """Return the number of documents."""
        return self.documents.count()

    def filter_documents(self, filters: dict[str, Any] | None = None) -> list[Document]:
        """Return all documents that pass a filter, in the order of their ids."""
        with _filter_errors():
            return [_document(each) for each in self.documents.scroll(to_dowse(filters))]

    def write_documents(self, documents: list[Document], policy: DuplicatePolicy = DuplicatePolicy.NONE) -> int:
        """Write documents and return how many were written; without a policy, existing ones are an error.

        Raises:
            DuplicateDocumentError: with `FAIL`, or without a policy, a document exists; nothing is written.
            ValueError: a document has no text.
        """
        if not isinstance(documents, list) or not all(isinstance(each, Document) for each in documents):
            raise ValueError("documents: a list of haystack's documents is needed")
        if empty := [each.id for each in documents if not (each.content or "").strip()]:
            raise ValueError(f"document {empty[0]!r} has no text; Dowse searches texts")
        unique = {each.id: each for each in documents}
        if policy is not DuplicatePolicy.OVERWRITE:
            known = {each.id for each in self.documents.get(list(unique))}
            if policy is not DuplicatePolicy.SKIP and (known or len(unique) < len(documents)):
                twice = next(iter(known), "") or next(each.id for each in documents if unique[each.id] is not each)
                raise DuplicateDocumentError(f"document {twice!r} exists already, or is given twice")
            unique = {name: each for name, each in unique.items() if name not in known}
        self.documents.put(StoredDocument(each.id, each.content or "", each.meta) for each in unique.values())
        return len(unique)

    def delete_documents(self, document_ids: list[str]) -> None:
        """Delete documents by id; one that is not there is no error."""
        self.documents.delete(document_ids)

    def delete_all_documents(self) -> None:
        """Delete all documents."""
        self.documents.delete_by_filter({})

    def delete_by_filter(self, filters: dict[str, Any]) -> int:
        """Delete all documents that pass a filter and return their number."""
        with _filter_errors():
            return self.documents.delete_by_filter(to_dowse(filters))

    def update_by_filter(self, filters: dict[str, Any], meta: dict[str, Any]) -> int:
        """Set metadata of all documents that pass a filter and return their number; they are encoded anew."""
        with _filter_errors():
            found = list(self.documents.scroll(to_dowse(filters)))
        self.documents.put(replace(each, metadata=each.metadata | meta) for each in found)
        return len(found)

    def count_documents_by_filter(self, filters: dict[str, Any]) -> int:
        """Return the number of documents that pass a filter."""
        with _filter_errors():
            return self.documents.count(to_dowse(filters))

    def get_metadata_fields_info(self) -> dict[str, dict[str, str]]:
        """Return the columns of the index with their types; those that filters can use."""
        return {name: {"type": kind} for name, kind in self.documents.columns().items()}

    def get_metadata_field_min_max(self, metadata_field: str) -> dict[str, Any]:
        """Return the smallest and the greatest value of a column of numbers, dates or times."""
        name = metadata_field.removeprefix("meta.")
        facets = self.documents.dowse.search("a", top_k=1, facets=[{"field": name, "limit": 0}]).facets
        return {"min": facets[name].min, "max": facets[name].max} if facets else {"min": None, "max": None}

    async def count_documents_async(self) -> int:
        """Do what `count_documents` does, in a thread."""
        return await asyncio.to_thread(self.count_documents)

    async def filter_documents_async(self, filters: dict[str, Any] | None = None) -> list[Document]:
        """Do what `filter_documents` does, in a thread."""
        return await asyncio.to_thread(self.filter_documents, filters)

    async def write_documents_async(
        self, documents: list[Document], policy: DuplicatePolicy = DuplicatePolicy.NONE
    ) -> int:
        """Do what `write_documents` does, in a thread."""
        return await asyncio.to_thread(self.write_documents, documents, policy)

    async def delete_documents_async(self, document_ids: list[str]) -> None:
        """Do what `delete_documents` does, in a thread."""
        await asyncio.to_thread(self.delete_documents, document_ids)

    async def delete_all_documents_async(self) -> None:
        """Do what `delete_all_documents` does, in a thread."""
        await asyncio.to_thread(self.delete_all_documents)

    async def delete_by_filter_async(self, filters: dict[str, Any]) -> int:
        """Do what `delete_by_filter` does, in a thread."""
        return await asyncio.to_thread(self.delete_by_filter, filters)

    async def update_by_filter_async(self, filters: dict[str, Any], meta: dict[str, Any]) -> int:
        """Do what `update_by_filter` does, in a thread."""
        return await asyncio.to_thread(self.update_by_filter, filters, meta)

    async def count_documents_by_filter_async(self, filters: dict[str, Any]) -> int:
        """Do what `count_documents_by_filter` does, in a thread."""
        return await asyncio.to_thread(self.count_documents_by_filter, filters)

    async def get_metadata_fields_info_async(self) -> dict[str, dict[str, str]]:
        """Do what `get_metadata_fields_info` does, in a thread."""
        return await asyncio.to_thread(self.get_metadata_fields_info)

    async def get_metadata_field_min_max_async(self, metadata_field: str) -> dict[str, Any]:
        """Do what `get_metadata_field_min_max` does, in a thread."""
        return await asyncio.to_thread(self.get_metadata_field_min_max, metadata_field)


@component
class DowseRetriever:
    """Finds passages for a query.

    Args:
        document_store: the store whose documents are searched.
        top_k: number of documents, at most 100.
        filters: which documents may be returned, as Haystack writes it.
        mode: by meaning and words, or by one of them.
        whole: whether to give whole texts instead of the passages that were found.
        options: further fields of `POST /search`, such as `rerank` or `diversity`.
    """

    def __init__(
        self,
        document_store: DowseDocumentStore,
        *,
        top_k: int = 10,
        filters: dict[str, Any] | None = None,
        mode: Mode = "hybrid",
        whole: bool = False,
        options: dict[str, Any] | None = None,
    ) -> None:
        self.document_store = document_store
        self.top_k, self.filters, self.mode, self.whole = top_k, filters, mode, whole
        self.options = options or {}

    def to_dict(self) -> dict[str, Any]:
        """Return what `from_dict` makes the same component of."""
        description: dict[str, Any] = default_to_dict(
            self,
            document_store=self.document_store.to_dict(),
            top_k=self.top_k,
            filters=self.filters,
            mode=self.mode,
            whole=self.whole,
            options=self.options,
        )
        return description

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Return the component that `to_dict` describes."""
        parameters = data["init_parameters"]
        parameters["document_store"] = DowseDocumentStore.from_dict(parameters["document_store"])
        retriever: Self = default_from_dict(cls, data)
        return retriever

    @component.output_types(documents=list[Document])
    def run(
        self, query: str, filters: dict[str, Any] | None = None, top_k: int | None = None
    ) -> dict[str, list[Document]]:
        """Return the best documents for a query, with their scores.

        Args:
            query: what to look for.
            filters: in place of the component's.
            top_k: in place of the component's.
        """
        condition = to_dowse(self.filters if filters is None else filters)
        with _filter_errors():
            found = self.document_store.documents.search(
                query,
                self.top_k if top_k is None else top_k,
                whole=self.whole,
                **{"mode": self.mode, "filter": condition or None, **self.options},
            )
        return {"documents": [_document(each) for each in found]}

    @component.output_types(documents=list[Document])
    async def run_async(
        self, query: str, filters: dict[str, Any] | None = None, top_k: int | None = None
    ) -> dict[str, list[Document]]:
        """Do what `run` does, in a thread."""
        return await asyncio.to_thread(self.run, query, filters, top_k)


@contextmanager
def _filter_errors() -> Iterator[None]:
    """Raise Haystack's error where the service refuses a filter: it names the columns that there are."""
    try:
        yield
    except problems.InvalidRequest as error:
        if any(".filter" in each.field for each in error.problem.errors or []):
            raise FilterError(str(error)) from error
        raise


def _document(stored: StoredDocument) -> Document:
    return Document(id=stored.id, content=stored.text, meta=stored.metadata, score=stored.score)
