"""Calibration: probabilities become shares, answers stay, thresholds are the best on dev."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score

from indexer.inference.classifier import ClassifierContract
from trainer.classify.calibration import calibrate, calibration, decisions, platt, temperature, thresholds
from trainer.classify.data import Part


def part(truth):
    """Rows with this truth."""
    return Part(["a"] * len(truth), truth, np.zeros(len(truth), bool))


def contract(**options):
    """A contract of three labels."""
    return ClassifierContract(labels=["a", "b", "c"], max_tokens=8, pad_token_id=0, **{"multi_label": False, **options})


def drawn(count, labels, seed=0):
    """Honest logits, and labels drawn with the probabilities that they mean."""
    chance = np.random.default_rng(seed)
    logits = chance.normal(0, 1.5, (count, labels)).astype(np.float32)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    places = (shares.cumsum(axis=1) > chance.random((count, 1))).argmax(axis=1)
    return logits, places[:, None] == np.arange(labels)


@pytest.mark.parametrize("factor", [0.3, 1.0, 4.0])
def test_the_temperature_is_found(factor):
    """Logits that are too loud or too quiet by a factor get that factor as their temperature."""
    logits, truth = drawn(4000, 3)
    assert temperature(logits * factor, truth) == pytest.approx(factor, rel=0.08)


def test_calibration_lowers_the_error_and_changes_no_answer():
    """Overconfident probabilities become honest on rows that were not fitted on; the most probable label stays."""
    logits, truth = drawn(6000, 3)
    loud = logits * 4
    fitted = calibrate(contract(), loud[:3000], part(truth[:3000]))
    raw, honest = contract().probabilities(loud[3000:]), fitted.probabilities(loud[3000:])
    before = calibration(decisions(raw, truth[3000:], multi_label=False))
    after = calibration(decisions(honest, truth[3000:], multi_label=False))
    assert before.ece > 0.15
    assert after.ece < 0.04
    assert (raw.argmax(axis=1) == honest.argmax(axis=1)).all()


def test_the_error_of_a_case_by_hand():
    """Ten decisions with .95, of which eight are right, are .15 off; bins are weighted by their rows."""
    probabilities = np.full((10, 2), (0.95, 0.05), np.float32)
    truth = np.array([[True, False]] * 8 + [[False, True]] * 2)
    found = calibration(decisions(probabilities, truth, multi_label=False))
    assert found.ece == pytest.approx(0.15, abs=1e-5)
    assert [(each.rows, each.true) for each in found.bins] == [(10, 0.8)]


def test_each_of_several_labels_is_calibrated_for_itself():
    """A label that is too sure and one that is shifted are both put right by slope and offset."""
    chance = np.random.default_rng(3)
    honest = chance.normal(0, 2, (6000, 3)).astype(np.float32)
    truth = chance.random(honest.shape) < 1 / (1 + np.exp(-honest))
    bent = honest * (3.0, 1.0, 0.5) + (0.0, 2.0, 0.0)
    fitted = calibrate(contract(multi_label=True), bent[:3000].astype(np.float32), part(truth[:3000]))
    assert fitted.scale == pytest.approx([1 / 3, 1, 2], rel=0.15)
    assert fitted.bias == pytest.approx([0, -2, 0], abs=0.3)
    after = calibration(decisions(fitted.probabilities(bent[3000:].astype(np.float32)), truth[3000:], multi_label=True))
    assert after.ece < 0.03


def test_nothing_is_fitted_to_a_handful():
    """With fewer than five rows with the label, or without, slope, offset and threshold stay as they were."""
    logits = np.linspace(-3, 3, 40).astype(np.float32)
    truth = np.zeros(40, bool)
    truth[-4:] = True
    assert platt(logits, truth) == (1.0, 0.0)
    assert thresholds(logits[:, None], truth[:, None]) == [0.5]


def test_all_right_on_dev_does_not_mean_certain():
    """Where dev has no mistake, Platt's targets keep the slope finite, and so the probabilities below 1."""
    logits = np.concatenate([np.full(20, -2.0), np.full(20, 2.0)]).astype(np.float32)
    slope, offset = platt(logits, logits > 0)
    assert 1 / (1 + np.exp(-(2 * slope + offset))) == pytest.approx(21 / 22, abs=0.01)


def test_the_threshold_is_the_best_on_dev():
    """No other threshold has a better F1 on the rows that it was chosen on, also where probabilities are equal."""
    chance = np.random.default_rng(5)
    truth = chance.random(300) < 0.2
    said = np.round(np.clip(0.25 * truth + chance.random(300) * 0.5, 0, 1), 2).astype(np.float32)
    (chosen,) = thresholds(said[:, None], truth[:, None])
    best = max(f1_score(truth, said >= each) for each in np.unique(said))
    assert f1_score(truth, said >= chosen) == pytest.approx(best)
