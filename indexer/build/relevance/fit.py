"""Fit of relevance: two logistic regressions for each mode, and how well they tell right from wrong.

Both are penalised, so that few queries give small coefficients, and no coefficient has the wrong sign: a larger cosine
or share never makes a result less probable, nor does a better rank.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from indexer.build.relevance.observe import Observation
from indexer.retrieval.ranking import Numbers
from indexer.retrieval.relevance import Coefficients, Regressions, predict

PENALTY = 1.0
"""Of the squared coefficients of standardised features."""
STEPS = 50
"""Newton steps, at most; a handful suffices."""
LOWER_WEIGHT = 1 / 3
"""Weight of a result below the first one: what people see first counts most."""
BINS = 10
"""Bins of the calibration error."""
DIGITS = 6
"""Decimals of a coefficient."""
BOTH_LEGS = 2
"""Features of a query in hybrid mode: cosine and share."""
OTHER_WORDS = 0.1
"""Share of a made query's weight with which it counts as if it were asked in other words."""
MIN_ANSWERED, MIN_UNANSWERED, MIN_RIGHT = 30, 30, 10
"""Queries of either kind, and right results, without which nothing is fitted."""


class Quality(NamedTuple):
    """How good a calibration is on queries that it was not fitted on.

    Attributes:
        auc: probability that a query with an answer has a higher relevance, of the first result, than one without.
        ece: expected calibration error of the first results of queries with and without an answer.
    """

    auc: float
    ece: float


def enough(observations: Sequence[Observation]) -> bool:
    """Say whether a fit on these observations means anything."""
    answered = sum(observation.answered for observation in observations)
    right = sum(int(observation.right.sum()) for observation in observations)
    return answered >= MIN_ANSWERED and len(observations) - answered >= MIN_UNANSWERED and right >= MIN_RIGHT


def in_other_words(observations: Sequence[Observation]) -> list[Observation]:
    """Return observations of made queries, those with an answer also as people would see them who use other words.

    Made queries have the words of their documents, and people's have not always: a fit on them alone believes no cosine
    without the words beside it. So each counts a second time, with less weight, and with a random part of its words'
    shares. Only hybrid mode has both.
    """
    rng, found = np.random.default_rng(0), []
    for each in observations:
        if not each.answered or len(each.query) < BOTH_LEGS:
            found.append(each)
            continue
        part, query, results = rng.random(), each.query.copy(), each.results.copy()
        query[1] *= part
        results[:, 1] *= part
        found.append(each._replace(weight=(1 - OTHER_WORDS) * each.weight))
        found.append(each._replace(query=query, results=results, weight=OTHER_WORDS * each.weight))
    return found


def fit(observations: Sequence[Observation]) -> Regressions:
    """Return the coefficients of both regressions for one mode.

    The first is fitted on all queries, the second on the results of those that have an answer.
    """
    answered = [observation for observation in observations if observation.answered]
    query = logistic(
        np.stack([observation.query for observation in observations]),
        np.array([observation.answered for observation in observations]),
        np.array([observation.weight for observation in observations]),
        np.ones(len(observations[0].query)),
    )
    features = np.concatenate([observation.results for observation in answered])
    weights = [
        observation.weight * np.where(np.arange(len(observation.right)) == 0, 1.0, LOWER_WEIGHT)
        for observation in answered
    ]
    signs = np.append(np.ones(features.shape[1] - 1), -1.0)
    right = np.concatenate([observation.right for observation in answered])
    return Regressions(query=query, result=logistic(features, right, np.concatenate(weights), signs))


def logistic(
    features: Numbers, outcome: npt.NDArray[np.bool_], weights: npt.NDArray[np.floating], signs: Numbers
) -> Coefficients:
    """Return the coefficients of a penalised logistic regression, by Newton's method.

    Args:
        features: shape (rows, features).
        outcome: shape (rows,).
        weights: of the rows, shape (rows,).
        signs: 1 for a feature whose coefficient may not be negative, −1 for one whose may not be positive. A feature with
            the wrong sign is left out, the worst one first.
    """
    mean = np.average(features, axis=0, weights=weights)
    spread = np.sqrt(np.average((features - mean) ** 2, axis=0, weights=weights))
    kept = spread > 1e-9
    while True:
        slopes = np.zeros(features.shape[1])
        standard = (features[:, kept] - mean[kept]) / spread[kept]
        found = _newton(np.column_stack([np.ones(len(standard)), standard]), outcome.astype(np.float64), weights)
        slopes[kept] = found[1:]
        wrong = slopes * signs
        if wrong.min(initial=0.0) >= 0:
            break
        kept[int(wrong.argmin())] = False
    slopes[kept] /= spread[kept]
    return tuple(np.round([found[0] - slopes @ mean, *slopes], DIGITS).tolist())


def cross_validate(
    observations: Sequence[Observation], fitted_with: Callable[[Sequence[Observation]], Regressions] = fit
) -> Quality | None:
    """Return the quality on either half of the queries of a fit on the other half; None where these are too few."""
    halves = observations[::2], observations[1::2]
    if not all(map(enough, halves)):
        return None
    relevance, right, answered = [], [], []
    for fitted, measured in (halves, halves[::-1]):
        regressions = fitted_with(fitted)
        relevance += [first_relevance(regressions, observation) for observation in measured]
        right += [bool(observation.right[:1].any()) for observation in measured]
        answered += [observation.answered for observation in measured]
    values, has_answer = np.array(relevance), np.array(answered)
    return Quality(auc(values[has_answer], values[~has_answer]), calibration_error(values, np.array(right)))


def first_relevance(regressions: Regressions, observation: Observation) -> float:
    """Return the relevance of the first result of a query; 0 where it has none."""
    if not len(observation.right):
        return 0.0
    answered = predict(regressions.query, observation.query[None, :])
    return float((answered * predict(regressions.result, observation.results[:1]))[0])


def auc(positive: Numbers, negative: Numbers) -> float:
    """Return the area under the ROC curve: the probability that a positive value is above a negative one; ties count half."""
    if not len(positive) or not len(negative):
        return float("nan")
    ordered = np.sort(negative)
    below, up_to = np.searchsorted(ordered, positive, "left"), np.searchsorted(ordered, positive, "right")
    return float((below + up_to).mean() / 2 / len(negative))


def calibration_error(probabilities: Numbers, right: npt.NDArray[np.bool_]) -> float:
    """Return the expected calibration error over bins of equal width."""
    number = np.minimum((probabilities * BINS).astype(np.int64), BINS - 1)
    inside = [number == each for each in range(BINS)]
    return float(sum(abs(probabilities[bin_].sum() - right[bin_].sum()) for bin_ in inside) / max(len(right), 1))


def _newton(design: Numbers, outcome: Numbers, weights: npt.NDArray[np.floating]) -> Numbers:
    penalty = PENALTY * np.eye(design.shape[1])
    penalty[0, 0] = 1e-6  # the constant is free
    coefficients = np.zeros(design.shape[1])
    for _ in range(STEPS):
        probability = 1 / (1 + np.exp(-np.clip(design @ coefficients, -30, 30)))
        gradient = design.T @ (weights * (probability - outcome)) + penalty @ coefficients
        curvature = (design.T * (weights * probability * (1 - probability))) @ design + penalty
        step = np.linalg.solve(curvature, gradient)
        coefficients = coefficients - step
        if np.abs(step).max() < 1e-8:
            break
    return coefficients
