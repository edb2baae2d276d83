"""Dowse in LlamaIndex: a retriever. `pip install './client[llama-index]'`."""

from __future__ import annotations

import asyncio
from typing import Any

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

from dowse_client.client import Dowse
from dowse_client.integrations.documents import EXTRA, Documents


class DowseRetriever(BaseRetriever):
    """Finds passages of the index for a query; a node has the document's id, title and metadata.

    Args:
        url: URL of the service.
        key: API key, where the service needs one.
        client: a client to use in place of a new one.
        top_k: number of passages, at most 100.
        whole: whether to give whole texts instead of the passages that were found.
        extra: the text column for metadata without a column of their own.
        search: further fields of `POST /search`, such as `filter`, `mode` or `rerank`.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        key: str | None = None,
        client: Dowse | None = None,
        top_k: int = 4,
        whole: bool = False,
        extra: str = EXTRA,
        **search: Any,
    ) -> None:
        super().__init__()
        self._documents = Documents(client or Dowse(url, key=key), extra)
        self._top_k, self._whole, self._search = top_k, whole, search

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        found = self._documents.search(query_bundle.query_str, self._top_k, whole=self._whole, **self._search)
        return [
            NodeWithScore(node=TextNode(id_=each.id, text=each.text, metadata=each.metadata), score=each.score)
            for each in found
        ]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._retrieve, query_bundle)
