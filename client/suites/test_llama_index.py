"""The retriever in LlamaIndex, which has no suite for them."""

from __future__ import annotations

import asyncio

import pytest
from dowse_client.integrations.documents import Documents, StoredDocument
from dowse_client.integrations.llama_index import DowseRetriever


@pytest.fixture(autouse=True)
def stories(empty):
    """Two documents."""
    Documents(empty).put(
        [
            StoredDocument("a", "The cat sits in the garden.", {"category": "pets", "own": [1]}),
            StoredDocument("b", "The king eats bread.", {"category": "royals", "title": "Bread"}),
        ]
    )


def test_nodes_have_texts_metadata_and_scores(url):
    """The best passage comes first, with its document's id and metadata."""
    nodes = DowseRetriever(url, top_k=2).retrieve("who eats bread?")
    assert [each.node_id for each in nodes] == ["b", "a"]
    assert nodes[0].text == "The king eats bread."
    assert nodes[0].metadata == {"category": "royals", "title": "Bread"}
    assert nodes[1].metadata == {"category": "pets", "own": [1]}
    assert nodes[0].score > nodes[1].score


def test_filters_and_asyncio(url):
    """Fields of `POST /search` are arguments, and asyncio gives the same."""
    retriever = DowseRetriever(url, filter={"must": [{"field": "category", "eq": "pets"}]}, whole=True)
    assert [each.node_id for each in retriever.retrieve("bread")] == ["a"]
    assert [each.node_id for each in asyncio.run(retriever.aretrieve("bread"))] == ["a"]
