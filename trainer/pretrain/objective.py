"""Objective of pre-training, the MLM and NSP losses; and its evaluation on held-out documents.

The masked-language head is computed at the chosen positions only. It is a matrix as large as the vocabulary, and for a
small model most of the work where it is computed at every position.

The evaluation reports the loss of the unigram distribution too. A model whose loss is near it has learned how frequent
words are, and nothing else. One in five chosen positions shows the right piece or a random one; the loss is therefore
also given for positions that show [MASK], where only the context helps.
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
from trainer.pretrain.examples import (
    MASKS,
    ORDER,
    DataPosition,
    Recipe,
    count_blocks,
    make_examples,
    make_generator,
    plan_batches,
)

SAMPLE_TOKENS = 24_000
"""Smallest number of tokens in an evaluation during the training; at the end all documents are evaluated."""
PASSES = 2
"""Passes over all held-out documents in the final evaluation, with new pairs in each."""
BATCH_TOKENS = 4096
"""Tokens of a batch in an evaluation."""


class Losses(NamedTuple):
    """Losses of the positions and examples of a batch."""

    mlm: torch.Tensor
    """Cross-entropy in nats at each chosen position, shape (chosen,)."""
    mlm_correct: torch.Tensor
    """Whether the most probable piece is the right one, shape (chosen,)."""
    nsp: torch.Tensor
    """Cross-entropy in nats of each example, shape (rows,); empty without next-sentence prediction."""
    nsp_correct: torch.Tensor
    """Whether the answer is right, shape (rows,); empty without next-sentence prediction."""


class Objective(nn.Module):
    """A model and its losses.

    Args:
        model: a `BertForPreTraining`, or with ``nsp`` false any model with an encoder and a masked-language head.
        nsp: whether next-sentence prediction is trained too.

    Raises:
        UserError: the model has no masked-language head that is known here.
    """

    def __init__(self, model: PreTrainedModel, *, nsp: bool) -> None:
        super().__init__()
        self.model = model
        self.nsp = nsp
        self.typed = getattr(model.config, "type_vocab_size", 0) > 1
        if not hasattr(model, "cls") and not hasattr(model, "lm_head"):
            raise UserError(
                f"{model.config.model_type} has no masked-language head that is known here; use bert, roberta, "
                "xlm-roberta, camembert or mpnet"
            )
        if not nsp:  # modules without a part in the loss must not wait for gradients on several GPUs
            for module in (getattr(model.base_model, "pooler", None), getattr(self._heads, "seq_relationship", None)):
                if isinstance(module, nn.Module):
                    module.requires_grad_(requires_grad=False)

    @property
    def _heads(self) -> nn.Module | None:
        heads: nn.Module | None = getattr(self.model, "cls", None)
        return heads

    def forward(self, batch: Batch) -> torch.Tensor:
        """Return the mean MLM and NSP losses, shape (2,); their sum is minimised."""
        logits, answers = self.logits(batch)
        mlm = functional.cross_entropy(logits, batch.labels)
        nsp = mlm.new_zeros(()) if answers is None else functional.cross_entropy(answers, 1 - batch.is_next)
        return torch.stack([mlm, nsp])

    def logits(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the logits of the chosen positions, (chosen, vocabulary), and of next and not next, (rows, 2)."""
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
    def evaluate(self, batch: Batch) -> Losses:
        """Return the loss of each position and example, and whether the prediction is right."""
        logits, answers = self.logits(batch)
        empty = torch.empty(0, device=logits.device)
        nsp, nsp_correct = empty, empty.bool()
        if answers is not None:
            classes = 1 - batch.is_next
            nsp, nsp_correct = (
                functional.cross_entropy(answers.float(), classes, reduction="none"),
                answers.argmax(1) == classes,
            )
        mlm = functional.cross_entropy(logits.float(), batch.labels, reduction="none")
        return Losses(mlm, logits.argmax(1) == batch.labels, nsp, nsp_correct)


class HeldOutMetrics(BaseModel):
    """Metrics on held-out documents; losses are cross-entropies in nats."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mlm_loss: float = Field(description="of the pieces at all chosen positions")
    mlm_accuracy: float = Field(description="share of these whose most probable piece is the right one")
    masked_loss: float = Field(description="of the positions that show [MASK]")
    masked_accuracy: float = Field(description="share of these that are right")
    unigram_loss: float = Field(description="of the same pieces by their frequencies in the training documents")
    nsp_loss: float | None = Field(description="of whether the second segment follows; null without it")
    nsp_accuracy: float | None = Field(description="share of examples that are right; null without it")
    positions: int = Field(description="chosen positions")
    examples: int = Field(description="examples")


@dataclass(frozen=True)
class HeldOutEvaluator:
    """Evaluates a model on held-out documents, always on the same examples with the same masks.

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
    ) -> HeldOutMetrics:
        """Return the metrics on a sample of the held-out documents, or on all of them with ``everything``."""
        was_training = objective.training
        objective.eval()
        values: list[tuple[torch.Tensor, ...]] = []
        rows = 0
        frequency = torch.from_numpy(self.log_frequency).to(device)
        for batch in self._batches(everything=everything):
            moved = batch.to(device)
            with autocast():
                losses = objective.evaluate(moved)
            values.append((*losses, moved.is_mask, -frequency[moved.labels]))
            rows += len(batch.is_next)
        objective.train(was_training)
        columns = [torch.cat(column).double().cpu().numpy() for column in zip(*values, strict=True)]
        mlm, mlm_correct, nsp, nsp_correct, is_mask, unigram = columns
        masked = is_mask.astype(bool)
        return HeldOutMetrics(
            mlm_loss=mlm.mean(),
            mlm_accuracy=mlm_correct.mean(),
            masked_loss=mlm[masked].mean(),
            masked_accuracy=mlm_correct[masked].mean(),
            unigram_loss=unigram.mean(),
            nsp_loss=nsp.mean() if len(nsp) else None,
            nsp_accuracy=nsp_correct.mean() if len(nsp) else None,
            positions=len(mlm),
            examples=rows,
        )

    def cost_ratio(self) -> float:
        """Return the cost of evaluating everything as a multiple of the cost of the sample."""
        tokens = sum(batch.tokens for batch in self._batches(everything=False))
        return max(PASSES * len(self.batcher.corpus.tokens) / max(tokens, 1), 1.0)

    def mean_length(self) -> float:
        """Return the mean number of tokens of an example, special tokens included."""
        spans = make_examples(self.batcher.corpus, self.recipe, 0, 0)
        return float(spans.tokens.mean()) + self.recipe.special

    def _batches(self, *, everything: bool) -> Iterator[Batch]:
        corpus, tokens = self.batcher.corpus, 0
        for epoch in range(PASSES if everything else 1):
            for block in range(count_blocks(corpus)):
                spans = make_examples(corpus, self.recipe, epoch, block)
                plan = plan_batches(
                    spans, self.recipe.special, BATCH_TOKENS, make_generator(self.recipe.seed, ORDER, epoch, block)
                )
                for number, rows in enumerate(plan):
                    if not everything and tokens >= SAMPLE_TOKENS:
                        return
                    batch = self.batcher.collate(
                        spans.take(rows), make_generator(self.recipe.seed, MASKS, *DataPosition(epoch, block, number))
                    )
                    tokens += batch.tokens
                    yield batch
