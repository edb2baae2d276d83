"""What a model in training makes of documents that nothing was learned from, beside what counting words would make of them.

A loss near the unigram's is that of a model that has learned how frequent words are, and nothing else. One in five chosen
positions shows the right piece or a random one; so the loss is also given for those that show [MASK], where only the
context helps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, Field

from trainer.pretrain.batches import Batch, Batcher
from trainer.pretrain.examples import HOLES, ORDER, Place, Recipe, batches, blocks, examples, generator
from trainer.pretrain.objective import Objective

SAMPLE = 24_000
"""Tokens, at least, that are measured on during the training; at the end it is all of them, twice, paired anew."""
PASSES = 2
ROOM = 4096
"""Tokens of a batch that is measured."""


class Figures(BaseModel):
    """What was measured on held-out documents; losses are cross-entropies in nats."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mlm_loss: float = Field(description="of the pieces at all chosen positions")
    mlm_accuracy: float = Field(description="share of these whose likeliest piece is the right one")
    masked_loss: float = Field(description="of those that show [MASK]")
    masked_accuracy: float = Field(description="share of these that are right")
    unigram_loss: float = Field(description="of the same pieces by their frequencies in the training documents")
    nsp_loss: float | None = Field(description="of whether the second segment follows; null without it")
    nsp_accuracy: float | None = Field(description="share of examples that are right; null without it")
    positions: int = Field(description="chosen positions")
    examples: int = Field(description="examples")


@dataclass(frozen=True)
class Watch:
    """Measures, always on the same examples with the same holes.

    ``log_frequency`` is the logarithm of each piece's share of the training documents, shape (vocabulary,).
    """

    batcher: Batcher
    recipe: Recipe
    log_frequency: npt.NDArray[np.float64]

    def measure(
        self,
        objective: Objective,
        device: torch.device,
        *,
        everything: bool,
        autocast: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> Figures:
        """Return what the model makes of a sample of the held-out documents, or of all of them."""
        was = objective.training
        objective.eval()
        parts: list[tuple[torch.Tensor, ...]] = []
        rows = 0
        frequency = torch.from_numpy(self.log_frequency).to(device)
        for batch in self._batches(everything=everything):
            moved = batch.to(device)
            with autocast():
                losses = objective.judge(moved)
            parts.append((*losses, moved.hidden, -frequency[moved.labels]))
            rows += len(batch.is_next)
        objective.train(was)
        columns = [torch.cat(column).double().cpu().numpy() for column in zip(*parts, strict=True)]
        mlm, right, nsp, nsp_right, hidden, unigram = columns
        shown = hidden.astype(bool)
        return Figures(
            mlm_loss=mlm.mean(),
            mlm_accuracy=right.mean(),
            masked_loss=mlm[shown].mean(),
            masked_accuracy=right[shown].mean(),
            unigram_loss=unigram.mean(),
            nsp_loss=nsp.mean() if len(nsp) else None,
            nsp_accuracy=nsp_right.mean() if len(nsp) else None,
            positions=len(mlm),
            examples=rows,
        )

    def cost(self) -> float:
        """Return how much more work measuring everything is than measuring the sample."""
        tokens = sum(batch.tokens for batch in self._batches(everything=False))
        return max(PASSES * len(self.batcher.corpus.tokens) / max(tokens, 1), 1.0)

    def mean_length(self) -> float:
        """Return how many tokens an example has, special ones included."""
        spans = examples(self.batcher.corpus, self.recipe, 0, 0)
        return float(spans.tokens.mean()) + self.recipe.special

    def _batches(self, *, everything: bool) -> Iterator[Batch]:
        corpus, seen = self.batcher.corpus, 0
        for epoch in range(PASSES if everything else 1):
            for block in range(blocks(corpus)):
                spans = examples(corpus, self.recipe, epoch, block)
                plan = batches(spans, self.recipe.special, ROOM, generator(self.recipe.seed, ORDER, epoch, block))
                for number, rows in enumerate(plan):
                    if not everything and seen >= SAMPLE:
                        return
                    batch = self.batcher.lay_out(
                        spans.take(rows), generator(self.recipe.seed, HOLES, *Place(epoch, block, number))
                    )
                    seen += batch.tokens
                    yield batch
