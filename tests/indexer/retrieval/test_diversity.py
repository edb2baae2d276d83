"""Maximal marginal relevance: the formula of Carbonell and Goldstein, the same however much is taken."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from indexer.index.dense import unit
from indexer.retrieval.diversity import mmr, relevance


def by_the_formula(relevances, vectors, diversity):
    """The order as the paper has it, without any shortcut."""
    left, taken = list(range(len(relevances))), []
    while left:

        def value(place):
            nearest = max((float(vectors[place] @ vectors[other]) for other in taken), default=None)
            return relevances[place] if nearest is None else (1 - diversity) * relevances[place] - diversity * nearest

        best = max(left, key=lambda place: (value(place), -place))
        left.remove(best)
        taken.append(best)
    return taken


@pytest.mark.parametrize("diversity", [0, 0.2, 0.5, 0.9, 1])
def test_the_order_is_that_of_the_formula(diversity):
    """Every candidate comes once, in the order that the formula gives."""
    chance = np.random.default_rng(3)
    vectors = unit(chance.normal(size=(40, 6)).astype(np.float32))
    relevances = relevance(np.sort(chance.normal(size=40))[::-1])
    order = list(mmr(relevances, vectors, diversity))
    assert order == by_the_formula(relevances, vectors, diversity)
    assert sorted(order) == list(range(40))
    assert list(islice(mmr(relevances, vectors, diversity), 7)) == order[:7]
    if not diversity:
        assert order == list(range(40))


def test_a_copy_of_the_best_comes_late():
    """What says the same as the best result is put behind what is less relevant and new."""
    vectors = unit(np.array([[1, 0], [1, 0], [0, 1]], dtype=np.float32))
    assert list(mmr(np.array([1.0, 0.9, 0.5]), vectors, 0.5)) == [0, 2, 1]


def test_relevance_lies_between_0_and_1():
    """Scores of any scale become comparable with cosines; equal ones are all relevant, none at all stay none."""
    assert relevance(np.array([3.0, 1.0, -1.0])).tolist() == [1, 0.5, 0]
    assert relevance(np.array([2.0, 2.0])).tolist() == [1, 1]
    assert relevance(np.empty(0)).tolist() == []
