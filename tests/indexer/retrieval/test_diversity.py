"""Maximal marginal relevance: the formula of Carbonell and Goldstein, in the same order for any number of results."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from indexer.index.dense import unit
from indexer.retrieval.diversity import mmr, relevance


def order_by_the_formula(relevances, vectors, diversity):
    """Return the order as the paper defines it, without any shortcut."""
    remaining, taken = list(range(len(relevances))), []
    while remaining:

        def compute_marginal(row):
            nearest = max((float(vectors[row] @ vectors[other]) for other in taken), default=None)
            return relevances[row] if nearest is None else (1 - diversity) * relevances[row] - diversity * nearest

        best = max(remaining, key=lambda row: (compute_marginal(row), -row))
        remaining.remove(best)
        taken.append(best)
    return taken


@pytest.mark.parametrize("diversity", [0, 0.2, 0.5, 0.9, 1])
def test_the_order_is_that_of_the_formula(diversity):
    """Every candidate comes once, in the order that the formula gives."""
    rng = np.random.default_rng(3)
    vectors = unit(rng.normal(size=(40, 6)).astype(np.float32))
    relevances = relevance(np.sort(rng.normal(size=40))[::-1])
    order = list(mmr(relevances, vectors, diversity))
    assert order == order_by_the_formula(relevances, vectors, diversity)
    assert sorted(order) == list(range(40))
    assert list(islice(mmr(relevances, vectors, diversity), 7)) == order[:7]
    if not diversity:
        assert order == list(range(40))


def test_a_copy_of_the_best_comes_late():
    """A copy of the best result comes after a result that is less relevant, but different."""
    vectors = unit(np.array([[1, 0], [1, 0], [0, 1]], dtype=np.float32))
    assert list(mmr(np.array([1.0, 0.9, 0.5]), vectors, 0.5)) == [0, 2, 1]


def test_relevance_lies_between_0_and_1():
    """Scores of any scale become comparable with cosines; equal ones all become 1, and no scores stay no scores."""
    assert relevance(np.array([3.0, 1.0, -1.0])).tolist() == [1, 0.5, 0]
    assert relevance(np.array([2.0, 2.0])).tolist() == [1, 1]
    assert relevance(np.empty(0)).tolist() == []
