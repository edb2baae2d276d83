"""Boosts: documents whose score a request raises or lowers. Nothing here depends on an index."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from indexer.filters.filter import Filter

MAX_BOOSTS = 20


class Boost(BaseModel):
    """Documents whose score is raised or lowered, and by how much."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    filter: Filter = Field(description="which documents")
    weight: float = Field(
        ge=-1,
        le=1,
        description="what is added to their scores, as a share of the difference between the best and the worst score of "
        "the query's candidates: .1 is a nudge, 1 puts even the worst of them level with the best. Below 0 they sink. "
        "Weights of several boosts add up, to -1 or 1 at most",
    )
