"""Settings of `python -m trainer pretrain`: name, default and help text of every flag."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator

from indexer.corpus.settings import SourceSettings
from trainer.training.settings import parse_duration, validate_duration

SMALL_CORPUS = 10_000_000
"""Corpus in tokens; with a smaller one it is better to start from a checkpoint."""


class PretrainSettings(SourceSettings):
    """How a BERT is pre-trained on the texts of a corpus."""

    document_column: str | None = Field(
        default=None,
        description="Column whose value joins consecutive rows with the same value into one document (default: each "
        "row is a document)",
    )
    held_out: float = Field(
        default=0.05, gt=0, le=0.5, description="Share of the documents that are not trained on, for the evaluation"
    )
    vocab_size: int = Field(
        default=8192, ge=64, description="Word pieces of the tokenizer that is learned, a multiple of 64"
    )
    keep_case: bool = Field(default=False, description="Do not lower-case the texts")
    keep_accents: bool = Field(default=False, description="Do not strip accents")
    layers: int = Field(default=4, ge=1, description="Number of layers")
    hidden: int = Field(default=256, ge=8, description="Hidden size: width of the layers")
    heads: int | None = Field(
        default=None, ge=1, description="Attention heads (default: one for each 64 of the hidden size)"
    )
    intermediate: int | None = Field(
        default=None, ge=8, description="Width of the feed-forward part of a layer (default: four times --hidden)"
    )
    max_length: int = Field(default=128, ge=16, description="Longest input in tokens, special tokens included")
    dropout: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Dropout in pre-training; the written configuration says 0.1, for fine-tuning",
    )
    no_nsp: bool = Field(
        default=False,
        description="Train on masked words only, with one segment (default: half of the examples have a second segment "
        "from another document, and the model learns which)",
    )
    mask: float = Field(default=0.15, gt=0, lt=1, description="Share of the positions that are predicted")
    whole_words: bool = Field(default=False, description="Mask all pieces of a word or none")
    short: float = Field(
        default=0.1, ge=0, le=1, description="Share of the examples that are made shorter than the longest input"
    )
    batch_tokens: int | None = Field(
        default=None, ge=64, description="Tokens of a batch, on each GPU (default: 1,024; 65,536 on a GPU)"
    )
    accumulate: int = Field(
        default=1,
        ge=1,
        description="Batches whose gradients are added up for one step; the number grows over the first half of the "
        "training",
    )
    optimizer: Literal["adamw", "adam"] = Field(
        default="adamw", description="adamw: decoupled weight decay; adam: weight decay through the gradients"
    )
    learning_rate: float | None = Field(
        default=None,
        gt=0,
        description="Highest learning rate, reached after the warm-up (default: 1e-3; 1e-4 with --from)",
    )
    warmup: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="Share of the training in which the learning rate rises; afterwards it falls to 0",
    )
    weight_decay: float = Field(default=0.01, ge=0, description="Weight decay of matrices")
    clip: float = Field(default=1.0, gt=0, description="Largest gradient norm; longer gradients are clipped")
    epochs: float | None = Field(
        default=None, gt=0, description="Passes over the corpus (default: 10, or as many as --budget allows)"
    )
    max_steps: int | None = Field(
        default=None, ge=1, description="Number of steps, in place of --epochs; a few make a dry run"
    )
    budget: Annotated[str | None, BeforeValidator(validate_duration)] = Field(
        default=None,
        description="Time that the training may take, such as 20m or 8h, evaluations included; warm-up and decay "
        "follow the clock",
    )
    bf16: Literal["auto", "on", "off"] = Field(
        default="auto",
        description="Compute in bfloat16, with weights in 32 bits; auto uses it where the GPU supports it",
    )
    compile: bool = Field(
        default=False,
        description="Compile the model first (torch.compile): a minute or more, then faster steps on a GPU",
    )
    seed: int = Field(default=42, ge=0, description="Seed of all random numbers")
    eval_steps: int | None = Field(
        default=None,
        ge=1,
        description="Steps between evaluations on held-out documents (default: ten evaluations in all)",
    )
    save_steps: int | None = Field(
        default=None,
        ge=1,
        description="Steps between checkpoints (default: ten in all, but at least every ten minutes)",
    )
    resume: bool = Field(default=False, description="Continue the training in --out from its last checkpoint")

    @field_validator("vocab_size")
    @classmethod
    def _multiple(cls, size: int) -> int:
        if size % 64:
            raise ValueError("give a multiple of 64, with which GPUs are faster")
        return size

    @property
    def budget_seconds(self) -> float | None:
        """The budget in seconds."""
        return None if self.budget is None else parse_duration(self.budget)
