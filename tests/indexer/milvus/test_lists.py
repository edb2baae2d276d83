"""Passages in lists: what a search finds is measured, what it says of what it found is exact, and filters lose nothing."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from milvus_server import MilvusServer
from stories import WORDS

from indexer.artifacts.store import Store
from indexer.build.build import build
from indexer.build.legs.dense_codes import recall_queries
from indexer.build.settings import BuildSettings
from indexer.errors import UserError
from indexer.filters.evaluate import compile_filter
from indexer.filters.filter import Filter
from indexer.index.index import Index
from indexer.inference.encoder import Vectors
from indexer.milvus import index as searched
from indexer.milvus.about import read_about
from indexer.milvus.index import MilvusIndex, Stored
from indexer.milvus.open import open_index
from indexer.milvus.publish import publish_index
from indexer.milvus.recall import efforts, measure
from indexer.milvus.settings import StoreSettings

FILTERS = [
    {"must": [{"field": "rooms", "eq": 3}]},
    {"must_not": [{"field": "price", "gte": 10}]},
    {"must": [{"field": "kind", "in": ["ship", "castle"]}, {"field": "rooms", "lt": 4}]},
    {"must": [{"field": "id", "in": ["d037", "d074"]}]},
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, stored_data: Path) -> Path:
    """The corpus, indexed by codes in lists."""
    folder = tmp_path_factory.mktemp("lists") / "data"
    shutil.copytree(stored_data, folder)
    settings = BuildSettings(language="en", candidates=100, dense="ivf-int8", recall=0.9)
    build(str(folder / "corpus.parquet"), settings, folder)
    return folder


@pytest.fixture(scope="module")
def files(data: Path) -> Index:
    """The index in files, searched exactly."""
    return Index.open(Store("index", data).resolve()).searched_exactly()


@pytest.fixture(scope="module")
def milvus(data: Path, milvus_server: MilvusServer) -> MilvusIndex:
    """The same index in Milvus."""
    store = StoreSettings(store="milvus", uri=milvus_server.uri, alias="lists")
    publish_index(Store("index", data).resolve().name, store, data, lambda index: recall_queries(index, data))
    return open_index(store, data)


def with_effort(milvus: MilvusIndex, nprobe: int) -> MilvusIndex:
    """Return the same index, of which a search reads so many lists."""
    about = read_about(milvus.engine, milvus.names)
    config = about.manifest.config
    config = config | {"dense_index": config["dense_index"] | {"nprobe": nprobe}}
    about = replace(about, manifest=about.manifest.model_copy(update={"config": config}))
    return MilvusIndex(Stored.of(milvus.engine, milvus.names, about), milvus.encoder)


@pytest.fixture(scope="module")
def hasty(milvus: MilvusIndex) -> MilvusIndex:
    """The same index, of which a search reads a single list."""
    return with_effort(milvus, 1)


@pytest.fixture(scope="module")
def vectors(files: Index) -> Vectors:
    """Vectors of queries that the recall was not measured by."""
    return files.encoder.encode_queries([" ".join(WORDS[start : start + 5]) for start in range(0, 60, 2)])


def cosines(index: Index | MilvusIndex, rows: np.ndarray, values: Vectors) -> dict[str, float]:
    """Return cosines by the ids of documents."""
    return {each.id: float(value) for each, value in zip(index.documents(rows), values, strict=True)}


def exact_cosines(files: Index, vector: Vectors) -> dict[str, float]:
    """Return the exact cosine of every document."""
    rows = np.arange(len(files))
    return cosines(files, rows, files.best_passages(vector, rows)[0])


def test_the_effort_reaches_the_recall_that_was_asked_for(files, milvus, vectors):
    """Lists, effort and recall are in the manifest, as Milvus has them; queries of other words find as much."""
    facts = milvus.manifest.config["dense_index"]
    assert milvus.manifest.config["dense"] == "ivf-flat"
    assert 1 < facts["lists"] < len(files.dense)
    assert 1 <= facts["nprobe"] <= facts["lists"]
    assert facts["recall"] >= facts["target"] == 0.9
    assert [point["nprobe"] for point in facts["curve"]] == list(efforts(facts["lists"]))[: len(facts["curve"])]
    found = expected = 0
    for vector in vectors:
        best = files.id_ranks(files.nearest_documents(vector, 10)[0])  # Milvus's numbers of documents
        found += len(np.intersect1d(best, milvus.nearest_documents(vector, 10)[0]))
        expected += len(best)
    assert found >= 0.85 * expected


def test_few_lists_find_less_than_all(milvus, vectors):
    """The measurement can tell efforts apart."""
    lists = milvus.manifest.config["dense_index"]["lists"]
    one, everything = (
        milvus.engine.search(milvus.names.passages, "vector", vectors.tolist(), 10, probes=probes)
        for probes in (1, lists)
    )
    assert sum(hits != best for hits, best in zip(one, everything, strict=True)) > len(vectors) / 4


def test_a_server_that_is_not_exact_over_all_lists_is_refused(files, milvus, vectors):
    """Scores of given documents and results under filters rest on it."""
    too_few = milvus.manifest.config["dense_index"]["lists"] // 8
    with pytest.raises(UserError, match="--dense flat"):
        measure(milvus.engine, milvus.names.passages, files, vectors, too_few)


def test_what_is_found_has_its_exact_cosine(files, hasty, vectors):
    """Documents may be missed, but none has another score than in files."""
    for vector in vectors[:5]:
        expected = exact_cosines(files, vector)
        for identity, value in cosines(hasty, *hasty.nearest_documents(vector, 10)[:2]).items():
            assert value <= expected[identity] + 1e-5  # of the best passage that was found
        rows = np.array(sorted(hasty.row_of(identity) for identity in expected))
        for identity, value in cosines(hasty, rows, hasty.best_passages(vector, rows)[0]).items():
            assert value == pytest.approx(expected[identity], abs=1e-5)


def test_nobody_gets_fewer_results_than_there_are(files, hasty, vectors):
    """A list that holds too few passages makes a search read the others, alone or among many queries."""
    for vector, (rows, _, _) in zip(vectors[:5], hasty.nearest_of_many(vectors[:5], len(files)), strict=True):
        assert len(rows) == len(set(rows.tolist())) == len(files)
        assert len(hasty.nearest_documents(vector, len(files))[0]) == len(files)


@pytest.mark.parametrize("most", [20_000, 0], ids=["few passages", "many passages"])
@pytest.mark.parametrize("condition", FILTERS, ids=str)
def test_a_filter_returns_as_many_as_match(files, hasty, vectors, monkeypatch, condition, most):
    """Where few passages are allowed, the search is exact as well."""
    monkeypatch.setattr(searched, "MAX_EXACT_PASSAGES", most)
    filter_ = Filter.model_validate(condition)
    expected, allowed = compile_filter(filter_, files), compile_filter(filter_, hasty)
    for vector in vectors[:3]:
        for depth in (5, len(files)):
            nearest, found = (
                files.nearest_documents(vector, depth, expected),
                hasty.nearest_documents(vector, depth, allowed),
            )
            assert len(found[0]) == len(nearest[0]) == min(depth, expected.count)
            if most:
                assert np.allclose(found[1], nearest[1], atol=1e-5)


def test_few_allowed_passages_are_searched_exactly(files, milvus, vectors, monkeypatch):
    """All lists are read for them, even where the nearest ones hold enough of them; for many, more are than without."""
    quick, filter_ = with_effort(milvus, 16), Filter.model_validate({"must_not": [{"field": "rooms", "eq": 3}]})
    expected, allowed = compile_filter(filter_, files), compile_filter(filter_, quick)

    def missed() -> int:
        pairs = [
            (files.nearest_documents(each, 1, expected), quick.nearest_documents(each, 1, allowed)) for each in vectors
        ]
        return sum(abs(float(best[1][0]) - float(found[1][0])) > 1e-5 for best, found in pairs)

    assert missed() == 0
    monkeypatch.setattr(searched, "MAX_EXACT_PASSAGES", 0)
    monkeypatch.setattr(searched, "FILTER_SLACK", 1 / 16)
    assert missed() > 0


def test_an_index_of_exact_kind_stays_exact(stored_data, published):
    """`flat` in files is FLAT in Milvus, and its manifest says so."""
    config = open_index(published, stored_data).manifest.config
    assert config["dense"] == "flat"
    assert "nprobe" not in config["dense_index"]
