"""What a map learns from: each query's candidates, as the fused ranking or as the labels order them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from tales import write_tales

import trainer.adapter.distillation
from indexer.artifacts.store import Store
from indexer.build.build import build
from indexer.build.settings import BuildSettings
from indexer.index.dense import unit
from indexer.index.index import Index
from indexer.retrieval.retriever import Retriever
from trainer.adapter.distillation import (
    TEACHER_CANDIDATES,
    all_passages,
    best_passages,
    from_fused_ranking,
    from_labels,
)
from trainer.data.labels import QuerySet
from trainer.evaluate.rankings import rank_all

QUERIES = ["the king and the queen", "snow in winter", "storm", "the ship of the sailor in the night", "unknown words"]
COUNT = 70


@pytest.fixture(scope="module")
def retriever(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Retriever:
    """A retriever over 70 tales, most of which have several passages."""
    folder = tmp_path_factory.mktemp("lessons")
    data = Path(shutil.copytree(tiny_data, folder / "data"))
    corpus = write_tales(folder / "tales.parquet", COUNT)
    made = build(str(corpus), BuildSettings(language="en", dense_weight=0.4), data, cores=1).manifest
    return Retriever(Index.open(Store("index", data).path(made.id), cores=2))


@pytest.fixture(scope="module")
def vectors(retriever: Retriever) -> np.ndarray:
    """The unit vectors of the queries."""
    return unit(retriever.index.encoder.encode_queries(QUERIES))


def questions(answers: dict[int, list[int]]) -> QuerySet:
    """Return the queries with these numbers, answered by documents in these rows."""
    return QuerySet(
        {f"q{number}": QUERIES[number] for number in answers},
        {f"q{number}": {f"t{row:03}": 1 for row in rows} for number, rows in answers.items()},
    )


ROWS = {f"t{row:03}": row for row in range(COUNT)}


# --- passages -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 3, 256])
def test_best_passages_is_brute_force(retriever: Retriever, batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """For each query and document it is the document's nearest passage, wherever in the document it stands."""
    monkeypatch.setattr(trainer.adapter.distillation, "BATCH", batch)
    index = retriever.index
    chance = np.random.default_rng(0)
    queries = unit(chance.normal(size=(7, 32)).astype(np.float32))
    documents = np.stack([chance.permutation(COUNT)[:25] for _ in queries])
    passages = all_passages(index)
    found = best_passages(index, queries, passages, documents)
    places = set()
    for query, rows, best in zip(queries, documents, found, strict=True):
        for row, passage in zip(rows, best, strict=True):
            own = range(*index.first_passage[row : row + 2])
            assert passage in own
            assert passages[passage] @ query == pytest.approx((passages[own.start : own.stop] @ query).max(), abs=1e-6)
            places.add(int(passage) - own.start)
    assert places >= {0, 1, 2}


def test_one_passage_a_document(built_data: Path) -> None:
    """Where every document has one passage, that is the best one."""
    index = Index.open(Store("index", built_data).resolve(), cores=1)
    assert len(index) == len(index.dense)
    rows = np.array([[3, 1, 5], [0, 0, 2]])
    assert best_passages(index, np.ones((2, 32), np.float32), all_passages(index), rows).tolist() == rows.tolist()


def test_all_passages(retriever: Retriever) -> None:
    """All vectors of an index, in its order, of unit length."""
    passages = all_passages(retriever.index)
    assert passages.shape == (len(retriever.index.dense), 32)
    assert np.allclose(np.linalg.norm(passages, axis=1), 1, atol=1e-5)
    assert np.array_equal(passages[11:12], retriever.index.dense.vectors(np.array([11])))


