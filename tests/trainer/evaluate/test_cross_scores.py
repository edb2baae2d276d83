"""Scores of a cross-encoder for first results: what is scored, and how a killed run goes on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from indexer.artifacts.store import Store
from indexer.index.index import Index
from indexer.inference.passages import encoder_input
from indexer.retrieval.ranking import Ranking
from indexer.retrieval.retriever import Retriever
from trainer.evaluate.cross_scores import score_first


class Counting:
    """Scores a passage by its length, notes the queries, and is killed after ``lifetime`` of them."""

    def __init__(self, lifetime: int = 1_000) -> None:
        self.queries: list[str] = []
        self.lifetime = lifetime

    def score(self, query: str, passages: Sequence[str]) -> SimpleNamespace:
        """Return the scores as the published cross-encoder does."""
        if len(self.queries) == self.lifetime:
            raise KeyboardInterrupt
        self.queries.append(query)
        return SimpleNamespace(scores=np.array([len(passage) for passage in passages], dtype=np.float32))


@pytest.fixture
def retriever(built_data: Path) -> Retriever:
    """A retriever over the six stories."""
    return Retriever(Index.open(Store("index", built_data).resolve(), cores=1))


@pytest.fixture
def rankings(retriever: Retriever) -> list[Ranking]:
    """Hybrid rankings of four queries; the last one has no results."""
    return [retriever.search(query) for query in ("the dog eats", "bread", "a storm")] + [Ranking(query="nothing")]


def test_the_first_results_are_scored_as_the_service_does(
    retriever: Retriever, rankings: list[Ranking], tmp_path: Path
) -> None:
    """Each row has the scores of title and best passage of its first results; what is not there is NaN."""
    scores = score_first("score", Counting(), retriever, rankings, depth=8, journal=tmp_path / "journal.f32")
    assert scores.shape == (4, 8)
    for row, ranking in zip(scores, rankings, strict=True):
        hits = retriever.hits(ranking, range(len(ranking.rows)))
        expected = [len(encoder_input(hit.document.title, hit.passage)) for hit in hits]
        assert row[: len(expected)].tolist() == expected
        assert np.isnan(row[len(expected) :]).all()


@pytest.mark.parametrize("torn", [0, 5])
def test_a_killed_run_goes_on_after_its_last_query(
    retriever: Retriever, rankings: list[Ranking], tmp_path: Path, torn: int
) -> None:
    """What is in the journal is not scored again, and half a row is; the result is that of an undisturbed run."""
    whole = score_first("score", Counting(), retriever, rankings, depth=3, journal=tmp_path / "whole.f32")
    journal = tmp_path / "journal.f32"
    with pytest.raises(KeyboardInterrupt):
        score_first("score", Counting(2), retriever, rankings, depth=3, journal=journal)
    with journal.open("ab") as file:
        file.write(b"\0" * torn)
    again = Counting()
    scores = score_first("score", again, retriever, rankings, depth=3, journal=journal)
    assert again.queries == ["a storm"]
    assert np.array_equal(scores, whole, equal_nan=True)
