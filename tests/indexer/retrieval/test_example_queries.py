"""Example queries: each finds its own document first, and none is of a document that is hidden."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from indexer.artifacts.store import Store
from indexer.build.build import build
from indexer.build.settings import BuildSettings
from indexer.filters.evaluate import restrict
from indexer.filters.filter import Filter
from indexer.index.index import Index
from indexer.retrieval.example_queries import example_queries
from indexer.retrieval.retriever import Retriever

TITLES = ["The garden cat", "A river dog", "The sea ship", "The cat", "The castle tower", "A queen"]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Index:
    """An index of six titles, of two owners."""
    data = tmp_path_factory.mktemp("examples") / "data"
    shutil.copytree(tiny_data, data)
    corpus = data / "corpus.parquet"
    columns = {
        "id": list("abcdef"),
        "title": TITLES,
        "text": [f"{title}." for title in TITLES],
        "owner": list("xyxyxy"),
    }
    pq.write_table(pa.table(columns), corpus)
    build(str(corpus), BuildSettings(language="en"), data)
    return Index.open(Store("index", data).resolve())


def test_each_finds_its_own_document_first(index: Index) -> None:
    """Key words of a title, in their order, lead to it; no two examples share a word; the same index gives the same ones."""
    live = Retriever(index)
    queries = example_queries(live, seconds=60)
    assert 1 <= len(queries) <= 3
    for query in queries:
        first = index.document(int(live.search(query).rows[0]))
        assert all(word in (first.title or "").split() for word in query.split())
        assert 2 <= len(query.split()) <= 4
    words = [word for query in queries for word in query.split()]
    assert len(words) == len(set(words))
    assert example_queries(live, seconds=60) == queries


def test_none_is_of_a_hidden_document(index: Index) -> None:
    """A view gives examples of its own documents alone."""
    view = restrict(Filter.model_validate({"must": [{"field": "owner", "eq": "y"}]}), index)
    assert set(example_queries(Retriever(index).with_index(view), seconds=60)) == {"river dog"}
    nothing = restrict(Filter.model_validate({"must": [{"field": "owner", "eq": "z"}]}), index)
    assert example_queries(Retriever(index).with_index(nothing), seconds=60) == []


def test_it_ends_when_the_time_is_over(index: Index) -> None:
    """Without time it returns what it has, which is nothing."""
    assert example_queries(Retriever(index), seconds=-1) == []
