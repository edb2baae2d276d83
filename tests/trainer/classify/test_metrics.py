"""Classification metrics: equal to scikit-learn's, with their uncertainty, the majority baseline and chance."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score

from trainer.classify.metrics import (
    compute_label_metrics,
    compute_metrics,
    count_confusion,
    estimate_uncertainty,
    macro_f1,
    predict_majority,
)


def one_hot(indices, labels):
    """Return answers of shape (rows, labels)."""
    return np.asarray(indices)[:, None] == np.arange(labels)


@pytest.mark.parametrize("several", [False, True])
def test_macro_f1_is_scikit_learns(several):
    """Our macro-F1, which the bootstrap repeats a thousand times, is scikit-learn's to the last digit."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        truth = rng.random((50, 4)) < 0.3 if several else one_hot(rng.integers(4, size=50), 4)
        answers = rng.random((50, 4)) < 0.3 if several else one_hot(rng.integers(4, size=50), 4)
        assert macro_f1(truth, answers) == pytest.approx(f1_score(truth, answers, average="macro"))


def test_a_label_that_nobody_has_or_was_given_counts_nothing():
    """A label without a test row does not pull the mean down unless it was answered."""
    truth = one_hot([0, 0, 1, 1], 3)
    assert macro_f1(truth, truth) == 1
    assert macro_f1(truth, one_hot([0, 0, 1, 2], 3)) == pytest.approx((1 + 2 / 3 + 0) / 3)


def test_figures_of_a_small_case_by_hand():
    """Precision, recall, F1, accuracy and the confusion matrix of six rows, counted by hand."""
    truth, answers = one_hot([0, 0, 0, 0, 1, 1], 2), one_hot([0, 0, 0, 1, 1, 0], 2)
    ham, spam = compute_label_metrics(["ham", "spam"], truth, answers)
    assert (ham.rows, ham.answered, ham.right, ham.precision, ham.recall, ham.f1) == (4, 4, 3, 0.75, 0.75, 0.75)
    assert (spam.rows, spam.answered, spam.right, spam.f1) == (2, 2, 1, 0.5)
    metrics = compute_metrics(truth, answers)
    assert metrics.accuracy == pytest.approx(4 / 6, abs=1e-6)
    assert metrics.macro_f1 == pytest.approx(0.625)
    assert count_confusion(truth, answers) == [[3, 1], [1, 1]]


def test_the_majority_baseline():
    """It always answers the most frequent training label; where several may apply all labels, which has the best F1."""
    truth = one_hot([0, 1, 1], 2)
    answers, indices = predict_majority(truth, one_hot([0, 0, 0, 1], 2), multi_label=False)
    assert indices == [0]
    assert answers.tolist() == [[True, False]] * 3
    answers, indices = predict_majority(truth, truth, multi_label=True)
    assert indices == [0, 1]
    assert answers.all()


def test_chance_is_seen_as_chance():
    """Answers that are independent of the truth do not count as learned; good ones do, with a narrow interval."""
    rng = np.random.default_rng(1)
    truth = one_hot((rng.random(400) < 0.15).astype(int), 2)
    permuted = truth[rng.permutation(400)]
    random = estimate_uncertainty(truth, permuted)
    assert not random.learned
    assert random.low < random.chance < random.high
    indices = truth.argmax(axis=1)
    indices[:10] = 1 - indices[:10]
    good = estimate_uncertainty(truth, one_hot(indices, 2))
    assert good.learned
    assert good.chance == pytest.approx(0.5, abs=0.05)
    assert good.low < macro_f1(truth, one_hot(indices, 2)) < good.high
    assert good.low > 0.8


def test_the_majoritys_answers_are_no_better_than_chance():
    """A constant answer is as good in random order: the permutation test does not count it as learned."""
    truth = one_hot([0] * 90 + [1] * 10, 2)
    assert estimate_uncertainty(truth, one_hot([0] * 100, 2)).p == 1
