"""Rocchio query vector: towards relevant examples, away from irrelevant ones."""

from __future__ import annotations

import numpy as np
import pytest

from indexer.retrieval.rocchio import ALPHA, BETA, GAMMA, rocchio

EAST, NORTH, UP = np.eye(3, dtype=np.float32)
NONE = np.empty((0, 3), dtype=np.float32)


def test_the_parts_are_added_with_their_weights():
    """Text, mean of the examples and mean of the negatives are added with their weights, whatever their lengths are."""
    vector = rocchio(5 * EAST, np.stack([NORTH, NORTH, 2 * NORTH]), np.stack([UP]))
    expected = np.array([ALPHA, BETA, -GAMMA])
    assert vector == pytest.approx(expected / np.linalg.norm(expected), abs=1e-6)


def test_one_part_alone():
    """The query vector of a text alone is that of the text, and so for a single example."""
    assert rocchio(3 * EAST, NONE, NONE) == pytest.approx(EAST)
    assert rocchio(None, NORTH[None, :], NONE) == pytest.approx(NORTH)
    assert float(rocchio(None, NORTH[None, :], (NORTH + EAST)[None, :]) @ EAST) < 0
