"""Calibration: probabilities match shares of right answers, answers stay, thresholds are the best on dev."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score

from indexer.inference.classifier import ClassifierContract
from trainer.classify.calibration import (
    calibrate,
    choose_thresholds,
    collect_decisions,
    fit_platt,
    fit_temperature,
)
from trainer.classify.data import Split
from trainer.evaluate.reliability import measure_calibration


def make_split(truth):
    """Return rows with this truth."""
    return Split(["a"] * len(truth), truth, np.zeros(len(truth), bool))


def contract(**options):
    """Return a contract of three labels."""
    return ClassifierContract(labels=["a", "b", "c"], max_tokens=8, pad_token_id=0, **{"multi_label": False, **options})


def draw_calibrated(count, labels, seed=0):
    """Return calibrated logits: the labels are drawn with the probabilities of their softmax."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (count, labels)).astype(np.float32)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    indices = (shares.cumsum(axis=1) > rng.random((count, 1))).argmax(axis=1)
    return logits, indices[:, None] == np.arange(labels)


@pytest.mark.parametrize("factor", [0.3, 1.0, 4.0])
def test_the_temperature_is_found(factor):
    """Logits that are too large or too small by a factor get that factor as their temperature."""
    logits, truth = draw_calibrated(4000, 3)
    assert fit_temperature(logits * factor, truth) == pytest.approx(factor, rel=0.08)


def test_calibration_lowers_the_error_and_changes_no_answer():
    """Overconfident probabilities become calibrated on rows that were not fitted on; the most probable label stays."""
    logits, truth = draw_calibrated(6000, 3)
    overconfident = logits * 4
    fitted = calibrate(contract(), overconfident[:3000], make_split(truth[:3000]))
    raw = contract().probabilities(overconfident[3000:])
    calibrated = fitted.probabilities(overconfident[3000:])
    before = measure_calibration(collect_decisions(raw, truth[3000:], multi_label=False))
    after = measure_calibration(collect_decisions(calibrated, truth[3000:], multi_label=False))
    assert before.ece > 0.15
    assert after.ece < 0.04
    assert (raw.argmax(axis=1) == calibrated.argmax(axis=1)).all()


def test_the_error_of_a_case_by_hand():
    """Ten decisions with .95, of which eight are right, are .15 off; bins are weighted by their rows."""
    probabilities = np.full((10, 2), (0.95, 0.05), np.float32)
    truth = np.array([[True, False]] * 8 + [[False, True]] * 2)
    calibration = measure_calibration(collect_decisions(probabilities, truth, multi_label=False))
    assert calibration.ece == pytest.approx(0.15, abs=1e-5)
    assert [(part.rows, part.true) for part in calibration.bins] == [(10, 0.8)]


def test_each_of_several_labels_is_calibrated_for_itself():
    """An overconfident label and a shifted one are both corrected by slope and offset."""
    rng = np.random.default_rng(3)
    logits = rng.normal(0, 2, (6000, 3)).astype(np.float32)
    truth = rng.random(logits.shape) < 1 / (1 + np.exp(-logits))
    distorted = logits * (3.0, 1.0, 0.5) + (0.0, 2.0, 0.0)
    fitted = calibrate(contract(multi_label=True), distorted[:3000].astype(np.float32), make_split(truth[:3000]))
    assert fitted.scale == pytest.approx([1 / 3, 1, 2], rel=0.15)
    assert fitted.bias == pytest.approx([0, -2, 0], abs=0.3)
    probabilities = fitted.probabilities(distorted[3000:].astype(np.float32))
    after = measure_calibration(collect_decisions(probabilities, truth[3000:], multi_label=True))
    assert after.ece < 0.03


def test_nothing_is_fitted_to_a_handful():
    """With fewer than five rows with the label, or without it, slope, offset and threshold keep their defaults."""
    logits = np.linspace(-3, 3, 40).astype(np.float32)
    truth = np.zeros(40, bool)
    truth[-4:] = True
    assert fit_platt(logits, truth) == (1.0, 0.0)
    assert choose_thresholds(logits[:, None], truth[:, None]) == [0.5]


def test_all_right_on_dev_does_not_mean_certain():
    """Where dev has no mistake, Platt's targets keep the slope finite and the probabilities below 1."""
    logits = np.concatenate([np.full(20, -2.0), np.full(20, 2.0)]).astype(np.float32)
    slope, offset = fit_platt(logits, logits > 0)
    assert 1 / (1 + np.exp(-(2 * slope + offset))) == pytest.approx(21 / 22, abs=0.01)


def test_the_threshold_is_the_best_on_dev():
    """No other threshold has a better F1 on the rows that it was chosen on, also where probabilities are equal."""
    rng = np.random.default_rng(5)
    truth = rng.random(300) < 0.2
    probabilities = np.round(np.clip(0.25 * truth + rng.random(300) * 0.5, 0, 1), 2).astype(np.float32)
    (chosen,) = choose_thresholds(probabilities[:, None], truth[:, None])
    best = max(f1_score(truth, probabilities >= threshold) for threshold in np.unique(probabilities))
    assert f1_score(truth, probabilities >= chosen) == pytest.approx(best)
