"""A cross-encoder as teacher: what it scores in its time, and what its scores change in the targets."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tales import write_tales
from tiny_reranker import make_tiny_reranker

import trainer.adapter.teacher
from indexer.artifacts.store import Store
from indexer.errors import UserError
from indexer.index.dense import unit
from indexer.index.index import Index
from indexer.retrieval.retriever import Retriever
from trainer.adapter.distillation import TEACHER_CANDIDATES, all_passages, from_fused_ranking
from trainer.adapter.teacher import Teacher, mixed_targets
from trainer.evaluate.rankings import rank_all
from trainer.pipeline.run import run
from trainer.pipeline.settings import RunSettings

QUERIES = ["the dog eats bread", "a storm at sea", "the cat in the garden"]


class CrossEncoder:
    """Scores a passage by its length, each query in a second of a clock of its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.queries: list[str] = []
        monkeypatch.setattr(trainer.adapter.teacher.time, "monotonic", lambda: float(len(self.queries)))

    def score(self, query: str, passages: Sequence[str]) -> SimpleNamespace:
        """Return the scores as the published cross-encoder does."""
        self.queries.append(query)
        return SimpleNamespace(scores=np.array([len(passage) for passage in passages], dtype=np.float32))


@pytest.fixture
def retriever(built_data: Path) -> Retriever:
    """A retriever over the six stories."""
    return Retriever(Index.open(Store("index", built_data).resolve(), cores=1))


def test_the_time_decides_how_many_queries_are_scored(
    monkeypatch: pytest.MonkeyPatch, retriever: Retriever, tmp_path: Path
) -> None:
    """The first queries are scored, as many as the time allows; a second start keeps their number and scores none."""
    vectors = unit(retriever.index.encoder.encode_queries(QUERIES))
    rankings = rank_all("rank", retriever, QUERIES, vectors)
    scores = Teacher(CrossEncoder(monkeypatch), 2.5, tmp_path).score(retriever, rankings, 4)
    assert scores.shape == (2, 4)
    again = CrossEncoder(monkeypatch)
    assert np.array_equal(Teacher(again, 100.0, tmp_path).score(retriever, rankings, 4), scores)
    assert again.queries == []


def test_its_scores_are_mixed_into_the_targets(
    monkeypatch: pytest.MonkeyPatch, retriever: Retriever, tmp_path: Path
) -> None:
    """A scored query has other probabilities, which still add up to 1; one that is not scored has those of before."""
    vectors, passages = unit(retriever.index.encoder.encode_queries(QUERIES)), all_passages(retriever.index)
    plain = from_fused_ranking(retriever, QUERIES, vectors, passages)
    teacher = Teacher(CrossEncoder(monkeypatch), 2.5, tmp_path)
    taught = from_fused_ranking(retriever, QUERIES, vectors, passages, teacher)
    assert np.array_equal(taught.candidates, plain.candidates)
    assert np.array_equal(taught.targets[2], plain.targets[2])
    for row in range(2):
        kept = plain.targets[row] >= 0
        assert np.array_equal(taught.targets[row] >= 0, kept)
        assert taught.targets[row][kept].sum() == pytest.approx(1)
        assert not np.allclose(taught.targets[row][kept], plain.targets[row][kept])


def test_mixed_targets_are_as_sharp_as_the_fused_scores() -> None:
    """Scores of any scale count by their order and distances alone; the better half of both is first."""
    fused = np.array([2.0, 1.0, 0.0, -1.0])
    same = mixed_targets(fused, (1000 * fused + 7).astype(np.float32))
    assert same == pytest.approx(fused)
    assert mixed_targets(fused, None) is fused
    turned = mixed_targets(fused, np.array([0, 0, 0, 9], dtype=np.float32))
    assert turned[3] > turned[2]
    assert turned.mean() == pytest.approx(fused.mean())


def test_a_run_with_a_teacher(tmp_path: Path, skewed_data: Path, tiny_model: Path) -> None:
    """The run exports the cross-encoder, tries a rung with it, and names it; without one a rung is missing."""
    data = Path(shutil.copytree(skewed_data, tmp_path / "data"))
    corpus = write_tales(tmp_path / "tales.parquet", 80)
    teacher = make_tiny_reranker(tiny_model, tmp_path / "teacher")
    settings = RunSettings(language="en", budget="20s", teacher=str(teacher))
    outcome = run(str(corpus), settings, data)
    assert outcome.manifest.config["teacher"] == str(teacher)
    assert "teacher" in {entry.name for entry in outcome.manifest.inputs}
    folder = next((data / "training").glob("*/teacher.f32")).parent
    rows = int((folder / "teacher.count").read_text())
    assert (folder / "teacher.f32").stat().st_size == rows * TEACHER_CANDIDATES * 4
    assert not run(str(corpus), settings, data).fresh
    (teacher / "config.json").write_text((teacher / "config.json").read_text() + "\n")
    changed = run(str(corpus), settings, data)
    assert changed.fresh, "another cross-encoder under the same name is another run"


def test_a_teacher_that_does_not_exist_is_refused_at_once(tmp_path: Path, skewed_data: Path) -> None:
    """Before the corpus is read: no model is published, no index is built."""
    with pytest.raises(UserError, match="no directory"):
        run(str(tmp_path / "none.parquet"), RunSettings(teacher="./nowhere"), skewed_data)
