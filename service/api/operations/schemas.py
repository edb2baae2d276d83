"""Schemas of health, info and report."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from service.api.schemas import IndexInfo


class IndexDetails(IndexInfo):
    """The live index in full."""

    passages: int = Field(description="number of passages, each with one vector")
    created: str = Field(description="when it was published, UTC")
    config: dict[str, Any] = Field(description="how it was built")
    encoder: dict[str, Any] = Field(description="the encoder's contract: how a text becomes a vector")
    metadata: dict[str, str] = Field(description="metadata columns and their types")


class Gain(BaseModel):
    """nDCG@10 on held-out queries, before and after tuning."""

    base: float = Field(description="with the model that training started from")
    tuned: float = Field(description="with the tuned model")


class ModelFacts(BaseModel):
    """The model that the live index was built with."""

    id: str = Field(description="id of the model")
    name: str = Field(description="name of the base model")
    tuned: bool = Field(description="whether it was tuned on a corpus")
    tuned_from: str | None = Field(
        description="id of the model that training started from; null for a model that was not tuned"
    )
    verdict: str | None = Field(
        description="`WIN`, `TIE` or `LOSS` against its base; null for a model that was not tuned"
    )
    judged_by: str | None = Field(description="queries of the verdict: `labels` or `synthetic queries`")
    dense: Gain | None = Field(description="dense search alone; null where it was not measured")
    hybrid: Gain | None = Field(description="hybrid search; null where it was not measured")
    report: str | None = Field(description="path of its report, relative to the service's root; null without one")


class RerankerFacts(BaseModel):
    """The live cross-encoder."""

    id: str = Field(description="id of the cross-encoder")
    name: str = Field(description="name of the model, on the Hub or of its directory")
    verdict: str | None = Field(description="`WIN`, `TIE` or `LOSS` of re-ranked search; null where it was not judged")
    by_default: bool = Field(description="whether hybrid search is re-ranked where a request does not say")


class PageFacts(BaseModel):
    """What the operator has set for the page."""

    url_column: str | None = Field(description="metadata column to whose address a title leads; null where it is found")
    image_column: str | None = Field(description="metadata column with a picture's address; null where it is found")
    image_sources: list[str] = Field(description="origins from which pictures are loaded; empty for no pictures")
    clicks: bool = Field(description="whether the page sends which results are opened to `POST /feedback`")


class Info(BaseModel):
    """Answer of `/info`."""

    name: str = Field(description="name of the service")
    version: str = Field(description="version of Dowse")
    index: IndexDetails | None = Field(description="null while there is no index")
    model: ModelFacts | None = Field(description="null while there is no index")
    reranker: RerankerFacts | None = Field(default=None, description="null while none is published")
    page: PageFacts | None = Field(default=None, description="settings of the page")


class Health(BaseModel):
    """Answer of the health checks."""

    status: str = Field(description="`alive`, or `ready` with the id of the index")
