"""Ridge regression between the vectors of two encoders: the map that is there is found, and noise is not learned."""

from __future__ import annotations

import numpy as np
import pytest

from indexer.index.dense import unit
from trainer.adapter.ridge import PENALTIES, fit_map

RNG = np.random.default_rng(3)
MATRIX = RNG.normal(size=(6, 10)).astype(np.float32)
BIAS = RNG.normal(size=6).astype(np.float32)


def pairs(count: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of 10 values, and their images of 6 under an affine map with noise; these are not of unit length."""
    rng = np.random.default_rng(count)
    new = unit(rng.normal(size=(count, 10)).astype(np.float32))
    return new, (new @ MATRIX.T + BIAS + noise * rng.normal(size=(count, 6))).astype(np.float32)


def test_an_affine_map_is_found() -> None:
    """Without noise the map, its bias and the smallest penalty are found, though the dimensions differ."""
    new, old = pairs(300, 0)
    learned = fit_map(new, old, np.ones(300, dtype=bool))
    assert learned.matrix.shape == (6, 10)
    assert learned.penalty == PENALTIES[0]
    assert np.allclose(learned.matrix, MATRIX, atol=0.02)
    assert np.allclose(learned.bias, BIAS, atol=0.02)
    others, images = pairs(50, 0)
    assert np.allclose(learned.apply(others), unit(images), atol=1e-3)


def test_noise_asks_for_a_penalty() -> None:
    """With few noisy pairs a larger penalty is chosen, and new pairs are mapped better than with the smallest."""
    new, old = pairs(24, 2.0)
    learned = fit_map(new, old, np.ones(24, dtype=bool))
    assert learned.penalty > PENALTIES[0]


def test_the_cosine_is_that_of_pairs_left_out() -> None:
    """Where the old vectors have nothing to do with the new ones, pairs left out show it; those learned from would not."""
    rng = np.random.default_rng(1)
    new, old = (unit(rng.normal(size=(40, 32)).astype(np.float32)) for _ in range(2))
    learned = fit_map(new, old, np.ones(40, dtype=bool))
    assert learned.cosine < 0.3


def test_only_judged_pairs_choose() -> None:
    """Pairs that are not judged are all learned from: the cosine is that of the judged kind."""
    new, old = pairs(200, 0)
    judged = np.arange(200) < 50
    spoilt = old.copy()
    spoilt[~judged] = RNG.normal(size=(150, 6))
    assert fit_map(new, old, judged).cosine > fit_map(new, spoilt, judged).cosine
    with pytest.raises(ValueError, match="200 pairs, of which 0 are judged"):
        fit_map(new, old, np.zeros(200, dtype=bool))
