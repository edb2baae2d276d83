"""LangChain's standard tests of vector stores, retrievers and embeddings, and what they leave out."""

from __future__ import annotations

import pytest
from dowse_client import problems
from dowse_client.integrations.langchain import DowseEmbeddings, DowseRetriever, DowseVectorStore
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_tests.integration_tests import (
    EmbeddingsIntegrationTests,
    RetrieversIntegrationTests,
    VectorStoreIntegrationTests,
)

STORIES = [
    Document(id="a", page_content="The cat sits in the garden.", metadata={"category": "pets", "year": 2020}),
    Document(id="b", page_content="The dog runs by the river.", metadata={"category": "pets", "year": 2021}),
    Document(id="c", page_content="The king eats bread.", metadata={"category": "royals", "tags": ["old", None]}),
    Document(id="d", page_content="The queen sings.", metadata={"category": "royals", "title": "A song"}),
]


@pytest.fixture(autouse=True)
def environment(request, empty, url):
    """An empty service for each test, and its URL for the classes below."""
    if request.cls:
        request.cls.url = url
    return empty


class TestVectorStore(VectorStoreIntegrationTests):
    """The vector store: 24 tests."""

    @pytest.fixture
    def vectorstore(self, url):
        """An empty store."""
        return DowseVectorStore(url)


class TestEmbeddings(EmbeddingsIntegrationTests):
    """The embeddings."""

    @property
    def embeddings_class(self):
        """The class under test."""
        return DowseEmbeddings

    @property
    def embedding_model_params(self):
        """Its arguments."""
        return {"url": self.url}


class TestRetriever(RetrieversIntegrationTests):
    """The retriever, over four documents."""

    @pytest.fixture(autouse=True)
    def stories(self, environment, url):
        """The documents to find."""
        del environment
        DowseVectorStore(url).add_documents(STORIES)

    @property
    def retriever_constructor(self):
        """The class under test."""
        return DowseRetriever

    @property
    def retriever_constructor_params(self):
        """Its arguments."""
        return {"url": self.url}

    @property
    def retriever_query_example(self):
        """A query."""
        return "who eats bread?"


def test_metadata_come_back_as_they_were(url):
    """With a column of their own or without one, nested, null, and a title."""
    store = DowseVectorStore.from_texts(
        ["The ship at sea."], metadatas=[{"year": 3, "nested": {"a": [1, None]}, "title": "Sea", "none": None}], url=url
    )
    (found,) = store.similarity_search("ship")
    assert found.metadata == {"year": 3, "nested": {"a": [1, None]}, "title": "Sea", "none": None}


def test_searches_have_filters_scores_and_diversity(url):
    """Fields of `POST /search` are arguments; a refused one is the service's problem."""
    store = DowseVectorStore(url)
    store.add_documents(STORIES)
    royals = {"must": [{"field": "category", "eq": "royals"}]}
    assert {each.id for each in store.similarity_search("animals", filter=royals)} == {"c", "d"}
    scored = store.similarity_search_with_score("who eats bread?", k=4)
    assert [score for _, score in scored] == sorted((score for _, score in scored), reverse=True)
    assert scored[0][0].id == "c"
    assert len(store.max_marginal_relevance_search("who eats bread?", k=3)) == 3
    retriever = DowseRetriever(url=url, filter=royals, k=4, options={"explain": True})
    assert {each.id for each in retriever.invoke("animals")} == {"c", "d"}
    assert retriever.invoke("bread")[0].metadata["score"] > 0
    with pytest.raises(problems.InvalidRequest, match="no field 'nope'"):
        store.similarity_search("a", filter={"must": [{"field": "nope", "eq": 1}]})


def test_a_retriever_gives_passages_or_whole_texts(url):
    """A long document is found by one of its passages; `whole` gives all of it."""
    text = " ".join(f"Sentence number {number} is about nothing." for number in range(200)) + " The zebra is striped."
    DowseVectorStore(url).add_texts([text], ids=["long"])
    (passage,) = DowseRetriever(url=url).invoke("striped zebra")
    assert "zebra" in passage.page_content
    assert len(passage.page_content) < len(text)
    (whole,) = DowseRetriever(url=url, whole=True).invoke("striped zebra")
    assert whole.page_content == text


def test_more_documents_than_one_request_takes(url):
    """Writing, reading and deleting go on over several requests."""
    store = DowseVectorStore(url)
    ids = [f"n{number}" for number in range(300)]
    assert store.add_texts(["word"] * 300, ids=ids) == ids
    assert [each.id for each in store.get_by_ids(ids[::-1])] == ids[::-1]
    store.delete(ids[:299])
    assert [each.id for each in store.similarity_search("word", k=100)] == ["n299"]
    store.delete()
    assert store.get_by_ids(ids) == []


def test_another_model_is_refused():
    """The service makes the vectors: other embeddings are an error, not silently ignored."""
    with pytest.raises(ValueError, match="encodes with the model of its index"):
        DowseVectorStore.from_texts(["a"], DeterministicFakeEmbedding(size=6))
