"""An opened index: its use with another encoder, and the weights with which it encodes queries."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from stories import STORIES
from tests_support import give_query_encoder, make_tiny_model, publish_mapped

from indexer.artifacts.manifest import write_manifest
from indexer.artifacts.store import Store
from indexer.build.build import build
from indexer.build.settings import BuildSettings
from indexer.errors import UserError
from indexer.index.dense import DenseIndex, unit
from indexer.index.index import Index, open_documents
from indexer.inference.encoder import Encoder
from indexer.retrieval.retriever import Retriever


@pytest.fixture
def index(built_data: Path) -> Index:
    """Return the index of the six stories."""
    return Index.open(Store("index", built_data).resolve(), cores=1)


def test_with_another_encoder(index: Index, data: Path) -> None:
    """Documents and words stay, dense search uses the other encoder; the index itself does not change."""
    matrix = np.random.default_rng(0).normal(size=(32, 32)).astype(np.float32)
    tuned = publish_mapped(data, matrix)
    encoder = Encoder.open(Store("model", data).path(tuned.id), cores=1)
    vectors = unit(index.dense.vectors(np.arange(len(index.dense))) @ matrix.T)
    other = index.with_encoder(encoder, DenseIndex.of(vectors))
    assert len(other) == len(index) == len(STORIES)
    assert other.encoder is encoder is not index.encoder

    shutil.copytree(Path(index.folder).parents[1] / "indexes", data / "indexes")
    corpus = Path(index.folder).parents[1] / "corpus.parquet"
    served = build(str(corpus), BuildSettings(), data, cores=1).manifest
    assert served.parents == {"model": tuned.id}
    expected = Retriever(Index.open(Store("index", data).path(served.id), cores=1))
    before = Retriever(index).search("the cat in the garden", "dense")
    for mode in ("dense", "lexical", "hybrid"):
        measured = Retriever(other).search("the cat in the garden", mode)
        would_serve = expected.search("the cat in the garden", mode)
        assert measured.rows.tolist() == would_serve.rows.tolist()
        assert np.allclose(measured.scores, would_serve.scores, atol=1e-4)
    after = Retriever(index).search("the cat in the garden", "dense")
    assert np.array_equal(before.scores, after.scores)
    assert not np.allclose(before.scores, Retriever(other).search("the cat in the garden", "dense").scores, atol=1e-3)


@pytest.mark.parametrize(("rows", "dimension"), [(5, 32), (6, 31)])
def test_vectors_that_do_not_fit_are_refused(index: Index, rows: int, dimension: int) -> None:
    """Too few vectors for the passages, or vectors too short for the encoder, are refused."""
    with pytest.raises(UserError, match="differ"):
        index.with_encoder(index.encoder, DenseIndex.of(np.ones((rows, dimension), dtype=np.float32)))


def test_all_rows_of_a_column(index: Index) -> None:
    """A table yields its rows in their order, with the named columns alone."""
    rows = list(open_documents(index.folder).rows(["title", "text"]))
    assert rows == [{"title": title, "text": text} for _, title, text in STORIES]


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_weights_for_queries(data: Path, corpus: Path, precision: str) -> None:
    """A tuned model may allow 8-bit weights for queries; passages are still encoded with 32-bit weights."""
    models = Store("model", data)
    folder = models.resolve()
    manifest = models.manifest(folder.name)
    write_manifest(folder, manifest.model_copy(update={"config": manifest.config | {"query_precision": precision}}))
    built = build(str(corpus), BuildSettings(), data, cores=1).manifest
    assert built.config["query_precision"] == precision
    assert built.config["precision"] == "fp32"
    index = Index.open(Store("index", data).path(built.id), cores=1)
    assert index.encoder.precision == precision
    passages = Encoder.open(folder, "fp32", 1).encode_documents(
        [f"{title or ''} {text}".strip() for _, title, text in STORIES]
    )
    assert np.allclose(index.dense.vectors(np.arange(6)), unit(passages), atol=1e-5)


def test_a_small_encoder_for_queries(data: Path, corpus: Path, tmp_path: Path) -> None:
    """An index of a model with a small query encoder is served with it, unless its build says full."""
    models, indexes = Store("model", data), Store("index", data)
    folder = models.resolve()
    give_query_encoder(folder, make_tiny_model(tmp_path, layers=1))
    built = build(str(corpus), BuildSettings(), data, cores=1).manifest
    assert built.config["query_encoder"] == "small"
    small = Index.open(indexes.path(built.id), cores=1)
    full = Encoder.open(folder, cores=1)
    assert np.array_equal(
        small.encoder.encode_query("cat"), Encoder.open(folder, cores=1, query_encoder="small").encode_query("cat")
    )
    assert not np.allclose(small.encoder.encode_query("cat"), full.encode_query("cat"), atol=1e-2)
    assert not build(str(corpus), BuildSettings(), data, cores=1).fresh
    switched = build(str(corpus), BuildSettings(query_encoder="full"), data, cores=1).manifest
    assert switched.config["query_encoder"] == "full"
    assert switched.counts["embedded"] == 0  # the passages' vectors are the same
    exact = Index.open(indexes.path(switched.id), cores=1)
    assert np.array_equal(exact.encoder.encode_query("cat"), full.encode_query("cat"))
    assert np.array_equal(exact.dense.vectors(np.arange(6)), small.dense.vectors(np.arange(6)))


def test_by_default_queries_have_the_weights_of_the_passages(data: Path, corpus: Path) -> None:
    """Queries are encoded with the weights of the passages unless the model says otherwise."""
    built = build(str(corpus), BuildSettings(precision="int8"), data, cores=1).manifest
    assert Index.open(Store("index", data).path(built.id), cores=1).encoder.precision == "int8"
