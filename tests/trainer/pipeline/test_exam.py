"""The exam: both models answer the same questions through the code that serves, and nothing flatters either."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tales import write_tales
from tests_support import publish_mapped

from indexer.artifacts.store import Store
from indexer.build.build import build
from indexer.build.settings import BuildSettings
from indexer.index.dense import unit
from indexer.index.index import Index
from indexer.inference.encoder import Encoder
from indexer.inference.passages import encoder_input
from indexer.retrieval.retriever import Retriever
from trainer.adapter.dense_module import with_map
from trainer.adapter.distillation import all_passages
from trainer.adapter.ladder import EncodedQueries
from trainer.adapter.linear_map import apply
from trainer.data.labels import QuerySet
from trainer.evaluate.report import ALL, SYSTEMS, UNSEEN
from trainer.models.artifact import write_model
from trainer.pipeline import dataset as materials
from trainer.pipeline.dataset import TAKEN_OUT, RunData
from trainer.pipeline.exam import Candidate, compare, published
from trainer.queries.synthetic import Documents, cloze_queries, keyword_queries

COUNT = 100
HELD = list(range(0, COUNT, 3))
IDENTITY = np.eye(32, dtype=np.float32)
HARMFUL = np.diag(np.array([1, 1, *[0] * 30], dtype=np.float32))
"""Leaves two of 32 dimensions."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Path:
    """A data directory with an index of 100 tales, one passage each."""
    folder = tmp_path_factory.mktemp("measured")
    data = Path(shutil.copytree(tiny_data, folder / "data"))
    settings = BuildSettings(language="en", dense_weight=0.4, passages="one")
    build(str(write_tales(folder / "tales.parquet", COUNT)), settings, data, cores=1)
    return data


@pytest.fixture(scope="module")
def index(data: Path) -> Index:
    """The index of the tales."""
    return Index.open(Store("index", data).resolve(), cores=1)


@pytest.fixture(scope="module")
def material(index: Index, tmp_path_factory: pytest.TempPathFactory) -> RunData:
    """Synthetic questions of both kinds about every third tale."""
    documents = Documents.of(index)
    asked = keyword_queries(documents, HELD, 1_000, 0)
    dev = keyword_queries(documents, list(range(1, COUNT, 3)), 60, 0)
    folder = tmp_path_factory.mktemp("pool")
    cloze = cloze_queries(index, documents, HELD, folder=folder, count=30, seed=0)
    return RunData(
        documents=documents,
        practice=_asked(index, QuerySet({}, {})),
        supervised=None,
        dev=_asked(index, dev),
        tests={
            TAKEN_OUT: materials.TestSet(cloze.queries, _vectors(index, cloze.queries), cloze.index, cloze.ids),
            UNSEEN: materials.TestSet(asked, _vectors(index, asked), index, documents.ids),
        },
        deciding=UNSEEN,
        judged_by="synthetic queries",
        notes=[],
    )


def _vectors(index: Index, asked: QuerySet) -> np.ndarray:
    return unit(index.encoder.encode_queries(list(asked.texts.values())))


def _asked(index: Index, asked: QuerySet) -> EncodedQueries:
    return EncodedQueries(asked, _vectors(index, asked))


def candidate(data: Path, index: Index, matrix: np.ndarray, folder: Path) -> Candidate:
    """Export the base model with a map behind it."""
    written = write_model(
        with_map(Store("model", data).resolve(), matrix), folder, ["cat", "dog"], int8=True, insist=False
    )
    return Candidate(folder, written.encoder, index, apply(matrix, all_passages(index)), matrix)


@pytest.fixture(scope="module")
def same(data: Path, index: Index, tmp_path_factory: pytest.TempPathFactory) -> Candidate:
    """A candidate that is the base itself."""
    return candidate(data, index, IDENTITY, tmp_path_factory.mktemp("same") / "model")


@pytest.fixture(scope="module")
def harmful(data: Path, index: Index, tmp_path_factory: pytest.TempPathFactory) -> Candidate:
    """A candidate that has forgotten most."""
    return candidate(data, index, HARMFUL, tmp_path_factory.mktemp("harmful") / "model")


# --- whose vectors --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_matrix", [True, False])
def test_a_pool_has_vectors_of_its_own(index: Index, material: RunData, harmful: Candidate, with_matrix: bool) -> None:
    """Of a pool of documents the vectors are those of its own texts in its own order, though it is as large as the corpus."""
    pool = material.tests[TAKEN_OUT].index
    assert len(pool.dense) == len(index.dense)
    model = harmful if with_matrix else replace(harmful, matrix=None, _encoders={})
    for each in (pool, index):
        texts = [encoder_input(each.document(row).title, each.document(row).text) for row in range(COUNT)]
        own = unit(harmful.encoder().encode_documents(texts))
        vectors = all_passages(model.retriever(each).index)
        assert np.einsum("ij,ij->i", own, vectors).min() > 0.999