def test_many_queries_keep_their_order(
    retriever: Retriever, vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rankings come in the order of the queries, each for its own words and its own vector, over several batches."""
    monkeypatch.setattr(trainer.adapter.distillation, "BATCH", 2)
    rankings = rank_all("test", retriever, QUERIES, vectors)
    assert len(rankings) == len(QUERIES)
    for query, vector, ranking in zip(QUERIES, vectors, rankings, strict=True):
        expected = retriever.search(query, vector=vector)
        assert ranking.query == query
        assert ranking.rows.tolist() == expected.rows.tolist()
        assert np.array_equal(ranking.scores, expected.scores)


# --- the fused teacher ----------------------------------------------------------------------------------------------


def test_the_fused_ranking_teaches(retriever: Retriever, vectors: np.ndarray) -> None:
    """The targets are the softmax of the fused scores of the best fifty, and sum to one; each stands for its document."""
    passages = all_passages(retriever.index)
    lesson = from_fused_ranking(retriever, QUERIES, vectors, passages)
    assert lesson.candidates.shape == lesson.targets.shape == (len(QUERIES), TEACHER_CANDIDATES)
    assert lesson.targets.dtype == np.float32
    assert np.allclose(lesson.targets.sum(1), 1, atol=1e-5)
    assert np.array_equal(lesson.queries, vectors)
    assert np.array_equal(lesson.passages, passages)
    for query, vector, candidates, targets in zip(QUERIES, vectors, lesson.candidates, lesson.targets, strict=True):
        ranking = retriever.search(query)
        odds = np.exp(ranking.scores[:TEACHER_CANDIDATES])
        assert np.allclose(targets, odds / odds.sum(), atol=1e-4)
        assert retriever.index.document_of[candidates].tolist() == ranking.rows[:TEACHER_CANDIDATES].tolist()
        assert ranking.dense is not None
        assert np.allclose(passages[candidates] @ vector, ranking.dense[:TEACHER_CANDIDATES], atol=1e-4)


def test_fewer_documents_than_candidates(built_data: Path) -> None:
    """In a small corpus the missing candidates are left out, and the others still sum to one."""
    small = Retriever(Index.open(Store("index", built_data).resolve(), cores=1))
    vectors = unit(small.index.encoder.encode_queries(QUERIES[:2]))
    lesson = from_fused_ranking(small, QUERIES[:2], vectors, all_passages(small.index))
    assert (lesson.targets[:, 6:] == -1).all()
    assert (lesson.targets[:, :6] > 0).all()
    assert np.allclose(lesson.targets[:, :6].sum(1), 1, atol=1e-5)
    assert all(sorted(row) == list(range(6)) for row in lesson.candidates[:, :6].tolist())


# --- labels ---------------------------------------------------------------------------------------------------------


def learned(retriever: Retriever, asked: QuerySet, vectors: np.ndarray, seed: int = 0) -> list[dict[int, float]]:
    """Return for each query its candidate documents with their targets; none may be there twice."""
    lesson = from_labels(retriever, asked, ROWS, vectors, passages=all_passages(retriever.index), seed=seed)
    assert (
        lesson.candidates.shape
        == lesson.targets.shape
        == (len(asked), trainer.adapter.distillation.HARD_NEGATIVES + trainer.adapter.distillation.RANDOM_NEGATIVES)
    )
    assert np.array_equal(lesson.queries, vectors)
    found = []
    for candidates, targets in zip(lesson.candidates, lesson.targets, strict=True):
        documents = retriever.index.document_of[candidates[targets >= 0]].tolist()
        assert len(set(documents)) == len(documents)
        found.append(dict(zip(documents, targets[targets >= 0].tolist(), strict=True)))
    return found


def test_labels_teach(retriever: Retriever, vectors: np.ndarray) -> None:
    """All answers of a query are equally right, and everything else is wrong, the best of the ranking first of all."""
    answers = {0: [5], 1: [3, 40, 61], 2: [0], 3: [69, 1], 4: [7]}
    for right, targets in zip(answers.values(), learned(retriever, questions(answers), vectors), strict=True):
        assert {row for row, target in targets.items() if target} == set(right)
        assert [targets[row] for row in right] == pytest.approx([1 / len(right)] * len(right))
        assert set(targets) == set(range(COUNT))  # the corpus is small: everything is a rival


def test_rivals_are_the_best_and_some_strangers(
    retriever: Retriever, vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wrong candidates are the best that the query finds, and some drawn by chance; the seed draws."""
    monkeypatch.setattr(trainer.adapter.distillation, "HARD_NEGATIVES", 8)
    monkeypatch.setattr(trainer.adapter.distillation, "RANDOM_NEGATIVES", 4)
    best = retriever.search(QUERIES[0]).rows.tolist()
    asked = questions({0: [best[2]]})
    drawn = []
    for seed in range(5):
        [targets] = learned(retriever, asked, vectors[:1], seed)
        assert set(best[:8]) <= set(targets)
        assert targets[best[2]] == 1
        drawn.append(frozenset(targets) - set(best[:8]))
        assert len(drawn[-1]) <= 4
    assert len(set(drawn)) > 1
    assert learned(retriever, asked, vectors[:1], 3) == learned(retriever, asked, vectors[:1], 3)


def test_more_answers_than_there_is_room(
    retriever: Retriever, vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a query with very many answers some are taken; those that are not are never called wrong."""
    monkeypatch.setattr(trainer.adapter.distillation, "HARD_NEGATIVES", 8)
    monkeypatch.setattr(trainer.adapter.distillation, "RANDOM_NEGATIVES", 4)
    right = sorted(retriever.search(QUERIES[0]).rows[:30].tolist())
    [targets] = learned(retriever, questions({0: right}), vectors[:1])
    chosen = {row for row, target in targets.items() if target}
    assert len(chosen) == 6
    assert chosen <= set(right)
    assert [targets[row] for row in chosen] == pytest.approx([1 / 6] * 6)
    assert not (set(targets) - chosen) & set(right)
