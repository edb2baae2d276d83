"""What pre-training minimises: the loss of predicting masked words and, on request, of telling whether b follows a.

The head that predicts words is computed at the chosen positions only. It is a matrix as large as the vocabulary, and for a
small model most of the work where it is computed everywhere.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional
from transformers import PreTrainedModel

from indexer.errors import UserError
from trainer.pretrain.batches import Batch


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
