"""Which positions of a batch are to be predicted, and what stands there instead.

Of the words' positions 15 % are chosen; 80 % of these become [MASK], 10 % a random word piece, 10 % stay as they are, so
that the model has to know every position, not only the masked ones (Devlin et al. 2018, https://arxiv.org/abs/1810.04805,
section 3.1). All of it is arithmetic on whole arrays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

MASKED, RANDOM = 0.8, 0.1
"""Shares of the chosen positions that become [MASK] and a random piece; the others are kept."""

Ids = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


class Masked(NamedTuple):
    """A batch with holes."""

    ids: Ids
    """What the model reads, shape (rows, length)."""
    positions: Ids
    """Chosen positions in the flattened batch, ascending, shape (chosen,)."""
    labels: Ids
    """What stood there, shape (chosen,)."""
    hidden: Flags
    """Which of the chosen positions became [MASK], shape (chosen,)."""


@dataclass(frozen=True)
class Masker:
    """Chooses and replaces.

    ``mask`` is the id of [MASK], ``words`` are the ids that a random piece is drawn from (no special token among them),
    and ``continues`` says of every id whether it continues a word, shape (vocabulary,).
    """

    mask: int
    words: Ids
    continues: Flags
    share: float = 0.15
    whole_words: bool = False

    def apply(self, ids: Ids, ordinary: Flags, chance: np.random.Generator) -> Masked:
        """Return the batch with holes.

        Args:
            ids: token ids, shape (rows, length).
            ordinary: the positions that hold pieces of text, not special tokens or padding; shape (rows, length).
            chance: decides everything; the same generator gives the same holes.
        """
        chosen = self._choose(ids, ordinary, chance)
        positions = np.flatnonzero(chosen)
        labels = ids.ravel()[positions]
        # Exact shares in every batch, but for a fraction of a position that chance rounds.
        order = chance.permutation(len(positions)) + chance.random()
        hidden = order < MASKED * len(positions)
        drawn = ~hidden & (order < (MASKED + RANDOM) * len(positions))
        replaced = np.where(hidden, self.mask, labels)
        replaced[drawn] = chance.choice(self.words, int(drawn.sum()))
        holes = ids.copy()
        holes.ravel()[positions] = replaced
        return Masked(holes, positions, labels, hidden)

    def _choose(self, ids: Ids, ordinary: Flags, chance: np.random.Generator) -> Flags:
        """Return ``share`` of the ordinary positions of each row, at least one; chance rounds the number."""
        count = ordinary.sum(axis=1)
        wanted = np.maximum(np.floor(self.share * count + chance.random(len(ids))), np.minimum(count, 1))
        if not self.whole_words:
            draws = np.where(ordinary, chance.random(ids.shape), np.inf)
            ranks = draws.argsort(axis=1).argsort(axis=1)
            picked: Flags = ordinary & (ranks < wanted[:, None])
            return picked
        # A word begins at a piece that continues none, or after a special token. All its pieces have its draw.
        after_special = np.pad(~ordinary, ((0, 0), (1, 0)), constant_values=True)[:, :-1]
        word = (ordinary & (~self.continues[ids] | after_special)).cumsum(axis=1)
        draws = np.take_along_axis(chance.random((len(ids), ids.shape[1] + 1)), word, axis=1)
        order = np.where(ordinary, draws, np.inf).argsort(axis=1, kind="stable")
        sorted_word = np.take_along_axis(word, order, axis=1)
        place = np.arange(ids.shape[1])[None, :]
        first = np.diff(sorted_word, axis=1, prepend=-1) != 0
        begins = np.maximum.accumulate(np.where(first, place, 0), axis=1)
        last = np.diff(sorted_word, axis=1, append=-1) != 0
        ends = np.flip(np.minimum.accumulate(np.flip(np.where(last, place + 1, ids.shape[1]), 1), axis=1), 1)
        # A word that crosses the number wanted is taken if more than half of it lies before, and at exactly half by
        # chance: right on average.
        tie = np.where(chance.random((len(ids), 1)) < 0.5, 0.25, -0.25)
        taken = ((begins + ends) / 2 + tie < wanted[:, None]) | (begins == 0)
        chosen = np.zeros_like(ordinary)
        np.put_along_axis(chosen, order, taken, axis=1)
        return chosen & ordinary
