"""Examples become batches of token ids with holes."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from trainer.pretrain.examples import HOLES, Place, Recipe, Spans, generator, walk
from trainer.pretrain.tokens import Tokens


class Special(NamedTuple):
    """Ids of the special tokens."""

    pad: int
    cls: int
    sep: int


class Batch(NamedTuple):
    """What a model is trained on in one go; shapes are (rows, length) but where said otherwise."""

    input_ids: torch.Tensor
    token_type_ids: torch.Tensor
    attention_mask: torch.Tensor | None
    """None where no position is padding, which attention is quicker without."""
    positions: torch.Tensor
    """Positions to predict in the flattened batch, shape (chosen,)."""
    labels: torch.Tensor
    """What stood there, shape (chosen,)."""
    hidden: torch.Tensor
    """Which of these read [MASK], shape (chosen,)."""
    is_next: torch.Tensor
    """1 where the second segment follows the first, shape (rows,)."""

    tokens: int
    """Positions that are no padding."""

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device, without waiting for it."""
        if device.type == "cpu":
            return self
        moved = (
            part.pin_memory().to(device, non_blocking=True) if isinstance(part, torch.Tensor) else part for part in self
        )
        return Batch(*moved)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Batcher:
    """Lays examples out."""

    corpus: Tokens
    special: Special
    masker: Masker
    nsp: bool
    multiple: int = 1
    """Lengths of batches are multiples of it: 8 makes few shapes for a compiler, and faster matrices on a GPU."""

    def lay_out(self, spans: Spans, chance: np.random.Generator) -> Batch:
        """Return a batch of examples, masked as ``chance`` wants it."""
        first, second = spans.a_end - spans.a, spans.b_end - spans.b
        end = first + second + (2 if self.nsp else 1)  # of the last [SEP]
        length = -(-int(end.max() + 1) // self.multiple) * self.multiple
        place = np.arange(length)[None, :]
        first, second, end = first[:, None], second[:, None], end[:, None]
        in_a = (place >= 1) & (place <= first)
        in_b = (place >= first + 2) & (place < end) & self.nsp
        source = np.where(in_a, spans.a[:, None] + place - 1, 0)
        source = np.where(in_b, spans.b[:, None] + place - first - 2, source)
        ids = np.full(in_a.shape, self.special.pad, dtype=np.int64)
        ordinary = in_a | in_b
        ids[ordinary] = self.corpus.tokens[source[ordinary]]
        ids[:, 0] = self.special.cls
        ids[(place == first + 1) | (place == end)] = self.special.sep
        masked = self.masker.apply(ids, ordinary, chance)
        types = (place > first + 1) & (place <= end)
        real = int((end + 1).sum())
        return Batch(
            torch.from_numpy(masked.ids),
            torch.from_numpy(types.astype(np.int64)),
            None if real == ids.size else torch.from_numpy((place <= end).astype(np.int64)),
            torch.from_numpy(masked.positions),
            torch.from_numpy(masked.labels),
            torch.from_numpy(masked.hidden),
            torch.from_numpy(spans.is_next.astype(np.int64)),
            real,
        )

    def stream(
        self, recipe: Recipe, room: int, start: Place | None, *, processes: int = 1, process: int = 0
    ) -> Iterator[tuple[Place, Batch]]:
        """Yield the batches of one of several processes, without end; each takes one of every group of batches.

        With each batch comes the place of its group. ``start`` is the last group that was done; None for none.
        """
        group = Place()
        done = 0 if start is None else processes
        for number, (place, spans) in enumerate(walk(self.corpus, recipe, room, start or Place())):
            if number % processes == 0:
                group = place
            if number >= done and number % processes == process:
                yield group, self.lay_out(spans, generator(recipe.seed, HOLES, *place))


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


Item = TypeVar("Item")

AHEAD = 4


@contextmanager
def prefetched(items: Iterator[Item]) -> Iterator[Iterator[Item]]:
    """Yield the same items, made in a thread of their own and at most `AHEAD` of them before they are asked for."""
    waiting: queue.Queue[tuple[Item | None, BaseException | None]] = queue.Queue(AHEAD)
    over = threading.Event()

    def put(item: Item | None, error: BaseException | None) -> None:
        while not over.is_set():
            try:
                waiting.put((item, error), timeout=0.1)
            except queue.Full:
                continue
            return

    def work() -> None:
        try:
            for item in items:
                put(item, None)
                if over.is_set():
                    return
            put(None, StopIteration())
        except BaseException as error:  # noqa: BLE001 - it is raised where the items are asked for
            put(None, error)

    def ask() -> Iterator[Item]:
        while True:
            item, error = waiting.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item  # type: ignore[misc]

    thread = threading.Thread(target=work, daemon=True, name="prefetch")
    thread.start()
    try:
        yield ask()
    finally:
        over.set()
        thread.join()
