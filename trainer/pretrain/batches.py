"""Batches for pre-training: collation of examples to token ids, masking, and prefetching in a thread.

Of the positions with text 15 % are chosen. 80 % of these become [MASK], 10 % a random word piece, and 10 % stay as they
are. The model therefore has to know every position, not only the masked ones (Devlin et al. 2018,
https://arxiv.org/abs/1810.04805, section 3.1). All of it is arithmetic on whole arrays.
"""

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

from trainer.pretrain.examples import MASKS, DataPosition, Recipe, Spans, iterate_batches, make_generator
from trainer.pretrain.tokens import Tokens

MASK_SHARE, RANDOM_SHARE = 0.8, 0.1
"""Shares of the chosen positions that become [MASK], and that become a random piece; the others are kept."""
PREFETCHED = 4
"""Batches that are made ahead."""
Ids = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Item = TypeVar("Item")


class SpecialIds(NamedTuple):
    """Ids of the special tokens."""

    pad: int
    cls: int
    sep: int


class Batch(NamedTuple):
    """Tensors of one forward pass; shapes are (rows, length) unless another is given."""

    input_ids: torch.Tensor
    token_type_ids: torch.Tensor
    attention_mask: torch.Tensor | None
    """None where no position is padding; attention is faster without a mask."""
    positions: torch.Tensor
    """Positions to predict in the flattened batch, shape (chosen,)."""
    labels: torch.Tensor
    """Original ids at these positions, shape (chosen,)."""
    is_mask: torch.Tensor
    """Which of these positions show [MASK], shape (chosen,)."""
    is_next: torch.Tensor
    """1 where the second segment follows the first, shape (rows,)."""

    tokens: int
    """Number of positions that are not padding."""

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device; the copy is asynchronous."""
        if device.type == "cpu":
            return self
        moved = (
            value.pin_memory().to(device, non_blocking=True) if isinstance(value, torch.Tensor) else value
            for value in self
        )
        return Batch(*moved)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Batcher:
    """Makes batches from examples of a corpus."""

    corpus: Tokens
    special: SpecialIds
    masker: Masker
    nsp: bool
    multiple: int = 1
    """Lengths of batches are multiples of it. With 8 there are few shapes to compile, and GPUs multiply faster."""

    def collate(self, spans: Spans, rng: np.random.Generator) -> Batch:
        """Return a batch of examples, with masks drawn from ``rng``."""
        first, second = spans.a_end - spans.a, spans.b_end - spans.b
        end = first + second + (2 if self.nsp else 1)  # position of the last [SEP]
        length = -(-int(end.max() + 1) // self.multiple) * self.multiple
        position = np.arange(length)[None, :]
        first, second, end = first[:, None], second[:, None], end[:, None]
        in_a = (position >= 1) & (position <= first)
        in_b = (position >= first + 2) & (position < end) & self.nsp
        source = np.where(in_a, spans.a[:, None] + position - 1, 0)
        source = np.where(in_b, spans.b[:, None] + position - first - 2, source)
        ids = np.full(in_a.shape, self.special.pad, dtype=np.int64)
        ordinary = in_a | in_b
        ids[ordinary] = self.corpus.tokens[source[ordinary]]
        ids[:, 0] = self.special.cls
        ids[(position == first + 1) | (position == end)] = self.special.sep
        masked = self.masker.apply(ids, ordinary, rng)
        types = (position > first + 1) & (position <= end)
        tokens = int((end + 1).sum())
        return Batch(
            torch.from_numpy(masked.ids),
            torch.from_numpy(types.astype(np.int64)),
            None if tokens == ids.size else torch.from_numpy((position <= end).astype(np.int64)),
            torch.from_numpy(masked.positions),
            torch.from_numpy(masked.labels),
            torch.from_numpy(masked.is_mask),
            torch.from_numpy(spans.is_next.astype(np.int64)),
            tokens,
        )

    def stream(
        self, recipe: Recipe, batch_tokens: int, start: DataPosition | None, *, processes: int = 1, process: int = 0
    ) -> Iterator[tuple[DataPosition, Batch]]:
        """Yield the endless batches of one of several processes: one batch of every group of ``processes`` batches.

        Args:
            recipe: how examples are made.
            batch_tokens: positions of a batch, padding included.
            start: the position of the last group that was trained on; None at the beginning.
            processes: number of processes.
            process: number of this process, from 0.

        Yields:
            The position of the batch's group, and the batch.
        """
        group = DataPosition()
        done = 0 if start is None else processes
        positions = iterate_batches(self.corpus, recipe, batch_tokens, start or DataPosition())
        for number, (position, spans) in enumerate(positions):
            if number % processes == 0:
                group = position
            if number >= done and number % processes == process:
                yield group, self.collate(spans, make_generator(recipe.seed, MASKS, *position))


class MaskedIds(NamedTuple):
    """Token ids after masking, and what is to be predicted."""

    ids: Ids
    """Input of the model, shape (rows, length)."""
    positions: Ids
    """Chosen positions in the flattened batch, ascending, shape (chosen,)."""
    labels: Ids
    """Original ids at these positions, shape (chosen,)."""
    is_mask: Flags
    """Which of the chosen positions became [MASK], shape (chosen,)."""


@dataclass(frozen=True)
class Masker:
    """Chooses positions and replaces their ids.

    ``mask`` is the id of [MASK]. ``words`` are the ids that a random piece is drawn from, without special tokens.
    ``continues`` says of every id whether it continues a word, shape (vocabulary,). ``share`` of the positions is
    chosen, and with ``whole_words`` all pieces of a word or none.
    """

    mask: int
    words: Ids
    continues: Flags
    share: float = 0.15
    whole_words: bool = False

    def apply(self, ids: Ids, ordinary: Flags, rng: np.random.Generator) -> MaskedIds:
        """Return the masked batch.

        Args:
            ids: token ids, shape (rows, length).
            ordinary: the positions with pieces of text, not special tokens or padding; shape (rows, length).
            rng: source of all random numbers; the same generator gives the same masks.
        """
        chosen = self._choose(ids, ordinary, rng)
        positions = np.flatnonzero(chosen)
        labels = ids.ravel()[positions]
        # The shares are exact in every batch, except for a fraction of a position, which is rounded at random.
        order = rng.permutation(len(positions)) + rng.random()
        is_mask = order < MASK_SHARE * len(positions)
        is_random = ~is_mask & (order < (MASK_SHARE + RANDOM_SHARE) * len(positions))
        replacements = np.where(is_mask, self.mask, labels)
        replacements[is_random] = rng.choice(self.words, int(is_random.sum()))
        masked = ids.copy()
        masked.ravel()[positions] = replacements
        return MaskedIds(masked, positions, labels, is_mask)

    def _choose(self, ids: Ids, ordinary: Flags, rng: np.random.Generator) -> Flags:
        """Return ``share`` of the ordinary positions of each row, at least one; the number is rounded at random."""
        available = ordinary.sum(axis=1)
        count = np.maximum(np.floor(self.share * available + rng.random(len(ids))), np.minimum(available, 1))
        if not self.whole_words:
            draws = np.where(ordinary, rng.random(ids.shape), np.inf)
            ranks = draws.argsort(axis=1).argsort(axis=1)
            picked: Flags = ordinary & (ranks < count[:, None])
            return picked
        # A word begins at a piece that continues none, or after a special token. All its pieces share one draw.
        after_special = np.pad(~ordinary, ((0, 0), (1, 0)), constant_values=True)[:, :-1]
        word = (ordinary & (~self.continues[ids] | after_special)).cumsum(axis=1)
        draws = np.take_along_axis(rng.random((len(ids), ids.shape[1] + 1)), word, axis=1)
        order = np.where(ordinary, draws, np.inf).argsort(axis=1, kind="stable")
        sorted_word = np.take_along_axis(word, order, axis=1)
        rank = np.arange(ids.shape[1])[None, :]
        is_first = np.diff(sorted_word, axis=1, prepend=-1) != 0
        begins = np.maximum.accumulate(np.where(is_first, rank, 0), axis=1)
        is_last = np.diff(sorted_word, axis=1, append=-1) != 0
        ends = np.flip(np.minimum.accumulate(np.flip(np.where(is_last, rank + 1, ids.shape[1]), 1), axis=1), 1)
        # A word that crosses the desired count is taken if more than half of it is before, and at exactly half at
        # random. The count is then right on average.
        tie = np.where(rng.random((len(ids), 1)) < 0.5, 0.25, -0.25)
        taken = ((begins + ends) / 2 + tie < count[:, None]) | (begins == 0)
        chosen = np.zeros_like(ordinary)
        np.put_along_axis(chosen, order, taken, axis=1)
        return chosen & ordinary


@contextmanager
def prefetch(items: Iterator[Item]) -> Iterator[Iterator[Item]]:
    """Yield an iterator over the same items, which a thread produces, at most `PREFETCHED` ahead of their use."""
    ready: queue.Queue[tuple[Item | None, BaseException | None]] = queue.Queue(PREFETCHED)
    stopped = threading.Event()

    def put(item: Item | None, error: BaseException | None) -> None:
        while not stopped.is_set():
            try:
                ready.put((item, error), timeout=0.1)
            except queue.Full:
                continue
            return

    def produce() -> None:
        try:
            for item in items:
                put(item, None)
                if stopped.is_set():
                    return
            put(None, StopIteration())
        except BaseException as error:  # noqa: BLE001 - it is raised where the items are consumed
            put(None, error)

    def consume() -> Iterator[Item]:
        while True:
            item, error = ready.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item  # type: ignore[misc]

    thread = threading.Thread(target=produce, daemon=True, name="prefetch")
    thread.start()
    try:
        yield consume()
    finally:
        stopped.set()
        thread.join()
