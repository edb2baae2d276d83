"""Settings that every training shares, and durations such as 90s, 10m, 1h30m or a number of seconds."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_NUMBER = r"\d+(?:\.\d+)?"


def parse_duration(text: str | float) -> float:
    """Return a duration in seconds.

    Args:
        text: numbers with the units s, m, h and d, the largest first (``1h30m``), or one number of seconds (``600``).

    Raises:
        ValueError: it is no duration, or not above zero.
    """
    duration = str(text).strip().lower()
    if re.fullmatch(_NUMBER, duration):
        seconds = float(duration)
    elif re.fullmatch(f"(?:{_NUMBER}[smhd])+", duration):
        seconds = sum(float(number) * UNITS[unit] for number, unit in re.findall(f"({_NUMBER})([smhd])", duration))
    else:
        raise ValueError(f"{duration!r} is no duration; write it like 90s, 10m, 1h or 1h30m")
    if seconds <= 0:
        raise ValueError("a duration must be above zero")
    return seconds


def validate_duration(text: str | float | None) -> str | None:
    """Return ``text`` as a string where it is a duration, and None as None; for pydantic's validators.

    Raises:
        ValueError: it is no duration.
    """
    if text is not None:
        parse_duration(text)
    return None if text is None else str(text)


class FitSettings(BaseModel):
    """Settings of every training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    batch_size: int = Field(default=32, ge=1, description="Rows of a batch, on each GPU")
    accumulate: int = Field(
        default=1,
        ge=1,
        description="Batches whose gradients are added up for one step; for mnr this is not the same as a larger batch",
    )
    learning_rate: float = Field(default=2e-5, gt=0, description="Highest learning rate, reached after the warm-up")
    warmup: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="Share of the training in which the learning rate rises; afterwards it falls to 0",
    )
    weight_decay: float = Field(default=0.0, ge=0, description="AdamW's weight decay")
    epochs: float = Field(default=1, gt=0, description="Number of passes over all rows")
    max_steps: int | None = Field(
        default=None, ge=1, description="Number of steps, in place of --epochs; a few make a dry run"
    )
    budget: Annotated[str | None, BeforeValidator(validate_duration)] = Field(
        default=None,
        description="Time that the training may take, such as 90s, 10m or 1h; warm-up and decay follow the clock, and "
        "the running step is completed",
    )
    max_tokens: int | None = Field(
        default=None,
        ge=4,
        description="Tokens of a text that training reads, the rest is cut off (default: the model's longest input)",
    )
    seed: int = Field(default=42, ge=0, description="Seed of all random numbers")
    bf16: Literal["auto", "on", "off"] = Field(
        default="auto",
        description="Compute in bfloat16, with weights in 32 bits; auto uses it where the GPU supports it",
    )
    eval_steps: int | None = Field(
        default=None,
        ge=1,
        description="Steps between evaluations on the dev split (default: ten evaluations in all, in at most a fifth "
        "of the time)",
    )
    save_steps: int | None = Field(
        default=None,
        ge=1,
        description="Steps between checkpoints (default: ten in all, but at least every ten minutes)",
    )
    patience: int | None = Field(
        default=None, ge=1, description="Stop after N evaluations in a row without an improvement (default: never)"
    )
    report_to: Literal["none", "tensorboard", "trackio", "wandb", "mlflow"] = Field(
        default="none", description="Where losses and dev metrics go besides log.jsonl"
    )
    resume: bool = Field(default=False, description="Continue the training in --out from its last checkpoint")

    @property
    def budget_seconds(self) -> float | None:
        """The budget in seconds."""
        return None if self.budget is None else parse_duration(self.budget)
