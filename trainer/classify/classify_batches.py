"""Batches of texts of similar length, so that little of a batch is padding, in an order that seed and epoch decide.

A resumed training draws the batches that an uninterrupted one would have drawn; transformers' own sampler by length
draws others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

POOL = 50
"""Batches' worth of rows among which similar lengths are sought: enough to find them, few enough to keep chance."""


class ByLength(Sampler[int]):
    """Yields each row once an epoch; every ``batch_size`` in a row are of similar length.

    Args:
        lengths: number of tokens of every row.
        batch_size: rows in a batch.
        seed: of the order.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self._lengths = np.asarray(lengths)
        self._batch_size = batch_size
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of ``epoch``; the training's loop calls this."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        chance = np.random.default_rng((self._seed, self._epoch))
        order = chance.permutation(len(self))
        size = self._batch_size
        full = len(order) // size * size  # what makes no whole batch comes last, and keeps the others aligned
        batches = []
        for start in range(0, full, size * POOL):
            pool = order[start : min(start + size * POOL, full)]
            pool = pool[np.argsort(self._lengths[pool], kind="stable")]
            batches += [pool[at : at + size] for at in range(0, len(pool), size)]
        for place in chance.permutation(len(batches)):
            yield from batches[place].tolist()
        yield from order[full:].tolist()
