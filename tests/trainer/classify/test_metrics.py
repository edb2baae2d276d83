"""Figures of a classifier: equal to scikit-learn's, with their doubt and what chance would give."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score

from trainer.classify.metrics import confusion, doubt, figures, macro_f1, majority, per_label


def one_hot(places, labels):
    """Answers of shape (rows, labels)."""
    return np.asarray(places)[:, None] == np.arange(labels)


@pytest.mark.parametrize("several", [False, True])
def test_macro_f1_is_scikit_learns(several):
    """Our macro-F1, which the bootstrap repeats a thousand times, is scikit-learn's to the last digit."""
    chance = np.random.default_rng(0)
    for _ in range(20):
        truth = chance.random((50, 4)) < 0.3 if several else one_hot(chance.integers(4, size=50), 4)
        answers = chance.random((50, 4)) < 0.3 if several else one_hot(chance.integers(4, size=50), 4)
        assert macro_f1(truth, answers) == pytest.approx(f1_score(truth, answers, average="macro"))


def test_a_label_that_nobody_has_or_was_given_counts_nothing():
    """A label without a test row does not pull the mean down unless it was answered."""
    truth = one_hot([0, 0, 1, 1], 3)
    assert macro_f1(truth, truth) == 1
    assert macro_f1(truth, one_hot([0, 0, 1, 2], 3)) == pytest.approx((1 + 2 / 3 + 0) / 3)


def test_figures_of_a_small_case_by_hand():
    """Precision, recall, F1, accuracy and the confusion matrix of six rows, counted by hand."""
    truth, answers = one_hot([0, 0, 0, 0, 1, 1], 2), one_hot([0, 0, 0, 1, 1, 0], 2)
    ham, spam = per_label(["ham", "spam"], truth, answers)
    assert (ham.rows, ham.answered, ham.right, ham.precision, ham.recall, ham.f1) == (4, 4, 3, 0.75, 0.75, 0.75)
    assert (spam.rows, spam.answered, spam.right, spam.f1) == (2, 2, 1, 0.5)
    both = figures(truth, answers)
    assert both.accuracy == pytest.approx(4 / 6, abs=1e-6)
    assert both.macro_f1 == pytest.approx(0.625)
    assert confusion(truth, answers) == [[3, 1], [1, 1]]


def test_somebody_who_does_not_read():
    """The baseline answers the most frequent training label always; of several labels all, which has the best F1."""
    truth = one_hot([0, 1, 1], 2)
    answers, places = majority(truth, one_hot([0, 0, 0, 1], 2), multi_label=False)
    assert places == [0]
    assert answers.tolist() == [[True, False]] * 3
    answers, places = majority(truth, truth, multi_label=True)
    assert places == [0, 1]
    assert answers.all()


def test_chance_is_seen_as_chance():
    """Answers that have nothing to do with the truth are not called learned; good ones are, with a narrow interval."""
    chance = np.random.default_rng(1)
    truth = one_hot((chance.random(400) < 0.15).astype(int), 2)
    dealt = truth[chance.permutation(400)]
    luck = doubt(truth, dealt)
    assert not luck.learned
    assert luck.low < luck.chance < luck.high
    places = truth.argmax(axis=1)
    places[:10] = 1 - places[:10]
    good = doubt(truth, one_hot(places, 2))
    assert good.learned
    assert good.chance == pytest.approx(0.5, abs=0.05)
    assert good.low < macro_f1(truth, one_hot(places, 2)) < good.high
    assert good.low > 0.8


def test_the_majoritys_answers_are_no_better_than_chance():
    """Whoever always answers the same is as good at random: the permutation test does not take it for reading."""
    truth = one_hot([0] * 90 + [1] * 10, 2)
    assert doubt(truth, one_hot([0] * 100, 2)).p == 1
