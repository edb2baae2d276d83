"""Filters: trees of typed conditions on the metadata, as a request holds them. Nothing here depends on an index.

A condition is either true or false of a document. Comparisons with a missing value are false, and under `must_not` such
a document therefore passes.
"""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from indexer.filters.conditions import Between, Equals, Exists, OneOf, Prefix, Within

MAX_NODES = 200
MAX_DEPTH = 20
"""Of trees within trees."""


class Filter(BaseModel):
    """A tree of conditions. A document passes if all three parts agree; an empty tree lets every document pass."""

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
    def _refuse_condition(cls, value: Any) -> Any:
        if isinstance(value, dict) and ("field" in value or "within" in value):
            raise ValueError('a condition stands in a list of a tree: {"must": [{"field": …}]}')
        return value

    @cached_property
    def nodes(self) -> int:
        """Number of conditions and trees, this one included."""
        return 1 + sum(node.nodes if isinstance(node, Filter) else 1 for node in self._children())

    @cached_property
    def depth(self) -> int:
        """Number of trees that are nested within each other, this one included."""
        return 1 + max((node.depth for node in self._children() if isinstance(node, Filter)), default=0)

    def _children(self) -> list[Node]:
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
"""Key of a node → its class."""


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
