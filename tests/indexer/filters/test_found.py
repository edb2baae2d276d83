"""What a query finds: its candidates and every document with a word of it, live ones too, and none that is hidden."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from stories import WORDS

from indexer.artifacts.store import Store
from indexer.build.build import build
from indexer.build.settings import BuildSettings
from indexer.cache import owner
from indexer.filters.evaluate import compile_filter, restrict
from indexer.filters.filter import Filter
from indexer.filters.found import documents_found
from indexer.index.index import Index
from indexer.live.prepare import NewDocument, Preparer, apply_writes
from indexer.live.write import Write
from indexer.retrieval.retriever import Retriever

COUNT = 150
EVEN = Filter.model_validate({"must": [{"field": "even", "eq": True}]})


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Index:
    """An index of random texts."""
    data = tmp_path_factory.mktemp("found") / "data"
    shutil.copytree(tiny_data, data)
    rng = random.Random(11)
    columns = {
        "id": [f"d{number:03}" for number in range(COUNT)],
        "text": [" ".join(rng.choices(WORDS[15:], k=12)) for _ in range(COUNT)],
        "even": [number % 2 == 0 for number in range(COUNT)],
    }
    pq.write_table(pa.table(columns), data / "corpus.parquet")
    build(str(data / "corpus.parquet"), BuildSettings(language="en"), data)
    return Index.open(Store("index", data).resolve())


def found(index: Index, query: str, allowed: object = None) -> set[str]:
    """The ids of the documents that a query of five candidates from each leg finds."""
    ranking = Retriever(index).search(query, candidates=5, allowed=allowed)
    documents = documents_found(index, ranking.rows, ranking.expanded.terms, allowed)
    assert documents.count == len(documents.rows)
    candidates = {document.id for document in index.documents(ranking.rows)}
    ids = {document.id for document in index.documents(documents.rows)}
    assert candidates <= ids
    with_word = {
        document.id
        for document in index.documents(np.arange(index.rows))
        if set(query.split()) & set(document.text.split()) and index.row_of(document.id) is not None
    }
    others = ids - with_word
    assert others <= candidates
    return ids


@pytest.mark.parametrize("query", ["castle", "cat river", "storm moon bread"])
def test_candidates_and_documents_with_a_word(index, query):
    """All documents with a word are found, and beside them only candidates; under a filter only those that pass."""
    everything = found(index, query)
    assert len(everything) > 15
    even = found(index, query, compile_filter(EVEN, index))
    assert {name for name in even if int(name[1:]) % 2} == set()
    view = restrict(EVEN, index)
    assert found(view, query) == even


def test_live_documents_are_found_and_deleted_ones_are_not(index):
    """A written document counts where it has a word, also one that no document of the index has; a deleted one is gone."""
    before = found(index, "castle")
    gone = min(before)
    new = [NewDocument("d900", None, "a castle by the sea", {}), NewDocument("d901", None, "nothing", {})]
    preparer = Preparer(index)
    live = apply_writes(index, [Write(1, preparer.recipe, tuple(preparer.prepare(new)), (gone,), "now")])
    after = found(live, "castle")
    assert "d900" in after
    assert gone not in after


def test_nobody_finds_anothers_words_in_the_cache(index):
    """What was kept of one caller's query is computed anew for another: how fast an answer comes tells nothing."""
    calls = []
    matching = index.lexical.matching

    def counted(terms: object) -> np.ndarray:
        calls.append(terms)
        return matching(terms)

    index.lexical.matching = counted
    try:
        for key in ("one", "one", "two"):
            token = owner.set(key)
            found(index, "winter wine")
            owner.reset(token)
    finally:
        del index.lexical.matching
    assert len(calls) == 2
