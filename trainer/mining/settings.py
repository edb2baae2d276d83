"""Settings of `trainer filter` and `trainer negatives`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class FilterSettings(BaseModel):
    """Which queries are kept as training data."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    index: str | None = Field(default=None, description="Id of the index to search (default: indexes/CURRENT)")
    k: int = Field(
        default=3, ge=1, description="A query is kept if its document is among the best K of the fused ranking"
    )
    split: Path | None = Field(
        default=None, description="Result of `trainer split`: take only queries of documents on one side of it"
    )
    side: Literal["train", "dev", "test"] = Field(default="train", description="Which side, with --split")


class NegativesSettings(BaseModel):
    """Choice of the hard negatives, and the teacher that scores them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    index: str | None = Field(default=None, description="Id of the index to search (default: indexes/CURRENT)")
    negatives: int = Field(default=4, ge=1, le=100, description="Negatives per query; a query with fewer is left out")
    from_rank: int = Field(
        default=2, ge=1, description="First rank of the fused ranking from which negatives are taken"
    )
    to_rank: int = Field(default=50, ge=1, description="Last rank of the fused ranking from which negatives are taken")
    margin: float = Field(
        default=0.05,
        ge=0,
        lt=1,
        description="How much less than the positive a negative must score, as a share of the distance from the average "
        "candidate to the positive. Texts that score more may be answers too",
    )
    copy_cosine: float = Field(
        default=0.95, gt=0, le=2, description="Cosine to the positive from which a text is a copy of it and no negative"
    )
    sampling: Literal["top", "random"] = Field(
        default="top", description="Choice among suitable texts: those with the highest scores, or random ones"
    )
    teacher: Path | None = Field(
        default=None, description="Directory of a cross-encoder that scores the texts (default: the fused score)"
    )
    split: Path | None = Field(
        default=None,
        description="Result of `trainer split`: take queries and negatives only from documents that are trained on",
    )
    seed: int = Field(default=0, ge=0, description="Seed of --sampling random")