def test_a_published_model_is_a_candidate(
    data: Path, index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model with a map of the index's own is taken over without encoding; any other model encodes the corpus."""
    own = Path(shutil.copytree(data, tmp_path / "data"))
    matrix = np.random.default_rng(1).normal(size=(32, 32)).astype(np.float32)
    models = Store("model", own)
    base = models.resolve().name
    tuned = publish_mapped(own, matrix)
    encoded = published(models, base, index)
    assert np.einsum("ij,ij->i", encoded.passages, all_passages(index)).min() > 0.999
    assert encoded.matrix is None
    monkeypatch.setattr(Encoder, "encode_documents", None)
    mapped = published(models, tuned.id, index)
    assert np.allclose(mapped.passages, apply(matrix, all_passages(index)), atol=1e-6)
    assert mapped.precision == "fp32"


# --- the figures ----------------------------------------------------------------------------------------------------


def test_a_model_that_is_the_base(index: Index, material: RunData, same: Candidate) -> None:
    """A candidate with the same vectors ties with the base on every question, taken-out sentences included."""
    exact = replace(same, folder=same.folder.parent / "fp32")
    shutil.copytree(same.folder, exact.folder)
    (exact.folder / "onnx" / "model_int8.onnx").unlink()
    exam = compare(index, material, exact, 0)
    for name in (UNSEEN, TAKEN_OUT):
        for weight in (0, 0.4, 1):
            assert exam.tuned[name].metrics(weight) == exam.base[name].metrics(weight)
    assert exam.verdict()[0] == "TIE"
    assert exam.precision == "fp32"
    assert exam.notes == ["Queries are encoded with 32-bit weights: 8-bit ones would give other vectors."]


def test_a_model_that_has_forgotten(index: Index, material: RunData, harmful: Candidate) -> None:
    """A candidate that lost most of its dimensions is a LOSS, and both groups say why."""
    exam = compare(index, material, harmful, 0)
    verdict, reasons = exam.verdict()
    assert verdict == "LOSS"
    assert any(reason.startswith("dense search is worse") for reason in reasons)
    for name in (UNSEEN, TAKEN_OUT):
        assert exam.groups[name].differences["dense"]["nDCG@10"].mean < -0.1


def test_the_groups(index: Index, material: RunData, same: Candidate) -> None:
    """Every group has all systems; the deciding one is first; its hybrid figures are those at the weights of the exam."""
    exam = compare(index, material, same, 0)
    assert list(exam.groups) == [UNSEEN, TAKEN_OUT]
    for name, group in exam.groups.items():
        assert tuple(group.systems) == SYSTEMS
        assert group.queries == len(material.tests[name].queries)
        assert group.systems["BM25"]["nDCG@10"].mean == pytest.approx(exam.base[name].mean(0))
        assert group.systems["base dense"]["nDCG@10"].mean == pytest.approx(exam.base[name].mean(1))
        assert group.systems["base hybrid"]["nDCG@10"].mean == pytest.approx(exam.base[name].mean(0.4))
        assert group.systems["tuned hybrid"]["nDCG@10"].mean == pytest.approx(exam.tuned[name].mean(0.4))
    assert exam.weights == (0.4, 0.4)
    assert "found without labels" in exam.how


def test_with_labels_each_model_has_its_best_weight(index: Index, material: RunData, harmful: Candidate) -> None:
    """With labels the weight is the best on dev for each model: one that hardly sees gets less of the dense leg."""
    test = material.tests[UNSEEN]
    nearest = {
        query: {material.documents.ids[Retriever(index).search("", "dense", vector=vector).rows[0]]: 1}
        for query, vector in zip(test.queries.texts, test.vectors, strict=True)
    }
    asked = QuerySet(test.queries.texts, nearest)  # labels that agree with the base's dense leg
    exams = dict.fromkeys((ALL, UNSEEN), materials.TestSet(asked, test.vectors, index, test.ids))
    labelled = replace(material, judged_by="labels", tests=exams, dev=EncodedQueries(asked, test.vectors))
    exam = compare(index, labelled, harmful, 0)
    assert exam.weights[0] == exam.base[UNSEEN].best_weight
    assert exam.weights[1] < exam.weights[0]
    assert "for each model" in exam.how
    assert exam.groups[UNSEEN].systems["base hybrid"]["nDCG@10"].mean == pytest.approx(
        exam.base[UNSEEN].mean(exam.weights[0])
    )
    assert exam.groups[UNSEEN].systems["tuned hybrid"]["nDCG@10"].mean == pytest.approx(
        exam.tuned[UNSEEN].mean(exam.weights[1])
    )


def test_what_is_live_has_to_be_beaten(index: Index, material: RunData, same: Candidate, harmful: Candidate) -> None:
    """Where another model is live, the candidate is compared with that one: what it was started from says nothing."""
    exam = compare(index, material, same, 0, live=replace(same, precision="int8"))
    assert exam.precision == "int8"
    assert exam.verdict()[0] == "TIE"
    assert exam.base[UNSEEN].mean(1) == exam.tuned[UNSEEN].mean(1)
    assert compare(index, material, same, 0, live=harmful).verdict()[0] == "WIN"


# --- 8-bit weights --------------------------------------------------------------------------------------------------


def test_small_weights_for_queries(index: Index, material: RunData, same: Candidate) -> None:
    """8-bit weights encode the queries where that costs hardly anything on dev; the tuned figures are measured with them."""
    exam = compare(index, material, same, 0)
    assert exam.precision == "int8"
    assert exam.notes[0].startswith("Queries are encoded with 8-bit weights: nDCG@10 on dev, dense search 0.")
    small = same.answers("test", index, material.tests[UNSEEN].queries, material.documents.ids, "int8")
    assert exam.tuned[UNSEEN].run(1) == small.run(1)
    assert exam.base[UNSEEN].run(1) != small.run(1)  # those of the base are what they are live


def test_small_weights_that_cost_too_much(
    index: Index, material: RunData, same: Candidate, harmful: Candidate, tmp_path: Path
) -> None:
    """8-bit weights that find less on dev are not used, and the note has both figures."""
    folder = Path(shutil.copytree(same.folder, tmp_path / "model"))
    shutil.copy(harmful.folder / "onnx" / "model_int8.onnx", folder / "onnx" / "model_int8.onnx")
    exam = compare(index, material, replace(same, folder=folder, _encoders={}), 0)
    assert exam.precision == "fp32"
    assert "with 32-bit weights: nDCG@10 on dev, dense search" in exam.notes[0]
    assert exam.tuned[UNSEEN].run(1) == exam.base[UNSEEN].run(1)
