"""Filters: a tree of typed conditions on the metadata, as a request holds it. Nothing here knows an index.

A condition is true or false of every document: of a missing value every comparison is false, so that `must_not` lets
the document pass.
"""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from indexer.filters.conditions import Between, Equals, Exists, OneOf, Prefix, Within

MAX_NODES = 200
MAX_DEPTH = 20
"""Trees within trees."""


class Filter(BaseModel):
    """A tree of conditions. A document passes when all that is given agrees; an empty tree lets every document pass."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        serialize_by_alias=True,
        json_schema_extra={
            "examples": [
                {
                    "must": [{"field": "price", "gte": 10, "lt": 20}, {"field": "tags", "in": ["pet", "garden"]}],
                    "must_not": [{"field": "sold", "exists": True}],
                }
            ]
        },
    )
    must: list[Node] = Field(default=[], description="all of these hold")
    should: list[Node] = Field(default=[], description="at least one of these holds, where any are given")
    must_not: list[Node] = Field(default=[], description="none of these holds")

    @model_validator(mode="before")
    @classmethod
    def _is_a_tree(cls, given: Any) -> Any:
        if isinstance(given, dict) and ("field" in given or "within" in given):
            raise ValueError('a condition stands in a list of a tree: {"must": [{"field": …}]}')
        return given

    @cached_property
    def nodes(self) -> int:
        """Number of conditions and trees, this one included."""
        return 1 + sum(node.nodes if isinstance(node, Filter) else 1 for node in self._below())

    @cached_property
    def depth(self) -> int:
        """Number of trees on the longest way down, this one included."""
        return 1 + max((node.depth for node in self._below() if isinstance(node, Filter)), default=0)

    def _below(self) -> list[Node]:
        return [*self.must, *self.should, *self.must_not]

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.nodes > MAX_NODES:
            raise ValueError(
                f"a filter has at most {MAX_NODES} conditions and trees; ask for one of many values with `in`"
            )
        if self.depth > MAX_DEPTH:
            raise ValueError(f"a filter has at most {MAX_DEPTH} trees within each other")
        return self


KINDS = {
    "eq": "Equals", "in": "OneOf", "gte": "Between", "gt": "Between", "lte": "Between", "lt": "Between",
    "exists": "Exists", "prefix": "Prefix", "within": "Within", "must": "Filter", "should": "Filter",
    "must_not": "Filter",
}  # fmt: skip


def _kind(node: Any) -> str | None:
    if isinstance(node, BaseModel):
        return type(node).__name__
    if not isinstance(node, dict):
        return None
    return next((KINDS[key] for key in node if key in KINDS), None if node else "Filter")


Node = Annotated[
    Annotated[Equals, Tag("Equals")]
    | Annotated[OneOf, Tag("OneOf")]
    | Annotated[Between, Tag("Between")]
    | Annotated[Exists, Tag("Exists")]
    | Annotated[Prefix, Tag("Prefix")]
    | Annotated[Within, Tag("Within")]
    | Annotated[Filter, Tag("Filter")],
    Discriminator(
        _kind,
        custom_error_type="filter_node",
        custom_error_message="Input should be a tree of must, should and must_not, or a condition: a field with eq, in, "
        "gte, gt, lte, lt, exists or prefix, or latitude and longitude with within",
    ),
]
Filter.model_rebuild()
