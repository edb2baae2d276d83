"""The settings of `python -m trainer pretrain`: the only place where a name, a default and a help text stand."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator

from indexer.corpus.settings import SourceSettings
from trainer.training.settings import checked_duration, parse_duration

SMALL_CORPUS = 10_000_000
"""Tokens below which a checkpoint is the better start."""


class PretrainSettings(SourceSettings):
    """How a BERT is pre-trained on the texts of a corpus."""

    document_column: str | None = Field(
        default=None,
        description="Column whose equal values, row after row, make one document of several rows (default: each row is "
        "a document)",
    )
    held_out: float = Field(
        default=0.05, gt=0, le=0.5, description="Share of the documents that nothing is learned from, to measure on"
    )
    vocab_size: int = Field(
        default=8192, ge=64, description="Word pieces of the tokenizer that is learned, a multiple of 64"
    )
    keep_case: bool = Field(default=False, description="Keep capital letters instead of making them small")
    keep_accents: bool = Field(default=False, description="Keep accents instead of taking them off")
    layers: int = Field(default=4, ge=1, description="Layers")
    hidden: int = Field(default=256, ge=8, description="Width of the layers")
    heads: int | None = Field(
        default=None, ge=1, description="Heads of attention (default: one for each 64 of the width)"
    )
    intermediate: int | None = Field(
        default=None, ge=8, description="Width inside the layers (default: four times --hidden)"
    )
    max_length: int = Field(default=128, ge=16, description="Longest input in tokens, special ones included")
    dropout: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Dropout in pre-training; the model that is written says 0.1 to what follows",
    )
    no_nsp: bool = Field(
        default=False,
        description="Learn masked words only, from one segment; without it half of the examples have a second segment of "
        "another document and the model learns which",
    )
    mask: float = Field(default=0.15, gt=0, lt=1, description="Share of the positions that are predicted")
    whole_words: bool = Field(default=False, description="Choose all pieces of a word or none")
    short: float = Field(
        default=0.1, ge=0, le=1, description="Share of the examples that are made shorter than they could be"
    )
    batch_tokens: int | None = Field(
        default=None, ge=64, description="Tokens of a batch, on each GPU (default: 1,024; 65,536 on a GPU)"
    )
    accumulate: int = Field(
        default=1,
        ge=1,
        description="Batches whose gradients make one step, reached over the first half of the training",
    )
    optimizer: Literal["adamw", "adam"] = Field(
        default="adamw", description="AdamW decays the weights by themselves, Adam through the gradients"
    )
    learning_rate: float | None = Field(
        default=None, gt=0, description="Learning rate at its highest (default: 1e-3; 1e-4 with --from)"
    )
    warmup: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="Share of the training in which the learning rate rises, before it falls to 0",
    )
    weight_decay: float = Field(default=0.01, ge=0, description="Weight decay of matrices")
    clip: float = Field(default=1.0, gt=0, description="Longest gradient; a longer one is shortened")
    epochs: float | None = Field(
        default=None, gt=0, description="Times that the corpus is seen (default: 10, or as often as --budget allows)"
    )
    max_steps: int | None = Field(
        default=None, ge=1, description="Steps, in place of --epochs; a few of them are a dry run"
    )
    budget: Annotated[str | None, BeforeValidator(checked_duration)] = Field(
        default=None,
        description="Time that the training may take, such as 20m or 8h, measuring on held-out documents included: warm-up "
        "and decay follow the clock",
    )
    bf16: Literal["auto", "on", "off"] = Field(
        default="auto", description="Compute in 16-bit bfloat, weights stay in 32 bits: auto where the GPU can"
    )
    compile: bool = Field(
        default=False,
        description="Compile the model first (torch.compile): a minute or more, then faster steps on a GPU",
    )
    seed: int = Field(default=42, ge=0, description="Seed of everything that is drawn")
    eval_steps: int | None = Field(
        default=None,
        ge=1,
        description="Steps between measurements on held-out documents (default: ten in the training)",
    )
    save_steps: int | None = Field(
        default=None, ge=1, description="Steps between checkpoints (default: ten in the training, or every ten minutes)"
    )
    resume: bool = Field(default=False, description="Take up what was begun in --out from its last checkpoint")

    @field_validator("vocab_size")
    @classmethod
    def _multiple(cls, size: int) -> int:
        if size % 64:
            raise ValueError("give a multiple of 64, which GPUs multiply faster")
        return size

    @property
    def budget_seconds(self) -> float | None:
        """The budget in seconds."""
        return None if self.budget is None else parse_duration(self.budget)
