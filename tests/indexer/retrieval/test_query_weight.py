"""Query weight: what a query and the scores of its candidates add to the weight of the dense leg."""

from __future__ import annotations

import numpy as np
import pytest

from indexer.retrieval.fusion import Fusion
from indexer.retrieval.query_weight import BOUNDS, LIMIT, MIN_CANDIDATES, _contrast, shifted, weight_shift

RNG = np.random.default_rng(0)
SAMPLE = RNG.normal(0.1, 0.1, 512)
"""Cosines with the corpus: a candidate of .6 stands five deviations above them."""


def bm25(best: float, candidates: int = 300) -> np.ndarray:
    """Return scores of which the best one stands about ``best`` deviations above the others."""
    scores = RNG.normal(10, 1, candidates)
    scores[0] = 10 + best
    return scores


def shift(terms: int = 7, cosine: float = 0.6, lexical: float = 5.0, candidates: int = 300) -> float:
    """Return the shift of a query with such candidates."""
    return weight_shift(terms, np.linspace(0.2, cosine, candidates), SAMPLE, bm25(lexical, candidates))


def test_long_queries_count_on_vectors() -> None:
    """The more terms a query has, the more its vector counts."""
    shifts = [shift(terms) for terms in (1, 2, 4, 8, 16, 32, 64)]
    assert shifts == sorted(shifts)
    assert shifts[0] < 0 < shifts[-1]


def test_the_leg_that_stands_out_counts_more() -> None:
    """A best candidate far above the others moves the weight to its leg."""
    assert shift(cosine=0.3) < shift(cosine=0.6) < shift(cosine=0.9)
    assert shift(lexical=10) < shift(lexical=5) < shift(lexical=2.5)


def test_no_words_that_tell_candidates_apart() -> None:
    """Where the words hardly tell the candidates apart, the weight moves faster."""
    ordinary = shift(cosine=0.5, lexical=4.5) - shift(cosine=0.45, lexical=5)
    clear = shift(cosine=0.6, lexical=2.6) - shift(cosine=0.55, lexical=2.9)
    assert clear > 2 * ordinary


@pytest.mark.parametrize("scores", [np.zeros(300), np.full(300, 4.0)])
def test_nothing_to_compare(scores: np.ndarray) -> None:
    """Without a lexical score that differs, the weight stays."""
    assert weight_shift(5, np.linspace(0.2, 0.6, 300), SAMPLE, scores) == 0


def test_few_candidates_say_nothing() -> None:
    """Behind a narrow filter a query has the index's weight."""
    assert shift(40, candidates=MIN_CANDIDATES - 1) == 0 != shift(40, candidates=MIN_CANDIDATES)


def test_the_shift_is_bounded() -> None:
    """However odd a query is, the shift is bounded, and so is the weight."""
    assert shift(100_000, cosine=0.99, lexical=1) == LIMIT
    assert shifted(0.9, LIMIT) == BOUNDS[1]
    assert shifted(0.15, -LIMIT) == BOUNDS[0]
    assert shifted(0.02, -LIMIT) == 0.02
    assert shifted(0.99, LIMIT) == 0.99


def test_an_encoder_that_does_not_fit_gains_less() -> None:
    """Where the index gives the dense leg little weight, queries raise it less, and lower it as elsewhere."""
    assert shifted(0.5, 0.2) - 0.5 == pytest.approx(0.2)
    assert shifted(0.2, 0.2) - 0.2 == pytest.approx(0.08)
    assert shifted(0.3, -0.1) == pytest.approx(0.2)


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_one_leg_alone_stays_alone(weight: float) -> None:
    """A weight of 0 or 1 means one leg alone."""
    assert shifted(weight, 0.2) == shifted(weight, -0.2) == weight


def test_a_request_names_the_weight_it_wants() -> None:
    """A weight in a request is meant as it is; other choices leave the index's way as it was."""
    index = Fusion(dense_weight=0.4, by_query=True)
    assert index.overridden(None) == index
    assert index.overridden(Fusion(dense_weight=0.7)) == Fusion(dense_weight=0.7)
    assert index.overridden(Fusion(dense_weight=0.7, by_query=True)) == Fusion(dense_weight=0.7, by_query=True)
    assert index.overridden(Fusion(by_query=False)) == Fusion(dense_weight=0.4)
    assert index.overridden(Fusion(method="rrf")) == Fusion(method="rrf", dense_weight=0.4, by_query=True)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_contrast_has_the_bits_of_numpy(kind: type) -> None:
    """The mean and the deviation are those of numpy to the bit, for any number of scores."""
    for count in (*range(1, 40), 127, 128, 129, 512, 1000):
        scores = np.random.default_rng(count).normal(3, 2, count).astype(kind)
        best, spread = float(scores.max()), float(scores.std())
        assert _contrast(best, scores) == ((best - float(scores.mean())) / spread if spread > 1e-9 else 0.0)
