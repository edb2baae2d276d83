"""Rocchio's sum: towards what is like it, away from what is not."""

from __future__ import annotations

import numpy as np
import pytest

from indexer.retrieval.rocchio import ALPHA, BETA, GAMMA, rocchio

EAST, NORTH, UP = np.eye(3, dtype=np.float32)
NONE = np.empty((0, 3), dtype=np.float32)


def test_the_sum_has_its_weights():
    """Text, mean of the examples and mean of the negatives are added with their weights; lengths do not count."""
    meant = rocchio(5 * EAST, np.stack([NORTH, NORTH, 2 * NORTH]), np.stack([UP]))
    expected = np.array([ALPHA, BETA, -GAMMA])
    assert meant == pytest.approx(expected / np.linalg.norm(expected), abs=1e-6)


def test_one_part_alone_is_itself():
    """A text alone is the text, an example alone the example."""
    assert rocchio(3 * EAST, NONE, NONE) == pytest.approx(EAST)
    assert rocchio(None, NORTH[None, :], NONE) == pytest.approx(NORTH)
    assert float(rocchio(None, NORTH[None, :], (NORTH + EAST)[None, :]) @ EAST) < 0
