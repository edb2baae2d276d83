"""Settings that `trainer tsdae` and `trainer finetune` share, and durations as people write them: 90s, 10m, 1h30m."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_NUMBER = r"\d+(?:\.\d+)?"


def parse_duration(text: str | float) -> float:
    """Return the seconds that ``text`` means.

    Args:
        text: numbers with the units s, m, h and d, the largest first (``1h30m``), or one number of seconds (``600``).

    Raises:
        ValueError: it is no duration, or none above zero.
    """
    written = str(text).strip().lower()
    if re.fullmatch(_NUMBER, written):
        seconds = float(written)
    elif re.fullmatch(f"(?:{_NUMBER}[smhd])+", written):
        seconds = sum(float(number) * UNITS[unit] for number, unit in re.findall(f"({_NUMBER})([smhd])", written))
    else:
        raise ValueError(f"{written!r} is no duration; write it like 90s, 10m, 1h or 1h30m")
    if seconds <= 0:
        raise ValueError("a duration is longer than nothing")
    return seconds


def checked_duration(text: str | float | None) -> str | None:
    """Return ``text`` as a string when it is a duration or none; made for pydantic's validators.

    Raises:
        ValueError: it is no duration.
    """
    if text is not None:
        parse_duration(text)
    return None if text is None else str(text)


class FitSettings(BaseModel):
    """What every training can be told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    batch_size: int = Field(default=32, ge=1, description="Rows at a time, on each GPU")
    accumulate: int = Field(
        default=1, ge=1, description="Batches whose gradients are added up before a step; not one larger batch for mnr"
    )
    learning_rate: float = Field(default=2e-5, gt=0, description="Learning rate at its highest")
    warmup: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="Share of the training in which the learning rate rises, before it falls to 0",
    )
    weight_decay: float = Field(default=0.0, ge=0, description="AdamW's weight decay")
    epochs: float = Field(default=1, gt=0, description="Times that every row is seen")
    max_steps: int | None = Field(
        default=None, ge=1, description="Steps, in place of --epochs; a few of them are a dry run"
    )
    budget: Annotated[str | None, BeforeValidator(checked_duration)] = Field(
        default=None,
        description="Time that the training may take, such as 90s, 10m or 1h: warm-up and decay follow the clock, the "
        "step in flight ends",
    )
    max_tokens: int | None = Field(
        default=None, ge=4, description="Tokens of a text that training reads (default: the model's longest input)"
    )
    seed: int = Field(default=42, ge=0, description="Seed of everything that is drawn")
    bf16: Literal["auto", "on", "off"] = Field(
        default="auto", description="Compute in 16-bit bfloat, weights stay in 32 bits: auto where the GPU can"
    )
    eval_steps: int | None = Field(
        default=None,
        ge=1,
        description="Steps between evaluations on the dev split (default: ten in the training, in a fifth of its time)",
    )
    save_steps: int | None = Field(
        default=None, ge=1, description="Steps between checkpoints (default: ten in the training, or every ten minutes)"
    )
    patience: int | None = Field(
        default=None, ge=1, description="Stop after N evaluations in a row without gain (default: never)"
    )
    report_to: Literal["none", "tensorboard", "trackio", "wandb", "mlflow"] = Field(
        default="none", description="Where losses and dev metrics go besides log.jsonl"
    )
    resume: bool = Field(default=False, description="Take up what was begun in --out from its last checkpoint")

    @property
    def budget_seconds(self) -> float | None:
        """The budget in seconds."""
        return None if self.budget is None else parse_duration(self.budget)
