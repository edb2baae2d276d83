"""Training examples of a map: candidates of each query, with targets of the fused ranking or of the labels."""

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
    folder = tmp_path_factory.mktemp("distillation")
    data = Path(shutil.copytree(tiny_data, folder / "data"))
    corpus = write_tales(folder / "tales.parquet", COUNT)
    manifest = build(str(corpus), BuildSettings(language="en", dense_weight=0.4), data, cores=1).manifest
    return Retriever(Index.open(Store("index", data).path(manifest.id), cores=2))


@pytest.fixture(scope="module")
def vectors(retriever: Retriever) -> np.ndarray:
    """The unit vectors of the queries."""
    return unit(retriever.index.encoder.encode_queries(QUERIES))


def make_queries(answers: dict[int, list[int]]) -> QuerySet:
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
    rng = np.random.default_rng(0)
    queries = unit(rng.normal(size=(7, 32)).astype(np.float32))
    documents = np.stack([rng.permutation(COUNT)[:25] for _ in queries])
    passages = all_passages(index)
    nearest = best_passages(index, queries, passages, documents)
    offsets = set()
    for query, rows, best in zip(queries, documents, nearest, strict=True):
        for row, passage in zip(rows, best, strict=True):
            candidates = range(*index.first_passage[row : row + 2])
            assert passage in candidates
            assert passages[passage] @ query == pytest.approx(
                (passages[candidates.start : candidates.stop] @ query).max(), abs=1e-6
            )
            offsets.add(int(passage) - candidates.start)
    assert offsets >= {0, 1, 2}


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
    """Rankings come in the order of the queries, each for its candidates words and its candidates vector, over several batches."""
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
    """Targets are the softmax of the fused scores of the best fifty and sum to one; each candidate is its document's passage."""
    passages = all_passages(retriever.index)
    examples = from_fused_ranking(retriever, QUERIES, vectors, passages)
    assert examples.candidates.shape == examples.targets.shape == (len(QUERIES), TEACHER_CANDIDATES)
    assert examples.targets.dtype == np.float32
    assert np.allclose(examples.targets.sum(1), 1, atol=1e-5)
    assert np.array_equal(examples.queries, vectors)
    assert np.array_equal(examples.passages, passages)
    for query, vector, candidates, targets in zip(QUERIES, vectors, examples.candidates, examples.targets, strict=True):
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
    examples = from_fused_ranking(small, QUERIES[:2], vectors, all_passages(small.index))
    assert (examples.targets[:, 6:] == -1).all()
    assert (examples.targets[:, :6] > 0).all()
    assert np.allclose(examples.targets[:, :6].sum(1), 1, atol=1e-5)
    assert all(sorted(row) == list(range(6)) for row in examples.candidates[:, :6].tolist())


# --- labels ---------------------------------------------------------------------------------------------------------


def targets_by_document(
    retriever: Retriever, queries: QuerySet, vectors: np.ndarray, seed: int = 0
) -> list[dict[int, float]]:
    """Return for each query its candidate documents with their targets; none may occur twice."""
    examples = from_labels(retriever, queries, ROWS, vectors, passages=all_passages(retriever.index), seed=seed)
    assert (
        examples.candidates.shape
        == examples.targets.shape
        == (len(queries), trainer.adapter.distillation.HARD_NEGATIVES + trainer.adapter.distillation.RANDOM_NEGATIVES)
    )
    assert np.array_equal(examples.queries, vectors)
    by_query = []
    for candidates, targets in zip(examples.candidates, examples.targets, strict=True):
        documents = retriever.index.document_of[candidates[targets >= 0]].tolist()
        assert len(set(documents)) == len(documents)
        by_query.append(dict(zip(documents, targets[targets >= 0].tolist(), strict=True)))
    return by_query


def test_targets_of_labels(retriever: Retriever, vectors: np.ndarray) -> None:
    """The answers of a query share the probability, and everything else has none."""
    answers = {0: [5], 1: [3, 40, 61], 2: [0], 3: [69, 1], 4: [7]}
    for right, targets in zip(
        answers.values(), targets_by_document(retriever, make_queries(answers), vectors), strict=True
    ):
        assert {row for row, target in targets.items() if target} == set(right)
        assert [targets[row] for row in right] == pytest.approx([1 / len(right)] * len(right))
        assert set(targets) == set(range(COUNT))  # the corpus is small: all its documents are candidates


def test_negatives_are_hard_and_random(
    retriever: Retriever, vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negatives are the top of the ranking and random documents, drawn by the seed."""
    monkeypatch.setattr(trainer.adapter.distillation, "HARD_NEGATIVES", 8)
    monkeypatch.setattr(trainer.adapter.distillation, "RANDOM_NEGATIVES", 4)
    best = retriever.search(QUERIES[0]).rows.tolist()
    labelled = make_queries({0: [best[2]]})
    drawn = []
    for seed in range(5):
        [targets] = targets_by_document(retriever, labelled, vectors[:1], seed)
        assert set(best[:8]) <= set(targets)
        assert targets[best[2]] == 1
        drawn.append(frozenset(targets) - set(best[:8]))
        assert len(drawn[-1]) <= 4
    assert len(set(drawn)) > 1
    assert targets_by_document(retriever, labelled, vectors[:1], 3) == targets_by_document(
        retriever, labelled, vectors[:1], 3
    )


def test_more_answers_than_candidates(
    retriever: Retriever, vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a query with very many answers some are candidates; the others are never negatives."""
    monkeypatch.setattr(trainer.adapter.distillation, "HARD_NEGATIVES", 8)
    monkeypatch.setattr(trainer.adapter.distillation, "RANDOM_NEGATIVES", 4)
    right = sorted(retriever.search(QUERIES[0]).rows[:30].tolist())
    [targets] = targets_by_document(retriever, make_queries({0: right}), vectors[:1])
    chosen = {row for row, target in targets.items() if target}
    assert len(chosen) == 6
    assert chosen <= set(right)
    assert [targets[row] for row in chosen] == pytest.approx([1 / 6] * 6)
    assert not (set(targets) - chosen) & set(right)
