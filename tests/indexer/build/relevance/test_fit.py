"""Fit of relevance: the regressions, and the measures of their quality."""

from __future__ import annotations

import numpy as np
import pytest

from indexer.build.relevance.fit import (
    auc,
    calibration_error,
    cross_validate,
    enough,
    first_relevance,
    fit,
    in_other_words,
    logistic,
)
from indexer.build.relevance.observe import Observation
from indexer.retrieval.relevance import predict

ANY = np.array([0.0, 0.0])


def observations(count: int = 400, seed: int = 0) -> list[Observation]:
    """Queries of which every second one has an answer, with a larger cosine; its first result is right in 7 of 10."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(count):
        answered = number % 4 < 2
        cosines = np.sort(rng.normal(0.6 if answered else 0.2, 0.1, 5))[::-1]
        right = np.zeros(5, dtype=bool)
        if answered:
            right[0 if rng.random() < 0.7 else rng.integers(1, 5)] = True
        results = np.column_stack([cosines, np.log1p(np.arange(5))])
        found.append(Observation(cosines[:1], results, right, answered, 1.0))
    return found


def test_known_coefficients_are_found() -> None:
    """With many rows the regression finds the coefficients by which the outcomes were drawn."""
    rng = np.random.default_rng(1)
    features = rng.normal(size=(20_000, 2)) * [1.0, 5.0]
    outcome = rng.random(20_000) < predict((-1.0, 2.0, 0.3), features)
    assert logistic(features, outcome, np.ones(20_000), ANY) == pytest.approx((-1.0, 2.0, 0.3), abs=0.1)


def test_weights_count_rows() -> None:
    """A row of weight 2 counts as two equal rows."""
    rng = np.random.default_rng(2)
    features, outcome = rng.normal(size=(60, 2)), rng.random(60) < 0.4
    twice = logistic(np.vstack([features, features[:20]]), np.append(outcome, outcome[:20]), np.ones(80), ANY)
    weighted = logistic(features, outcome, np.where(np.arange(60) < 20, 2.0, 1.0), ANY)
    assert weighted == pytest.approx(twice, abs=1e-5)


def test_no_coefficient_has_the_wrong_sign() -> None:
    """A feature that points the wrong way is left out, and the others are fitted without it."""
    rng = np.random.default_rng(3)
    features = rng.normal(size=(500, 2))
    outcome = rng.random(500) < predict((0.0, 2.0, -1.0), features)
    constant, first, second = logistic(features, outcome, np.ones(500), np.ones(2))
    assert second == 0
    assert (constant, first) == pytest.approx(logistic(features[:, :1], outcome, np.ones(500), ANY[:1]), abs=1e-5)


@pytest.mark.parametrize("values", [0.0, 0.7])
def test_a_constant_feature_has_no_coefficient(values: float) -> None:
    """A feature that never differs, such as BM25 where no word occurs, says nothing."""
    features = np.column_stack([np.full(100, values), np.linspace(-1, 1, 100)])
    coefficients = logistic(features, np.arange(100) > 50, np.ones(100), np.ones(2))
    assert coefficients[1] == 0
    assert coefficients[2] > 1


def test_separable_outcomes_stay_finite() -> None:
    """Where one feature separates everything, the penalty keeps the coefficients finite."""
    features = np.linspace(0, 1, 50)[:, None]
    coefficients = logistic(features, features[:, 0] > 0.5, np.ones(50), np.ones(1))
    assert np.isfinite(coefficients).all()


def test_fitted_relevances_are_calibrated() -> None:
    """Relevances of first results are right as often as they say, and those of queries without an answer are small."""
    regressions = fit(observations())
    fresh = observations(seed=9)
    answered = [first_relevance(regressions, each) for each in fresh if each.answered]
    assert np.mean(answered) == pytest.approx(0.7, abs=0.07)
    assert np.mean([first_relevance(regressions, each) for each in fresh if not each.answered]) < 0.1


def test_cross_validation_measures_what_was_not_fitted() -> None:
    """The AUC is near 1 where kinds differ, and near one half where the features are noise."""
    quality = cross_validate(observations())
    assert quality is not None
    assert quality.auc > 0.95
    assert quality.ece < 0.1
    rng = np.random.default_rng(4)
    noise = [each._replace(query=rng.normal(size=1), results=rng.normal(size=(5, 2))) for each in observations()]
    quality = cross_validate(noise)
    assert quality is not None
    assert quality.auc == pytest.approx(0.5, abs=0.1)


def with_shares(found: list[Observation]) -> list[Observation]:
    """Return observations of hybrid mode: those with an answer have all of its words, the others none."""
    return [
        each._replace(
            query=np.append(each.query, 0.9 * each.answered),
            results=np.insert(each.results, 1, 0.9 * each.answered * each.right, axis=1),
        )
        for each in found
    ]


def test_an_answer_in_other_words_is_believed() -> None:
    """With words alone that tell all made queries apart, a good cosine still says something where the words are others."""
    found = with_shares(observations())
    made = in_other_words(found)
    assert sum(each.weight for each in made) == pytest.approx(len(found))
    assert [each for each in made if not each.answered] == [each for each in found if not each.answered]
    good, bad = np.array([[0.6, 0.0]]), np.array([[0.2, 0.0]])
    alone, taught = fit(found).query, fit(made).query
    assert predict(taught, good)[0] > 2 * predict(alone, good)[0]
    assert predict(taught, bad)[0] < 0.1
    dense = observations()
    assert in_other_words(dense) == dense


def test_too_few_queries_are_not_enough() -> None:
    """Without thirty queries of each kind and ten right results nothing is fitted."""
    found = observations(400)
    assert enough(found)
    assert not enough([each for each in found if each.answered])
    assert not enough([each for each in found if not each.answered])
    assert not enough([each._replace(right=np.zeros(5, dtype=bool)) for each in found])
    assert cross_validate(found[:100]) is None


def test_auc_counts_ties_half() -> None:
    """The area is the share of pairs in the right order; equal values count one half."""
    assert auc(np.array([0.9, 0.5]), np.array([0.5, 0.1])) == pytest.approx((1 + 1 + 0.5 + 1) / 4)
    assert auc(np.array([0.2]), np.array([0.7, 0.9])) == 0
    assert np.isnan(auc(np.array([]), np.array([0.7])))


def test_calibration_error_is_the_mean_distance() -> None:
    """Two bins: one says .95 and is right in half of the cases, the other says .05 and is never right."""
    said = np.array([0.95, 0.95, 0.05, 0.05])
    assert calibration_error(said, np.array([True, False, False, False])) == pytest.approx((0.9 + 0.1) / 4)
    assert calibration_error(np.array([1.0, 0.0]), np.array([True, False])) == 0
