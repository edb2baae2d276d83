"""Comparison of base and tuned model: both rank the same test queries by the code that serves, under equal conditions."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tales import write_tales
from tests_support import give_query_encoder, make_tiny_model, publish_mapped

from indexer.artifacts.store import Store
from indexer.build.build import build
from indexer.build.settings import BuildSettings
from indexer.index.dense import unit
from indexer.index.index import Index
from indexer.inference.encoder import QUERY_FILE, Encoder
from indexer.inference.passages import encoder_input
from indexer.retrieval.retriever import Retriever
from trainer.adapter.dense_module import with_map
from trainer.adapter.distillation import all_passages
from trainer.adapter.ladder import EncodedQueries
from trainer.adapter.linear_map import apply
from trainer.data.labels import QuerySet
from trainer.evaluate.report import ALL, SYSTEMS, UNSEEN
from trainer.models.artifact import write_model
from trainer.models.load import load_encoder
from trainer.models.onnx import export_onnx
from trainer.pipeline import dataset
from trainer.pipeline.dataset import CLOZE, RunData
from trainer.pipeline.results.comparison import Candidate, compare, published_candidate
from trainer.queries.synthetic import Documents, cloze_queries, keyword_queries

COUNT = 100
HELD = list(range(0, COUNT, 3))
IDENTITY = np.eye(32, dtype=np.float32)
HARMFUL = np.diag(np.array([1, 1, *[0] * 30], dtype=np.float32))
"""Leaves two of 32 dimensions."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Path:
    """A data directory with an index of 100 tales, one passage each."""
    folder = tmp_path_factory.mktemp("comparison")
    data = Path(shutil.copytree(tiny_data, folder / "data"))
    settings = BuildSettings(language="en", dense_weight=0.4, passages="one")
    build(str(write_tales(folder / "tales.parquet", COUNT)), settings, data, cores=1)
    return data


@pytest.fixture(scope="module")
def index(data: Path) -> Index:
    """The index of the tales."""
    return Index.open(Store("index", data).resolve(), cores=1)


@pytest.fixture(scope="module")
def run_data(index: Index, tmp_path_factory: pytest.TempPathFactory) -> RunData:
    """Synthetic queries of both kinds about every third tale."""
    documents = Documents.of(index)
    keywords = keyword_queries(documents, HELD, 1_000, 0)
    dev = keyword_queries(documents, list(range(1, COUNT, 3)), 60, 0)
    folder = tmp_path_factory.mktemp("pool")
    cloze = cloze_queries(index, documents, HELD, folder=folder, count=30, seed=0)
    return RunData(
        documents=documents,
        unlabelled=_encoded(index, QuerySet({}, {})),
        labelled=None,
        dev=_encoded(index, dev),
        tests={
            CLOZE: dataset.TestSet(cloze.queries, _vectors(index, cloze.queries), cloze.index, cloze.ids),
            UNSEEN: dataset.TestSet(keywords, _vectors(index, keywords), index, documents.ids),
        },
        deciding=UNSEEN,
        judged_by="synthetic queries",
        notes=[],
    )


def _vectors(index: Index, queries: QuerySet) -> np.ndarray:
    return unit(index.encoder.encode_queries(list(queries.texts.values())))


def _encoded(index: Index, queries: QuerySet) -> EncodedQueries:
    return EncodedQueries(queries, _vectors(index, queries))


def candidate(data: Path, index: Index, matrix: np.ndarray, folder: Path) -> Candidate:
    """Export the base model with a map behind it."""
    written = write_model(
        with_map(Store("model", data).resolve(), matrix), folder, ["cat", "dog"], int8=True, require_int8=False
    )
    return Candidate(folder, written.encoder, index, apply(matrix, all_passages(index)), matrix)


@pytest.fixture(scope="module")
def same(data: Path, index: Index, tmp_path_factory: pytest.TempPathFactory) -> Candidate:
    """A candidate that is the base itself."""
    return candidate(data, index, IDENTITY, tmp_path_factory.mktemp("same") / "model")


