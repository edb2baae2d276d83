"""Settings of `trainer filter` and `trainer negatives`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class FilterSettings(BaseModel):
    """Which queries are worth learning from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    index: str | None = Field(default=None, description="Id of the index that is asked (default: indexes/CURRENT)")
    k: int = Field(
        default=3, ge=1, description="A query stays if its document is among the best K of the fused ranking"
    )
    split: Path | None = Field(
        default=None, description="Result of `trainer split`: take only queries of documents on one side of it"
    )
    side: Literal["train", "dev", "test"] = Field(default="train", description="Which side, with --split")


class NegativesSettings(BaseModel):
    """Which texts a model learns to tell from the answer, and who says how good they are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    index: str | None = Field(default=None, description="Id of the index that is searched (default: indexes/CURRENT)")
    negatives: int = Field(default=4, ge=1, le=100, description="Negatives per query; a query with fewer is left out")
    from_rank: int = Field(
        default=2, ge=1, description="First place of the fused ranking from which negatives are taken"
    )
    to_rank: int = Field(default=50, ge=1, description="Last place of the fused ranking from which negatives are taken")
    margin: float = Field(
        default=0.05,
        ge=0,
        lt=1,
        description="How much less than the positive a negative must score: a share of what the positive scores above the "
        "average candidate. What scores more may be an answer too",
    )
    copy_cosine: float = Field(
        default=0.95, gt=0, le=2, description="Cosine to the positive from which a text is its copy and no negative"
    )
    sampling: Literal["top", "random"] = Field(
        default="top", description="Which of the texts that fit: those that score most, or any"
    )
    teacher: Path | None = Field(
        default=None, description="Directory of a cross-encoder that scores the texts (default: the fused score)"
    )
    split: Path | None = Field(
        default=None,
        description="Result of `trainer split`: take queries and negatives only from documents that are trained on",
    )
    seed: int = Field(default=0, ge=0, description="Seed of --sampling random")
