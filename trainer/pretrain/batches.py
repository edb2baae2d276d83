"""Examples become batches of token ids with holes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from trainer.pretrain.examples import HOLES, Place, Recipe, Spans, generator, walk
from trainer.pretrain.masking import Masker
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
