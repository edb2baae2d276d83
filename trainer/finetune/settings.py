"""Settings of `trainer tsdae` and `trainer finetune`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from indexer.corpus.settings import TextSettings
from trainer.models.settings import Lengths, lengths
from trainer.training.settings import FitSettings


class TsdaeSettings(FitSettings, TextSettings):
    """How an encoder is pre-trained on the texts alone."""

    model: str = Field(
        default="bert-base-uncased",
        description="BERT-like model to start from: a name on the Hub, or a directory of transformers or "
        "sentence-transformers",
    )
    pooling: Literal["cls", "mean"] | None = Field(
        default=None, description="How token vectors become one (default: the model's own; cls where it has none)"
    )
    deletion_ratio: float = Field(default=0.6, ge=0, lt=1, description="Share of the words that is deleted")
    batch_size: int = Field(default=8, ge=1, description="Texts at a time")
    learning_rate: float = Field(default=3e-5, gt=0, description="Learning rate at its highest")
    max_tokens: int | None = Field(
        default=128, ge=4, description="Tokens of a text that training reads; the model keeps its longest input"
    )


LossName = Literal[
    "mnr",
    "cached-mnr",
    "grouped-mnr",
    "symmetric-mnr",
    "gist",
    "margin-mse",
    "kl",
    "mse",
    "cosine",
    "cosent",
    "contrastive",
    "online-contrastive",
    "triplet",
    "tsdae",
]


class FinetuneSettings(FitSettings):
    """How an encoder is fine-tuned on examples."""

    model: str | None = Field(
        default=None,
        description="Model to start from: a directory or a name on the Hub (default: the live model, else "
        "all-MiniLM-L6-v2)",
    )
    loss: LossName = Field(default="mnr", description="Loss by its field name; trainer/README.md says what each needs")
    matryoshka: Lengths = Field(
        default=None, description="Lengths at which a prefix of the vector is trained to be of use, such as 384,256,128"
    )
    mini_batch_size: int = Field(
        default=32, ge=1, description="Rows in memory at a time with cached-mnr, whose --batch-size can then be large"
    )
    temperature: float | None = Field(
        default=None,
        gt=0,
        description="What cosines are divided by before the softmax (default: 0.05, a scale of 20; gist 0.01)",
    )
    teacher_temperature: float | None = Field(
        default=None,
        gt=0,
        description="What the teacher's scores are divided by with kl and margin-mse (default: from their range)",
    )
    margin: float | None = Field(
        default=None,
        gt=0,
        description="Margin of triplet and the contrastive losses, in cosine distance (default: 0.5)",
    )
    guide: Path | None = Field(
        default=None, description="Directory of the model that tells gist which negatives are false"
    )
    freeze: int | None = Field(
        default=None, ge=0, description="Leave the embeddings and the first N layers as they are (default: train all)"
    )

    @property
    def matryoshka_lengths(self) -> tuple[int, ...]:
        """The lengths of the trained prefixes; none without `--matryoshka`."""
        return lengths(self.matryoshka)
