"""Fusion: the formulas, against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from indexer.retrieval.fusion import Fusion, fuse, ranks, standardised

DENSE = np.array([0.9, 0.8, 0.7, 0.1])
LEXICAL = np.array([0.0, 5.0, 2.0, 5.0])


def test_reciprocal_rank_fusion_by_hand() -> None:
    """Each leg adds its weight over k plus rank; a leg that has not found a document adds nothing."""
    fused = fuse(Fusion(method="rrf", k=60), DENSE, LEXICAL).scores
    expected = [0.5 / 61, 0.5 / 62 + 0.5 / 61, 0.5 / 63 + 0.5 / 63, 0.5 / 64 + 0.5 / 61]
    assert np.allclose(fused, expected, rtol=1e-12)


def test_reciprocal_rank_fusion_with_other_weights() -> None:
    """Weight and constant of the settings are used."""
    fused = fuse(Fusion(method="rrf", k=1, dense_weight=0.25), DENSE, LEXICAL).scores
    expected = [0.25 / 2, 0.25 / 3 + 0.75 / 2, 0.25 / 4 + 0.75 / 4, 0.25 / 5 + 0.75 / 2]
    assert np.allclose(fused, expected, rtol=1e-12)


def test_convex_by_hand() -> None:
    """Scores of each leg are standardised over the candidates and added with their weights."""
    dense, lexical = np.array([0.4, 0.2]), np.array([0.0, 7.0])  # z-scores (1, -1) and (-1, 1)
    assert np.allclose(fuse(Fusion(), dense, lexical).scores, [0, 0])
    assert np.allclose(fuse(Fusion(dense_weight=0.75), dense, lexical).scores, [0.5, -0.5])
    three = fuse(Fusion(dense_weight=1), np.array([1.0, 2.0, 3.0]), np.zeros(3)).scores
    assert np.allclose(three, [-(1.5**0.5), 0, 1.5**0.5])


@pytest.mark.parametrize("method", ["convex", "rrf"])
def test_one_leg_alone(method: str) -> None:
    """With all the weight on one leg, the order is that leg's."""
    dense_only = fuse(Fusion(method=method, dense_weight=1), DENSE, LEXICAL).scores
    assert (np.argsort(-dense_only) == [0, 1, 2, 3]).all()
    lexical_only = fuse(Fusion(method=method, dense_weight=0), DENSE, LEXICAL).scores
    assert lexical_only[1] == lexical_only[3] > lexical_only[2] > lexical_only[0]


@pytest.mark.parametrize("method", ["convex", "rrf"])
def test_fusion_is_monotone(method: str) -> None:
    """A document that both legs rank above another is never ranked below it."""
    rng = np.random.default_rng(3)
    dense, lexical = rng.random(40), rng.choice([0.0, 1.0, 2.5], 40)
    fused = fuse(Fusion(method=method), dense, lexical).scores
    for one in range(40):
        behind = (dense < dense[one]) & (lexical < lexical[one])
        assert (fused[behind] < fused[one]).all()


@pytest.mark.parametrize("value", [0.0, 0.3, 1e6, -5.0])
def test_standardised_constants_are_zero(value: float) -> None:
    """A leg with the same score for all candidates has no influence: zeros, not a division by zero."""
    assert standardised(np.full(7, value)).tolist() == [0] * 7
    assert standardised(np.full(7, value) + 1e-13).tolist() == [0] * 7


def test_standardised() -> None:
    """Z-scores have mean 0 and deviation 1 and do not depend on scale and offset."""
    scores = np.array([1.0, 4.0, 4.5, 30.0])
    scaled = standardised(scores)
    assert np.isclose(scaled.mean(), 0)
    assert np.isclose(scaled.std(), 1)
    assert np.allclose(standardised(7 * scores + 3), scaled)


@pytest.mark.parametrize("method", ["convex", "rrf"])
def test_no_candidates_and_one(method: str) -> None:
    """No candidates give no scores; a single one gets a finite score."""
    empty = np.empty(0)
    assert fuse(Fusion(method=method), empty, empty).scores.shape == (0,)
    assert np.isfinite(fuse(Fusion(method=method), np.array([0.5]), np.array([0.0])).scores).all()


def test_ranks() -> None:
    """Ranks begin at 1; equal scores share the better one."""
    assert ranks(np.array([5.0, 9.0, 5.0, 1.0, 9.0])).tolist() == [3, 1, 3, 5, 1]
    assert ranks(np.array([])).tolist() == []


@pytest.mark.parametrize(
    "fields", [{"dense_weight": 1.1}, {"dense_weight": -0.1}, {"k": 0}, {"method": "borda"}, {"weight": 0.5}]
)
def test_wrong_settings_are_refused(fields: dict[str, object]) -> None:
    """Weights outside 0 to 1, unknown methods and unknown names are refused."""
    with pytest.raises(ValidationError):
        Fusion.model_validate(fields)
