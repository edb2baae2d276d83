"""Rankings for the evaluation are those that the service would give, in each mode and at each weight."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from tales import write_tales

from indexer.artifacts.store import Store
from indexer.build.build import build
from indexer.build.settings import BuildSettings
from indexer.index.dense import unit
from indexer.index.index import Index
from indexer.retrieval.fusion import Fusion
from indexer.retrieval.retriever import Retriever
from trainer.data.labels import QuerySet
from trainer.evaluate.metrics import per_query
from trainer.evaluate.rankings import DEPTH, WEIGHTS, RankedQueries, rank_queries

COUNT = 260
TEXTS = ["the king and the queen", "snow in winter", "storm", "the ship of the sailor in the night", "unknown words"]
QUERIES = QuerySet(
    {f"q{number}": text for number, text in enumerate(TEXTS)},
    {f"q{number}": {f"t{row:03}": 1 + row % 2 for row in range(number, COUNT, 13)} for number in range(len(TEXTS))},
)
ROWS = {f"t{row:03}": row for row in range(COUNT)}


@pytest.fixture(scope="module")
def retriever(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Retriever:
    """A retriever over 260 tales, more than take part in a search."""
    folder = tmp_path_factory.mktemp("evaluate")
    data = Path(shutil.copytree(tiny_data, folder / "data"))
    settings = BuildSettings(language="en", dense_weight=0.4)
    manifest = build(str(write_tales(folder / "tales.parquet", COUNT)), settings, data, cores=1).manifest
    return Retriever(Index.open(Store("index", data).path(manifest.id), cores=2))


@pytest.fixture(scope="module")
def ranked(retriever: Retriever) -> RankedQueries:
    """The rankings of the queries."""
    vectors = unit(retriever.index.encoder.encode_queries(TEXTS))
    return rank_queries("test", retriever, QUERIES, list(ROWS), vectors)


def served(retriever: Retriever, text: str, weight: float) -> list[str]:
    """Return the ids that a user would get: by one leg alone, or by both at this weight."""
    if weight in {0, 1}:
        ranking = retriever.search(text, "dense" if weight else "lexical")
    else:
        ranking = retriever.search(text, fusion=Fusion(dense_weight=weight))
    hits = retriever.page(ranking, 0, DEPTH)
    return [hit.document.id for hit in hits]


@pytest.mark.parametrize("weight", [0, *WEIGHTS, 1])
def test_every_order_is_the_one_that_is_served(retriever: Retriever, ranked: RankedQueries, weight: float) -> None:
    """From one search follow the rankings of both legs and of every weight, to the hundredth document."""
    run = ranked.run(weight)
    assert list(run) == list(QUERIES.texts)
    for query, text in QUERIES.texts.items():
        assert run[query] == served(retriever, text, weight)
    assert len(run["q0"]) == DEPTH or weight == 0
    assert run["q4"] if weight else not run["q4"]  # words that no document has find nothing


def test_weights_do_differ(ranked: RankedQueries) -> None:
    """The legs disagree here, so the rankings at different weights differ."""
    assert len({tuple(ranked.run(weight)["q0"]) for weight in (0, *WEIGHTS, 1)}) == len(WEIGHTS) + 2


def test_the_given_vectors_are_used(retriever: Retriever, ranked: RankedQueries) -> None:
    """The given vectors are searched with, not those of the index's own encoder."""
    turned = np.roll(unit(retriever.index.encoder.encode_queries(TEXTS)), 1, axis=0)
    other = rank_queries("test", retriever, QUERIES, list(ROWS), turned)
    assert other.run(0) == ranked.run(0)
    assert other.run(1)["q1"] == ranked.run(1)["q0"]
    assert other.run(0.5)["q1"] != ranked.run(0.5)["q1"]


def test_measures(ranked: RankedQueries) -> None:
    """The measures are those of the library over the served rankings, with graded relevance; a mean is over all queries."""
    for weight in (0, 0.3, 1):
        expected = per_query(QUERIES.qrels, ranked.run(weight))
        assert ranked.metrics(weight) == expected
        assert ranked.mean(weight) == pytest.approx(sum(expected["nDCG@10"].values()) / len(TEXTS))
        recall = ranked.mean(weight, "Recall@100")
        assert recall == pytest.approx(sum(expected["Recall@100"].values()) / len(TEXTS))
        assert recall != ranked.mean(weight)
    assert ranked.metrics(0)["nDCG@10"]["q4"] == 0  # no result counts zero


@pytest.mark.parametrize(
    ("best", "chosen"),
    [({0.3}, 0.3), ({0.9}, 0.9), ({0.1, 0.4, 0.9}, 0.4), ({0.2, 0.8, 0.7}, 0.7), (set(WEIGHTS), 0.5)],
)
def test_the_best_weight(
    best: set[float], chosen: float, ranked: RankedQueries, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The best weight is that of the highest mean; of several equal ones it is the nearest to one half."""
    monkeypatch.setattr(RankedQueries, "mean", lambda _, weight: float(weight in best))
    assert RankedQueries(QUERIES, ranked.rankings, ranked.ids, ranked.retriever).best_weight == chosen


def test_one_leg_cannot_be_weighed(retriever: Retriever, ranked: RankedQueries) -> None:
    """The ranking of one leg lacks the scores of the other: weighting it is an error of the caller."""
    with pytest.raises(ValueError, match="hybrid"):
        ranked.order(retriever.search("storm", "dense"), 0.5)


def test_cosines(retriever: Retriever, ranked: RankedQueries) -> None:
    """Of each query the cosine of its best relevant candidate, and of the best that is not relevant, by brute force."""
    index = retriever.index
    relevant_cosines, irrelevant_cosines = ranked.cosines(ROWS)
    assert len(relevant_cosines) == len(irrelevant_cosines) == len(TEXTS)
    passages = index.dense.vectors(np.arange(len(index.dense)))
    for text, relevant, best, other in zip(
        TEXTS, QUERIES.qrels.values(), relevant_cosines, irrelevant_cosines, strict=True
    ):
        cosines = passages @ unit(index.encoder.encode_query(text))
        by_row = np.maximum.reduceat(cosines, index.first_passage[:-1])
        mask = np.isin(np.arange(COUNT), [ROWS[document] for document in relevant])
        assert best == pytest.approx(by_row[mask].max(), abs=1e-4)
        assert other == pytest.approx(by_row[~mask].max(), abs=1e-4)


def test_cosines_without_candidates(built_data: Path) -> None:
    """A query without relevant candidates has no relevant cosine, one without irrelevant candidates no irrelevant one."""
    small = Retriever(Index.open(Store("index", built_data).resolve(), cores=1))
    vectors = unit(small.index.encoder.encode_queries(["cat", "dog"]))
    rows = {"a": 0, "b": 1, "c": 2, "d": 3, "e": 4, "f": 5, "elsewhere": 77}
    queries = QuerySet({"q0": "cat", "q1": "dog"}, {"q0": dict.fromkeys("abcdef", 1), "q1": {"elsewhere": 1}})
    relevant, irrelevant = rank_queries("test", small, queries, list(rows), vectors).cosines(rows)
    assert (len(relevant), len(irrelevant)) == (1, 1)
