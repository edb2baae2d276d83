"""Documents that deserve written queries: all parts of a corpus, by what is typical of them."""

from __future__ import annotations

import numpy as np
import pytest

from indexer.index.dense import unit
from trainer.mining import coverage
from trainer.mining.coverage import representatives

SIZES = (200, 30, 10, 3)


@pytest.fixture
def vectors() -> np.ndarray:
    """Unit vectors of four groups of very different sizes."""
    rng = np.random.default_rng(1)
    centres = np.eye(16)[:4]
    return unit(
        np.concatenate([c + rng.normal(0, 0.1, (n, 16)) for c, n in zip(centres, SIZES, strict=True)]).astype(
            np.float32
        )
    )


def group_of(row: int) -> int:
    """Return the number of the group of a row."""
    return int(np.searchsorted(np.cumsum(SIZES), row, side="right"))


@pytest.mark.parametrize("seed", range(5))
def test_every_part_is_represented_by_what_is_typical(vectors: np.ndarray, seed: int) -> None:
    """Four documents are one of each group, however small it is, and near the middle of it; the seed hardly matters."""
    chosen = representatives(vectors, range(len(vectors)), 4, seed)
    assert [group_of(row) for row in chosen] == [0, 1, 2, 3]
    for row in chosen:
        group = vectors[[other for other in range(len(vectors)) if group_of(other) == group_of(row)]]
        cosines = group @ group.mean(axis=0)
        assert vectors[row] @ group.mean(axis=0) >= np.median(cosines)


def test_only_the_rows_that_may_be_chosen_are(vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others are never chosen, not even to fill the number; each is chosen once, also among copies and in a sample."""
    rows = list(range(1, len(vectors), 2))
    assert representatives(vectors, rows, 1_000, 0) == rows
    for most in (20_000, 60):
        monkeypatch.setattr(coverage, "MAX_CANDIDATES", most)
        chosen = representatives(vectors, rows, 50, 0)
        assert len(chosen) == len(set(chosen)) == 50
        assert set(chosen) <= set(rows)
    copies = np.repeat(vectors[:1], 20, axis=0)
    assert len(representatives(copies, range(20), 7, 0)) == 7
