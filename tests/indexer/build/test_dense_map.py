"""Maps for the queries of dense search: the passages and hybrid search stay the base model's."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from tales import write_tales
from tests_support import publish_mapped

from indexer.artifacts.store import Store
from indexer.build.build import build
from indexer.build.settings import BuildSettings
from indexer.index.dense import unit
from indexer.index.index import DENSE_MAP, Index
from indexer.inference.encoder import Encoder
from indexer.retrieval.retriever import Retriever
from trainer.data.labels import QuerySet
from trainer.evaluate.rankings import rank_queries

MATRIX = np.random.default_rng(5).normal(0, 0.4, (32, 32)).astype(np.float32) + np.eye(32, dtype=np.float32)
QUERY = "the king and the storm at sea"


@pytest.fixture(scope="module")
def indexes(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> tuple[Index, Index]:
    """An index of tales with the base model, and one with a model that maps the queries of dense search."""
    folder = tmp_path_factory.mktemp("map")
    data = Path(shutil.copytree(tiny_data, folder / "data"))
    source, settings = str(write_tales(folder / "tales.parquet", 80)), BuildSettings(dense_weight=0.5)
    base = build(source, settings, data, cores=1).manifest
    publish_mapped(data, MATRIX, queries_only=True)
    with pytest.MonkeyPatch.context() as patch:  # the self-check encodes a few passages again
        encoded: list[str] = []
        plain = Encoder.encode_documents

        def spy(encoder: Encoder, texts: list[str], **options: bool) -> np.ndarray:
            encoded.extend(texts)
            return plain(encoder, texts, **options)

        patch.setattr(Encoder, "encode_documents", spy)
        tuned = build(source, settings, data, cores=1).manifest
    assert tuned.counts["embedded"] == 0 < tuned.counts["reused"]
    assert len(encoded) <= 50
    store = Store("index", data)
    return Index.open(store.path(base.id), cores=1), Index.open(store.path(tuned.id), cores=1)


def test_passages_and_hybrid_search_stay(indexes: tuple[Index, Index]) -> None:
    """The vectors are the base's, but for the rounding of their length, and so is every hybrid ranking."""
    base, tuned = indexes
    rows = np.arange(len(base.dense))
    assert np.allclose(base.dense.vectors(rows), tuned.dense.vectors(rows), atol=1e-6)
    before, after = Retriever(base).search(QUERY), Retriever(tuned).search(QUERY)
    assert before.rows.tolist() == after.rows.tolist()
    assert np.allclose(before.scores, after.scores, atol=1e-4)


def test_dense_search_maps_the_query(indexes: tuple[Index, Index]) -> None:
    """Dense search orders by the product of the mapped query and the mapped passage, unless for its length."""
    base, tuned = indexes
    query = tuned.encoder.encode_query(QUERY)
    passages = base.dense.vectors(np.arange(len(base.dense)))
    expected = (MATRIX @ query) @ (MATRIX @ passages.T)
    best = np.maximum.reduceat(expected, base.first_passage[:-1])
    ranking = Retriever(tuned).search(QUERY, "dense", candidates=80)
    assert ranking.rows[:20].tolist() == np.argsort(-best)[:20].tolist()
    assert ranking.rows.tolist() != Retriever(base).search(QUERY, "dense", candidates=80).rows.tolist()
    assert np.allclose(ranking.vector, unit(MATRIX.T @ MATRIX @ query), atol=1e-6)
    assert ranking.dense is not None and ranking.dense.max() <= 1


def test_many_queries_at_once(indexes: tuple[Index, Index]) -> None:
    """Neighbours that are found for many queries are those of the same mode."""
    _, tuned = indexes
    retriever, texts = Retriever(tuned), [QUERY, "a cat sleeps", "the bread and the moon"]
    vectors = tuned.encoder.encode_queries(texts)
    for mode in ("hybrid", "dense"):
        near = retriever.nearest(vectors, mode=mode)
        for text, vector, found in zip(texts, vectors, near, strict=True):
            together = retriever.search(text, mode, vector=vector, neighbours=found)
            assert together.rows.tolist() == retriever.search(text, mode).rows.tolist()


def test_the_map_is_part_of_the_index(indexes: tuple[Index, Index]) -> None:
    """The map is a file of the index, with its checksum in the manifest; the base's index has none."""
    base, tuned = indexes
    assert DENSE_MAP in tuned.manifest.files
    assert DENSE_MAP not in base.manifest.files
    assert (base.manifest.config["dense_map"], tuned.manifest.config["dense_map"]) == (False, True)


def test_evaluation_ranks_each_mode_as_it_is_served(indexes: tuple[Index, Index]) -> None:
    """Dense search is evaluated with mapped queries, hybrid search without, from one call."""
    _, tuned = indexes
    retriever, ids = Retriever(tuned), [tuned.document(row).id for row in range(tuned.rows)]
    vector = tuned.encoder.encode_query(QUERY)[None, :]
    ranked = rank_queries("search", retriever, QuerySet({"q": QUERY}, {"q": {ids[0]: 1}}), ids, vector)
    served = {1.0: retriever.search(QUERY, "dense"), 0.5: retriever.search(QUERY)}
    for weight, ranking in served.items():
        assert ranked.run(weight)["q"][:20] == [ids[row] for row in ranking.rows[:20]]
    assert ranked.run(1.0) != ranked.run(0.5)
