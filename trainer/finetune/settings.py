"""Settings of the commands `trainer tsdae` and `trainer finetune`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from indexer.corpus.settings import TextSettings
from trainer.models.settings import Lengths, parse_lengths
from trainer.training.settings import FitSettings


class TsdaeSettings(FitSettings, TextSettings):
    """How an encoder is pre-trained on texts alone, with TSDAE."""

    model: str = Field(
        default="bert-base-uncased",
        description="BERT-like model to start from: a name on the Hub, or a directory of transformers or "
        "sentence-transformers",
    )
    pooling: Literal["cls", "mean"] | None = Field(
        default=None,
        description="Pooling of the token vectors into one (default: the model's own; cls where it has none)",
    )
    deletion_ratio: float = Field(default=0.6, ge=0, lt=1, description="Share of the words that is deleted")
    batch_size: int = Field(default=8, ge=1, description="Texts of a batch")
    learning_rate: float = Field(default=3e-5, gt=0, description="Highest learning rate, reached after the warm-up")
    max_tokens: int | None = Field(
        default=128,
        ge=4,
        description="Tokens of a text that training reads, the rest is cut off; the model's longest input stays",
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
    loss: LossName = Field(default="mnr", description="Loss; docs/guides/losses.md says which columns each needs")
    matryoshka: Lengths = Field(
        default=None, description="Prefix lengths of the vector that are trained too, such as 384,256,128"
    )
    mini_batch_size: int = Field(
        default=32, ge=1, description="Rows in memory at a time with cached-mnr, whose --batch-size can then be large"
    )
    temperature: float | None = Field(
        default=None,
        gt=0,
        description="Divisor of the cosines before the softmax (default: 0.05, a scale of 20; gist 0.01)",
    )
    teacher_temperature: float | None = Field(
        default=None,
        gt=0,
        description="Divisor of the teacher's scores with kl and margin-mse (default: from their range)",
    )
    margin: float | None = Field(
        default=None,
        gt=0,
        description="Margin of triplet and the contrastive losses, in cosine distance (default: 0.5)",
    )
    guide: Path | None = Field(
        default=None, description="Directory of the model with which gist detects false negatives"
    )
    freeze: int | None = Field(
        default=None, ge=0, description="Do not train the embeddings and the first N layers (default: train all)"
    )

    @property
    def matryoshka_lengths(self) -> tuple[int, ...]:
        """The lengths of the trained prefixes; none without `--matryoshka`."""
        return parse_lengths(self.matryoshka)
