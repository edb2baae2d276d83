"""The settings of `python -m trainer reranker`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class RerankerSettings(BaseModel):
    """How a cross-encoder is published."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_tokens: int = Field(
        default=512, ge=16, description="Longest query and passage together, in tokens; at most what the model can read"
    )
    force: bool = Field(default=False, description="Publish even if the same model is there")
