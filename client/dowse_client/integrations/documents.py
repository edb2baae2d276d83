"""Documents of a service, as frameworks keep them: with metadata of any names, in any number.

An index has columns with types, and a framework has dictionaries. Metadata that have a column of the index are kept
there, and filters find them. All others are kept as JSON in one text column, `extra` by default; without that column
the service refuses them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

from pydantic_core import to_json

from dowse_client.client import Dowse

EXTRA = "extra"
"""Text column for metadata without a column of their own."""
MAX_PUT = 256
MAX_CHARACTERS = 2_000_000
"""Of the texts in one request: in bytes they are fewer than a service accepts by default."""
MAX_IDS = 256
Item = TypeVar("Item")


@dataclass(frozen=True)
class StoredDocument:
    """One document of the index.

    Attributes:
        id: id of the document.
        text: the whole text, or the passage that was found.
        metadata: as the framework has them; a title is among them.
        score: of a search, or its relevance where that stands in place of a fused score; None for a document that was read.
        relevance: probability that it answers; None where the index has no calibration.
    """

    id: str
    text: str
    metadata: dict[str, Any] = field(default_factory=dict)
    score: float | None = None
    relevance: float | None = None


class Documents:
    """Reads, writes and searches the documents of one service.

    Args:
        dowse: the client.
        extra: the text column for metadata without a column of their own.
    """

    def __init__(self, dowse: Dowse, extra: str = EXTRA) -> None:
        self.dowse = dowse
        self._extra = extra

    def columns(self) -> dict[str, str]:
        """Return the metadata columns of the live index and their types, without the one for all other metadata."""
        index = self.dowse.info().index
        return {name: kind for name, kind in (index.metadata if index else {}).items() if name != self._extra}

    def put(self, documents: Iterable[StoredDocument]) -> None:
        """Add documents, or replace those with the same ids; each request is written whole or not at all."""
        index = self.dowse.info().index
        known = index.metadata if index else {}
        batch: list[dict[str, Any]] = []
        characters = 0
        for document in documents:
            if batch and (len(batch) == MAX_PUT or characters + len(document.text) > MAX_CHARACTERS):
                self.dowse.put_documents(batch)
                batch, characters = [], 0
            batch.append({"id": document.id, "text": document.text, **self._split(document.metadata, known)})
            characters += len(document.text)
        if batch:
            self.dowse.put_documents(batch)

    def get(self, ids: Sequence[str]) -> list[StoredDocument]:
        """Return the documents of these ids in their order, without those that the index does not have."""
        found = []
        for some in batches(dict.fromkeys(ids), MAX_IDS):
            wanted = some
            while wanted:
                answer = self.dowse.fetch_documents(ids=wanted)
                found += [self._stored(document) for document in answer.documents]
                wanted = [] if answer.next is None else wanted[wanted.index(answer.next) :]
        return found

    def scroll(self, filter: Mapping[str, Any] | None = None) -> Iterator[StoredDocument]:  # noqa: A002 - the API's word
        """Yield all documents that pass a filter, in the order of their ids."""
        after: str | None = None
        while True:
            answer = self.dowse.fetch_documents(filter=filter, after=after)
            yield from map(self._stored, answer.documents)
            if (after := answer.next) is None:
                return

    def count(self, filter: Mapping[str, Any] | None = None) -> int:  # noqa: A002
        """Return the number of documents that pass a filter."""
        return self.dowse.fetch_documents(filter=filter, limit=0).matches

    def delete(self, ids: Sequence[str]) -> None:
        """Delete the documents of these ids; one that is not there is no error."""
        for some in batches(dict.fromkeys(ids), MAX_IDS):
            self.delete_by_filter({"must": [{"field": "id", "in": some}]})

    def delete_by_filter(self, filter: Mapping[str, Any]) -> int:  # noqa: A002
        """Delete all documents that pass a filter and return their number."""
        deleted = 0
        while True:
            answer = self.dowse.delete_by_filter(filter)
            deleted += answer.deleted
            if not answer.remaining:
                return deleted

    def search(self, query: str, top_k: int, *, whole: bool, **search: Any) -> list[StoredDocument]:
        """Return the best documents of a search, at most a hundred; none for a query of blanks.

        Args:
            query: what to look for.
            top_k: number of documents.
            whole: whether to give whole texts, which takes a second request, instead of the passages that were found.
            search: further fields of `POST /search`.
        """
        if not query.strip() or top_k < 1:
            return []
        results = self.dowse.search(query, top_k=min(top_k, 100), **search).results
        texts = {document.id: document.text for document in self.get([each.id for each in results])} if whole else {}
        return [
            StoredDocument(
                result.id,
                texts.get(result.id, result.text),
                self._metadata(result.title, result.metadata),
                result.relevance if result.score is None else result.score,
                result.relevance,
            )
            for result in results
        ]

    def _split(self, metadata: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
        """Return title and metadata of a document as `PUT /documents` takes them."""
        title = metadata.get("title")
        if "title" in columns or not (isinstance(title, str) and title):
            title = None
        own = {
            name: value
            for name, value in metadata.items()
            if name in columns and name != self._extra and value is not None
        }
        others = {
            name: value for name, value in metadata.items() if name not in own and not (name == "title" and title)
        }
        kept = own | ({self._extra: to_json(others).decode()} if others else {})
        return {"metadata": kept} | ({"title": title} if title else {})

    def _stored(self, document: Any) -> StoredDocument:
        return StoredDocument(document.id, document.text, self._metadata(document.title, document.metadata))

    def _metadata(self, title: str | None, metadata: Mapping[str, Any]) -> dict[str, Any]:
        own = {name: value for name, value in metadata.items() if value is not None and name != self._extra}
        others: dict[str, Any] = json.loads(metadata.get(self._extra) or "{}")
        return ({"title": title} if title else {}) | own | others


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yield lists of at most ``size`` items."""
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch
