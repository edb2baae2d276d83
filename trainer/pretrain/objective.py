"""What pre-training minimises: the loss of predicting masked words and, on request, of telling whether b follows a.

The head that predicts words is computed at the chosen positions only. It is a matrix as large as the vocabulary, and for a
small model most of the work where it is computed everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn
from torch.nn import functional
from transformers import PreTrainedModel

from indexer.errors import UserError
from trainer.pretrain.batches import Batch, Batcher
from trainer.pretrain.examples import HOLES, ORDER, Place, Recipe, batches, blocks, examples, generator


class Losses(NamedTuple):
    """What came of a batch."""

    mlm: torch.Tensor
    """Cross-entropy in nats at each chosen position, shape (chosen,)."""
    mlm_right: torch.Tensor
    """Whether the likeliest piece is the right one, shape (chosen,)."""
    nsp: torch.Tensor
    """Cross-entropy in nats of each example, shape (rows,); empty without next-sentence prediction."""
    nsp_right: torch.Tensor
    """Whether the answer was right, shape (rows,); empty without next-sentence prediction."""


class Objective(nn.Module):
    """A model and its losses.

    Args:
        model: a `BertForPreTraining`, or with ``nsp`` false any model with an encoder and a head for masked words.
        nsp: whether next-sentence prediction is learned too.

    Raises:
        UserError: the model has no such head.
    """

    def __init__(self, model: PreTrainedModel, *, nsp: bool) -> None:
        super().__init__()
        self.model = model
        self.nsp = nsp
        self.typed = getattr(model.config, "type_vocab_size", 0) > 1
        if not hasattr(model, "cls") and not hasattr(model, "lm_head"):
            raise UserError(
                f"{model.config.model_type} has no head for masked words that is known here; take bert, roberta, "
                "xlm-roberta, camembert or mpnet"
            )
        if not nsp:  # what has no part in the loss must not wait for gradients on several GPUs
            for part in (getattr(model.base_model, "pooler", None), getattr(self._heads, "seq_relationship", None)):
                if isinstance(part, nn.Module):
                    part.requires_grad_(requires_grad=False)

    @property
    def _heads(self) -> nn.Module | None:
        heads: nn.Module | None = getattr(self.model, "cls", None)
        return heads

    def forward(self, batch: Batch) -> torch.Tensor:
        """Return the two mean losses, masked words and next sentence, shape (2,); their sum is minimised."""
        logits, answers = self.logits(batch)
        mlm = functional.cross_entropy(logits, batch.labels)
        nsp = mlm.new_zeros(()) if answers is None else functional.cross_entropy(answers, 1 - batch.is_next)
        return torch.stack([mlm, nsp])

    def logits(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the scores of the vocabulary at the chosen positions, (chosen, vocabulary), and of next and not, (rows, 2)."""
        types = {"token_type_ids": batch.token_type_ids} if self.typed else {}
        encoded = self.model.base_model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, **types)
        states = encoded.last_hidden_state
        chosen = states.reshape(-1, states.shape[-1])[batch.positions]
        if self._heads is None:
            scores: torch.Tensor = self.model.lm_head(chosen)
            return scores, None
        scores = self._heads.predictions(chosen)  # type: ignore[operator]
        return scores, self._heads.seq_relationship(encoded.pooler_output) if self.nsp else None  # type: ignore[operator]

    @torch.no_grad()
    def judge(self, batch: Batch) -> Losses:
        """Return what the model makes of each position and example."""
        logits, answers = self.logits(batch)
        empty = torch.empty(0, device=logits.device)
        nsp, right = empty, empty.bool()
        if answers is not None:
            wanted = 1 - batch.is_next
            nsp, right = (
                functional.cross_entropy(answers.float(), wanted, reduction="none"),
                answers.argmax(1) == wanted,
            )
        mlm = functional.cross_entropy(logits.float(), batch.labels, reduction="none")
        return Losses(mlm, logits.argmax(1) == batch.labels, nsp, right)


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
class HeldOutEvaluator:
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
