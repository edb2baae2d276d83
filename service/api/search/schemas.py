"""What may be asked of results beside their ranking, and what they then say: parts of the models in `schemas.py`."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer
from pydantic_core import to_jsonable_python

MOST_FIELDS = 100
DEEPEST_OFFSET = 10_000

TopK = Annotated[int, Field(ge=1, le=100, description="number of results")]
Column = Annotated[str, Field(min_length=1, max_length=200)]


class Arrangement(BaseModel):
    """How results are chosen, ordered and shown; both ways of searching take it."""

    model_config = ConfigDict(extra="forbid")

    min_score: float | None = Field(
        default=None,
        allow_inf_nan=False,
        description="leave out results below this. Of `dense` and `hybrid` it is the cosine of the dense leg (fused "
        "scores mean nothing outside their response), of `lexical` the BM25 score",
    )
    diversity: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="how much results that resemble one before them are put back (maximal marginal relevance): "
        "0 not at all, 1 regardless of relevance. Scores stay, and no longer descend",
    )
    group_by: Column | None = Field(
        default=None,
        description="metadata column of which each value gets at most `group_size` results; documents without a value "
        "are not grouped",
    )
    group_size: int = Field(default=1, ge=1, le=100, description="most results with the same value of `group_by`")
    fields: list[Column] | None = Field(
        default=None, max_length=MOST_FIELDS, description="metadata columns to return; all by default"
    )
    highlight: bool = Field(
        default=False, description="say where the query's words stand, and which sentence is nearest in meaning"
    )


class Paged(Arrangement):
    """An arrangement of which one page is returned."""

    top_k: TopK = 10
    offset: int = Field(default=0, ge=0, le=DEEPEST_OFFSET, description="number of results to skip")


class Highlights(BaseModel):
    """Where a result answers. Spans are code points into `title` or `text`, the end excluded."""

    title: list[tuple[int, int]] = Field(description="words of the query in `title`")
    text: list[tuple[int, int]] = Field(description="words of the query in `text`")
    sentence: tuple[int, int] | None = Field(description="the sentence of `text` that is nearest in meaning")


class RerankRequest(BaseModel):
    """How results are re-ranked."""

    model_config = ConfigDict(extra="forbid")

    top_n: int = Field(default=50, ge=1, le=200, description="how many of the first results the cross-encoder reads")
    budget_ms: int = Field(
        default=200, ge=1, le=60_000, description="milliseconds for it; where they do not suffice, the order stays"
    )


class Rerank(BaseModel):
    """What became of the re-ranking."""

    applied: bool = Field(description="whether the first results are in the order of the cross-encoder")
    scored: int = Field(description="number of results that it has read")
    took_ms: float = Field(description="milliseconds spent on it")
    reason: str | None = Field(description="why it was not applied; null where it was")


Group = Annotated[
    Any,
    PlainSerializer(lambda value: to_jsonable_python(value, bytes_mode="base64"), return_type=Any),
    Field(description="the document's value of the `group_by` column, where that was asked"),
]
