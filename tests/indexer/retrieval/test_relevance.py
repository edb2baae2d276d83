"""Relevance: from the scores of a ranking to a probability, and what it may never do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from shop import build_shop, shop_rows

from indexer.artifacts.manifest import RELEVANCE
from indexer.artifacts.store import Store
from indexer.index.index import Index
from indexer.retrieval.ranking import Ranking
from indexer.retrieval.relevance import (
    Calibration,
    Regressions,
    largest_score,
    leg_features,
    predict,
    result_features,
)
from indexer.retrieval.retriever import Retriever

MODES = ("hybrid", "dense", "lexical")
TWO = Regressions(query=(-2.0, 3.0, 4.0), result=(-1.0, 2.0, 3.0, -0.5))
ONE = Regressions(query=(-2.0, 5.0), result=(-1.0, 4.0, -0.5))
CALIBRATION = Calibration(fitted_on="questions", modes={"hybrid": TWO, "dense": ONE, "lexical": ONE})


@pytest.fixture(scope="module")
def retriever(built_data: Path) -> Retriever:
    """A retriever over the six stories, which is given a calibration."""
    retriever = Retriever(Index.open(Store("index", built_data).resolve(), cores=1))
    retriever.__dict__["calibration"] = CALIBRATION
    return retriever


def judged(retriever: Retriever, query: str, mode: str) -> Ranking:
    """Return a ranking with its relevances."""
    ranking = retriever.search(query, mode)
    retriever.judge(ranking, mode)
    return ranking


def test_a_logistic_regression() -> None:
    """The probability is the logistic function of constant and features, also where the logit is huge."""
    features = np.array([[0.0, 0.0], [1.0, 2.0], [1e9, 1e9]])
    expected = [1 / (1 + np.exp(1)), 1 / (1 + np.exp(1 - 0.5 - 4)), 1.0]
    assert predict((-1.0, 0.5, 2.0), features) == pytest.approx(expected)


@pytest.mark.parametrize("mode", MODES)
def test_the_product_of_both_regressions(retriever: Retriever, mode: str) -> None:
    """The relevance of the first result is the product of what both regressions say of it."""
    ranking = judged(retriever, "the king and the castle", mode)
    columns = leg_features(ranking, mode, retriever.index.lexical)
    regressions = CALIBRATION.modes[mode]
    best = np.array([[column.max() for column in columns]])
    own = np.array([[*(column[0] for column in columns), 0.0]])
    expected = predict(regressions.query, best)[0] * predict(regressions.result, own)[0]
    assert ranking.relevance is not None
    assert ranking.relevance[0] == pytest.approx(expected, abs=1e-4)
    assert 0 < ranking.relevance[0] < 1


@pytest.mark.parametrize("mode", MODES)
def test_it_never_rises(retriever: Retriever, mode: str) -> None:
    """Down a ranking the relevance never rises, even where the features of a lower result are better."""
    for query in ("the king and the castle", "a dog in the garden", "snow"):
        ranking = judged(retriever, query, mode)
        assert ranking.relevance is not None
        assert len(ranking.relevance) == len(ranking.rows)
        assert (np.diff(ranking.relevance) <= 0).all()
    rising = Ranking(rows=np.arange(3), scores=np.ones(3), dense=np.array([0.1, 0.9, 0.2]))
    found = CALIBRATION.relevance(rising, "dense", retriever.index.lexical)
    assert found is not None
    assert found[1] == found[0] > found[2]


def test_an_exact_document_is_certain(retriever: Retriever) -> None:
    """A document that the query names by its id has 1, whatever its scores; those below it are judged by theirs."""
    ranking = Ranking(rows=np.arange(3), scores=np.ones(3), dense=np.array([0.1, 0.9, 0.2]))
    unnamed = CALIBRATION.relevance(ranking, "dense", retriever.index.lexical)
    ranking.exact = np.array([True, False, False])
    found = CALIBRATION.relevance(ranking, "dense", retriever.index.lexical)
    assert found is not None and unnamed is not None
    assert found[0] == 1
    assert unnamed[0] < found[1] < 1
    assert found[2] == unnamed[2]
    assert judged(retriever, "a", "hybrid").relevance[0] == 1  # the id of a story


def test_no_score_exceeds_the_largest(retriever: Retriever) -> None:
    """No document reaches the score that counts as 1, and one full of the query's word comes near it."""
    lexical = retriever.index.lexical
    for query in ("king", "the king and the castle", "dog garden bread snow"):
        terms = lexical.analyze(query)
        scores, _ = lexical.search(terms, 10)
        assert 0 < scores.max() < largest_score(terms, lexical)


def test_an_unknown_word_counts_fully(retriever: Retriever) -> None:
    """A word that no document has makes the share of all documents smaller, by more than a frequent one does."""
    lexical = retriever.index.lexical
    known = largest_score(lexical.analyze("king"), lexical)
    assert largest_score(lexical.analyze("king qwxz"), lexical) > 2 * known


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Retriever:
    """A retriever over a shop whose brands and tags are searched."""
    data = build_shop(tmp_path_factory.mktemp("shop") / "data", tiny_data)
    return Retriever(Index.open(Store("index", data).resolve(), cores=1))


