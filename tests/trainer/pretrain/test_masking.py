"""Masking: the paper's shares, no special tokens, whole words on request, and the same result from the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.pretrain.batches import Masker
from trainer.pretrain.examples import make_generator

VOCABULARY, MASK = 1000, 4
WORDS = np.arange(5, VOCABULARY)
CONTINUES = np.arange(VOCABULARY) % 3 == 0
"""Every third piece continues a word."""


def masker(*, share: float = 0.15, whole_words: bool = False) -> Masker:
    """Return a masker of a vocabulary of a thousand pieces, the first five of them special."""
    return Masker(MASK, WORDS, CONTINUES, share, whole_words)


def rows(count: int, length: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return ids and ordinary positions of rows of different lengths, with special tokens at both ends and a [SEP] inside."""
    chance = np.random.default_rng(seed)
    ids = chance.choice(WORDS, (count, length))
    place = np.arange(length)[None, :]
    end = chance.integers(length // 2, length, count)[:, None]
    ordinary = (place > 0) & (place < end) & (place != end // 2)
    ids = np.where(ordinary, ids, np.where(place > end, 0, 3))
    ids[:, 0] = 2
    return ids, ordinary


@pytest.mark.parametrize("whole_words", [False, True])
def test_statistics_over_many_positions(whole_words: bool) -> None:
    """Of 100,000 positions 15 % are chosen, of these 80 % hidden, 10 % drawn and 10 % kept; special tokens never."""
    ids, ordinary = rows(1600, 96)
    assert ordinary.sum() > 100_000
    done = masker(whole_words=whole_words).apply(ids, ordinary, make_generator(1))
    chosen, read = len(done.positions), done.ids.ravel()[done.positions]
    assert chosen / ordinary.sum() == pytest.approx(0.15, abs=0.002)
    assert done.is_mask.mean() == pytest.approx(0.8, abs=0.01)
    assert (read == MASK).mean() == pytest.approx(0.8, abs=0.01)
    assert (read == done.labels).mean() == pytest.approx(0.1, abs=0.01)  # one in a thousand was drawn as it was
    assert ((read != MASK) & (read != done.labels)).mean() == pytest.approx(0.1, abs=0.01)
    assert ordinary.ravel()[done.positions].all()
    assert not np.isin(read[read != MASK], range(5)).any()
    untouched = np.ones(ids.size, dtype=bool)
    untouched[done.positions] = False
    assert np.array_equal(done.ids.ravel()[untouched], ids.ravel()[untouched])
    assert np.array_equal(done.labels, ids.ravel()[done.positions])


def test_in_batches_as_small_as_those_of_training() -> None:
    """The shares are exact in every batch but for rounding, so that many small ones come to the same."""
    counts = np.zeros(4)
    for number in range(400):
        ids, ordinary = rows(4, 80, seed=number)
        done = masker().apply(ids, ordinary, make_generator(number))
        read = done.ids.ravel()[done.positions]
        counts += len(done.positions), (read == MASK).sum(), (read == done.labels).sum(), ordinary.sum()
    assert counts[0] / counts[3] == pytest.approx(0.15, abs=0.002)
    assert counts[1] / counts[0] == pytest.approx(0.8, abs=0.01)
    assert counts[2] / counts[0] == pytest.approx(0.1, abs=0.01)


def test_the_same_chance_makes_the_same_holes() -> None:
    """A training that was killed sees what it would have seen; another epoch sees something else."""
    ids, ordinary = rows(8, 64)
    first, again, other = (masker().apply(ids, ordinary, make_generator(7, epoch)) for epoch in (0, 0, 1))
    assert np.array_equal(first.ids, again.ids)
    assert not np.array_equal(first.positions, other.positions)


def test_every_position_is_chosen_as_often() -> None:
    """Neither the beginning nor the end of a text is spared."""
    ids = np.full((20_000, 22), 7)
    ordinary = np.zeros_like(ids, dtype=bool)
    ordinary[:, 1:21] = True
    done = masker().apply(ids, ordinary, make_generator(3))
    per_place = np.bincount(done.positions % 22, minlength=22)[1:21] / len(ids)
    assert per_place == pytest.approx(0.15, abs=0.015)


def test_whole_words_are_hidden_whole() -> None:
    """With whole words all pieces of a word are chosen or none; a word ends at a special token."""
    ids, ordinary = rows(400, 64)
    done = masker(whole_words=True).apply(ids, ordinary, make_generator(5))
    chosen = np.zeros(ids.size, dtype=bool)
    chosen[done.positions] = True
    chosen = chosen.reshape(ids.shape)
    goes_on = ordinary[:, 1:] & ordinary[:, :-1] & CONTINUES[ids[:, 1:]]
    assert goes_on.sum() > 5000
    assert np.array_equal(chosen[:, 1:][goes_on], chosen[:, :-1][goes_on])
    single = masker().apply(ids, ordinary, make_generator(5))
    apart = np.zeros(ids.size, dtype=bool)
    apart[single.positions] = True
    apart = apart.reshape(ids.shape)
    assert (apart[:, 1:][goes_on] != apart[:, :-1][goes_on]).any()


@pytest.mark.parametrize("whole_words", [False, True])
def test_short_texts_have_a_hole_too(whole_words: bool) -> None:
    """Of three positions one is predicted, and of none none."""
    ids = np.array([[2, 7, 8, 10, 3], [2, 3, 0, 0, 0]])
    ordinary = np.array([[0, 1, 1, 1, 0], [0, 0, 0, 0, 0]], dtype=bool)
    for seed in range(20):
        done = masker(whole_words=whole_words).apply(ids, ordinary, make_generator(seed))
        assert len(done.positions) >= 1
        assert set(done.positions) <= {1, 2, 3}
