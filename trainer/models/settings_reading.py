"""The settings of `python -m trainer publish-mlm` and `fill-mask`, the commands about masked-language models."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class PublishMlmSettings(BaseModel):
    """How a masked-language model is published."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    force: bool = Field(default=False, description="Publish even if the same model is there")


class FillMaskSettings(BaseModel):
    """Which model fills the masks, and how much it says of them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str | None = Field(
        default=None,
        description="Model directory, such as `trainer pretrain` writes, or id of a published one "
        "(default: masked/CURRENT)",
    )
    top_k: int = Field(default=5, ge=1, le=1000, description="Number of words for each mask")
    explain: bool = Field(
        default=False,
        description="Show the steps too: pieces and ids, which are masked, logits, softmax, arg max, the decoded text",
    )