@pytest.fixture(scope="module")
def harmful(data: Path, index: Index, tmp_path_factory: pytest.TempPathFactory) -> Candidate:
    """A candidate that has lost most of its dimensions."""
    return candidate(data, index, HARMFUL, tmp_path_factory.mktemp("harmful") / "model")


# --- vectors --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_matrix", [True, False])
def test_a_pool_has_vectors_of_its_own(index: Index, run_data: RunData, harmful: Candidate, with_matrix: bool) -> None:
    """A pool of documents has the vectors of its own texts in its own order, even if it is as large as the corpus."""
    pool = run_data.tests[CLOZE].index
    assert len(pool.dense) == len(index.dense)
    model = harmful if with_matrix else replace(harmful, matrix=None, _encoders={})
    for documents in (pool, index):
        texts = [encoder_input(documents.document(row).title, documents.document(row).text) for row in range(COUNT)]
        own = unit(harmful.encoder().encode_documents(texts))
        vectors = all_passages(model.retriever(documents).index)
        assert np.einsum("ij,ij->i", own, vectors).min() > 0.999


def test_a_published_model_is_a_candidate(
    data: Path, index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that is a map of the index's model needs no encoding; any other model encodes the corpus."""
    own = Path(shutil.copytree(data, tmp_path / "data"))
    matrix = np.random.default_rng(1).normal(size=(32, 32)).astype(np.float32)
    models = Store("model", own)
    base = models.resolve().name
    tuned = publish_mapped(own, matrix)
    encoded = published_candidate(models, base, index)
    assert np.einsum("ij,ij->i", encoded.passages, all_passages(index)).min() > 0.999
    assert encoded.matrix is None
    monkeypatch.setattr(Encoder, "encode_documents", None)
    mapped = published_candidate(models, tuned.id, index)
    assert np.allclose(mapped.passages, apply(matrix, all_passages(index)), atol=1e-6)
    assert mapped.precision == "fp32"


# --- the figures ----------------------------------------------------------------------------------------------------


def test_a_model_that_is_the_base(index: Index, run_data: RunData, same: Candidate) -> None:
    """A candidate with the same vectors ties with the base on every query, cloze queries included."""
    exact = replace(same, folder=same.folder.parent / "fp32")
    shutil.copytree(same.folder, exact.folder)
    (exact.folder / "onnx" / "model_int8.onnx").unlink()
    comparison = compare(index, run_data, exact, 0)
    for name in (UNSEEN, CLOZE):
        for weight in (0, 0.4, 1):
            assert comparison.tuned[name].metrics(weight) == comparison.base[name].metrics(weight)
    assert comparison.verdict()[0] == "TIE"
    assert comparison.precision == "fp32"
    assert comparison.notes == ["Queries are encoded with 32-bit weights: 8-bit ones would give other vectors."]


def test_a_model_that_has_forgotten(index: Index, run_data: RunData, harmful: Candidate) -> None:
    """A candidate that lost most of its dimensions is a LOSS, with reasons from both groups."""
    comparison = compare(index, run_data, harmful, 0)
    verdict, reasons = comparison.verdict()
    assert verdict == "LOSS"
    assert any(reason.startswith("dense search for key words") and " is worse" in reason for reason in reasons)
    for name in (UNSEEN, CLOZE):
        assert comparison.groups[name].differences["dense"]["nDCG@10"].mean < -0.1


def test_the_groups(index: Index, run_data: RunData, same: Candidate) -> None:
    """Every group has all systems; the deciding one is first; its hybrid figures are those at the compared weights."""
    comparison = compare(index, run_data, same, 0)
    assert list(comparison.groups) == [UNSEEN, CLOZE]
    for name, group in comparison.groups.items():
        assert tuple(group.systems) == SYSTEMS
        assert group.queries == len(run_data.tests[name].queries)
        assert group.systems["BM25"]["nDCG@10"].mean == pytest.approx(comparison.base[name].mean(0))
        assert group.systems["base dense"]["nDCG@10"].mean == pytest.approx(comparison.base[name].mean(1))
        assert group.systems["base hybrid"]["nDCG@10"].mean == pytest.approx(comparison.base[name].mean(0.4))
        assert group.systems["tuned hybrid"]["nDCG@10"].mean == pytest.approx(comparison.tuned[name].mean(0.4))
    assert comparison.weights == (0.4, 0.4)
    assert "found without labels" in comparison.how


def test_with_labels_each_model_has_its_best_weight(index: Index, run_data: RunData, harmful: Candidate) -> None:
    """With labels each model has its best weight on dev: a model with poor vectors gets less of the dense leg."""
    test = run_data.tests[UNSEEN]
    nearest = {
        query: {run_data.documents.ids[Retriever(index).search("", "dense", vector=vector).rows[0]]: 1}
        for query, vector in zip(test.queries.texts, test.vectors, strict=True)
    }
    queries = QuerySet(test.queries.texts, nearest)  # labels that agree with the base's dense leg
    tests = dict.fromkeys((ALL, UNSEEN), dataset.TestSet(queries, test.vectors, index, test.ids))
    labelled = replace(run_data, judged_by="labels", tests=tests, dev=EncodedQueries(queries, test.vectors))
    comparison = compare(index, labelled, harmful, 0)
    assert comparison.weights[0] == comparison.base[UNSEEN].best_weight
    assert comparison.weights[1] < comparison.weights[0]
    assert "for each model" in comparison.how
    assert comparison.groups[UNSEEN].systems["base hybrid"]["nDCG@10"].mean == pytest.approx(
        comparison.base[UNSEEN].mean(comparison.weights[0])
    )
    assert comparison.groups[UNSEEN].systems["tuned hybrid"]["nDCG@10"].mean == pytest.approx(
        comparison.tuned[UNSEEN].mean(comparison.weights[1])
    )


def test_what_is_live_has_to_be_beaten(index: Index, run_data: RunData, same: Candidate, harmful: Candidate) -> None:
    """Where another model is live, the candidate is compared with that one, not with its base."""
    comparison = compare(index, run_data, same, 0, live=replace(same, precision="int8"))
    assert comparison.precision == "int8"
    assert comparison.verdict()[0] == "TIE"
    assert comparison.base[UNSEEN].mean(1) == comparison.tuned[UNSEEN].mean(1)
    assert compare(index, run_data, same, 0, live=harmful).verdict()[0] == "WIN"


# --- 8-bit weights --------------------------------------------------------------------------------------------------


def test_small_weights_for_queries(index: Index, run_data: RunData, same: Candidate) -> None:
    """8-bit weights encode the queries where they cost hardly anything on dev; the tuned figures are measured with them."""
    comparison = compare(index, run_data, same, 0)
    assert comparison.precision == "int8"
    assert comparison.notes[0].startswith("Queries are encoded with 8-bit weights: nDCG@10 on dev, dense search 0.")
    quantised = same.rank("test", index, run_data.tests[UNSEEN].queries, run_data.documents.ids, "int8")
    assert comparison.tuned[UNSEEN].run(1) == quantised.run(1)
    assert comparison.base[UNSEEN].run(1) != quantised.run(1)  # the base keeps its precision


def test_small_weights_that_cost_too_much(
    index: Index, run_data: RunData, same: Candidate, harmful: Candidate, tmp_path: Path
) -> None:
    """8-bit weights that find less on dev are not used, and the note has both figures."""
    folder = Path(shutil.copytree(same.folder, tmp_path / "model"))
    shutil.copy(harmful.folder / "onnx" / "model_int8.onnx", folder / "onnx" / "model_int8.onnx")
    comparison = compare(index, run_data, replace(same, folder=folder, _encoders={}), 0)
    assert comparison.precision == "fp32"
    assert "with 32-bit weights: nDCG@10 on dev, dense search" in comparison.notes[0]
    assert comparison.tuned[UNSEEN].run(1) == comparison.base[UNSEEN].run(1)


# --- the small query encoder ----------------------------------------------------------------------------------------


def with_small(model: Candidate, source: Path, folder: Path) -> Candidate:
    """Return a copy of a candidate that has the graph of ``source`` as its small query encoder."""
    shutil.copytree(model.folder, folder)
    export_onnx(load_encoder(source), folder / QUERY_FILE)
    return replace(model, folder=folder, _encoders={})


def test_a_small_query_encoder_that_is_as_good(
    index: Index, run_data: RunData, same: Candidate, tmp_path: Path
) -> None:
    """A small query encoder that loses nothing is chosen, with 32-bit weights; the tuned figures are measured with it."""
    comparison = compare(index, run_data, with_small(same, same.folder, tmp_path / "model"), 0)
    assert (comparison.query_encoder, comparison.precision) == ("small", "fp32")
    assert len(comparison.notes) == 1
    assert comparison.notes[0].startswith("Queries are encoded by the small query encoder: nDCG@10 with the small one")
    assert "hybrid search +0.0000 [+0.0000, +0.0000], dense search +0.0000" in comparison.notes[0]
    assert comparison.tuned[UNSEEN].run(1) == comparison.base[UNSEEN].run(1)


def test_a_small_query_encoder_that_loses(
    index: Index, run_data: RunData, same: Candidate, harmful: Candidate, tmp_path: Path
) -> None:
    """One that finds less is not chosen; the tuned figures are those of the full one, and the note says what it lost."""
    comparison = compare(index, run_data, with_small(same, harmful.folder, tmp_path / "model"), 0)
    assert comparison.query_encoder == "full"
    assert comparison.notes[0].startswith("Queries are encoded by the full query encoder: nDCG@10 with the small one")
    assert "hybrid search -0." in comparison.notes[0]
    assert comparison.precision == "int8"
    assert comparison.tuned[UNSEEN].run(0.4) == compare(index, run_data, same, 0).tuned[UNSEEN].run(0.4)


def test_cloze_queries_decide_too(
    index: Index, run_data: RunData, same: Candidate, harmful: Candidate, tmp_path: Path
) -> None:
    """One that finds key words and no sentence that was taken out is not chosen."""
    model = with_small(same, harmful.folder, tmp_path / "model")
    full = same.encoder()
    words = set(run_data.dev.queries.texts.values())
    small = model.encoder("fp32", "small")
    lost = small.encode_queries
    small.encode_queries = lambda texts: (full.encode_queries if texts[0] in words else lost)(texts)  # type: ignore[method-assign]
    assert compare(index, run_data, model, 0).query_encoder == "full"


def test_a_live_model_answers_with_its_small_query_encoder(
    index: Index, run_data: RunData, same: Candidate, harmful: Candidate, tmp_path: Path
) -> None:
    """What has to be beaten is what is served: the live model with its small query encoder."""
    live = replace(with_small(same, harmful.folder, tmp_path / "model"), query_encoder="small")
    assert compare(index, run_data, same, 0, live=live).verdict()[0] == "WIN"


def test_a_published_model_with_a_small_query_encoder(data: Path, index: Index, tmp_path: Path) -> None:
    """A published candidate is compared with the query encoder that it is served with."""
    own = Path(shutil.copytree(data, tmp_path / "data"))
    models = Store("model", own)
    give_query_encoder(models.resolve(), make_tiny_model(tmp_path, layers=1))
    assert published_candidate(models, models.resolve().name, index).query_encoder == "small"
    assert published_candidate(Store("model", data), models.resolve().name, index).query_encoder == "full"