def best_share(retriever: Retriever, query: str) -> float:
    """Return the best share of a query's candidates, searched as the service does."""
    ranking = retriever.search(query, "lexical", expanded=retriever.expand(query, typos=True))
    return float(leg_features(ranking, "lexical", retriever.index.lexical)[0].max(initial=0.0))


def test_columns_count_for_the_words_that_they_have(shop: Retriever) -> None:
    """A word that stands in one column alone has a share as good as any: it cannot stand in the others."""
    lexical, row = shop.index.lexical, shop_rows()[0]
    for column in ("brand", "tags"):
        value = row[column]
        word = str(value[0] if isinstance(value, list) else value)
        parts = shop.lexical_parts(shop.search(word, "lexical"), [0])[0]
        terms = lexical.analyze(word)
        possible = sum(most for name, most in largest_by_field(shop, word).items() if name in parts)
        assert largest_score(terms, lexical) == pytest.approx(possible)
        assert best_share(shop, word) > 0.3


def largest_by_field(retriever: Retriever, word: str) -> dict[str, float]:
    """Return the largest score of each field that has a word."""
    lexical = retriever.index.lexical
    weights, documents = {name: weight for name, weight, _ in lexical.fields()}, len(lexical)
    found = {
        name: sum(
            2.2 * weights[name] * np.log1p((documents - count + 0.5) / (count + 0.5))
            for term in terms
            if (count := lexical.document_frequency(name, term))
        )
        for name, terms in lexical.analyze(word).fields.items()
    }
    return {name: most for name, most in found.items() if most}


def test_an_unknown_word_counts_as_one_of_a_text(shop: Retriever, retriever: Retriever) -> None:
    """However many columns are searched, it counts in title and text alone."""
    for each in (shop, retriever):
        lexical = each.index.lexical
        of_fields = 2.2 * (1 + 0.5) * np.log1p((len(lexical) + 0.5) / 0.5)
        assert largest_score(lexical.analyze("qwxz"), lexical) == pytest.approx(of_fields)


def test_a_misspelt_word_counts_as_what_it_should_be(retriever: Retriever) -> None:
    """Corrected for certain, it lowers the share a little; one that may be meant as it stands lowers it as an unknown one."""
    right, wrong = best_share(retriever, "castle"), best_share(retriever, "castla")
    assert retriever.expand("castla", typos=True).expansions[0].certain
    assert 0.7 * right < wrong < right
    assert best_share(retriever, "castle qwxz") < 0.5 * right


def test_a_half_typed_word_counts_as_what_it_stands_for(retriever: Retriever) -> None:
    """While one types, the share does not fall below that of the whole word by more than the spelling's part."""
    for half, whole in (("cast", "castle"), ("the gard", "the garden")):
        expanded = retriever.expand(half, prefix=True)
        ranking = retriever.search(half, "lexical", expanded=expanded)
        share = leg_features(ranking, "lexical", retriever.index.lexical)[0].max()
        assert share == pytest.approx(best_share(retriever, whole), rel=0.2)


def test_queries_without_results_or_terms(retriever: Retriever) -> None:
    """A query that finds nothing has no relevances, and one of stop words has those of its vector."""
    assert judged(retriever, "qwxz", "lexical").relevance.tolist() == []
    ranking = judged(retriever, "of the", "hybrid")
    assert np.isfinite(ranking.relevance).all()


def test_every_column_follows(retriever: Retriever) -> None:
    """Taking some candidates of a ranking takes their relevances."""
    ranking = judged(retriever, "the king and the castle", "hybrid")
    assert ranking.take(np.array([2, 0])).relevance.tolist() == ranking.relevance[[2, 0]].tolist()
    (hit,) = retriever.hits(ranking, [1])
    assert hit.relevance == ranking.relevance[1]


def test_ranks_are_features() -> None:
    """The last feature of a result is the logarithm of its rank, 0 for the first."""
    features = result_features([np.array([0.5, 0.4, 0.3])], 2)
    assert features.tolist() == [[0.5, 0.0], [0.4, pytest.approx(np.log(2))]]


@pytest.mark.parametrize(
    "config",
    [{}, {"relevance": None}, {"relevance": {"version": RELEVANCE + 1, "modes": {}}}, {"relevance": RELEVANCE}],
)
def test_an_index_without_a_calibration(config: dict) -> None:
    """An index of an earlier version, of few documents or of another version of the features has none."""
    assert Calibration.of_config(config) is None


def test_a_calibration_survives_a_manifest() -> None:
    """What is written into a manifest is read as it was."""
    assert Calibration.of_config({"relevance": CALIBRATION.model_dump(mode="json")}) == CALIBRATION


def test_a_mode_without_a_fit(retriever: Retriever) -> None:
    """Where a mode has no coefficients, its results have no relevance."""
    only = Calibration(fitted_on="questions", modes={"dense": ONE})
    assert only.relevance(retriever.search("king", "lexical"), "lexical", retriever.index.lexical) is None
