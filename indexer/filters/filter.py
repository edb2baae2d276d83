"""Filters: a tree of typed conditions on the metadata, compiled to one mask over the documents, never to a text.

A condition is true or false of every document: of a missing value every comparison is false, so that `must_not` lets
the document pass.
"""

from __future__ import annotations

import threading
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Self
from weakref import WeakKeyDictionary

import numpy as np
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from indexer.cache import Recent
from indexer.filters.conditions import Between, Equals, Exists, FieldCondition, OneOf, Prefix, Within
from indexer.filters.evaluate import Columns
from indexer.filters.fields import FilterError, UnknownField, WrongType
from indexer.index.document_mask import Allowed, Mask

if TYPE_CHECKING:
    from indexer.index.index import Index

__all__ = ["Filter", "FilterError", "UnknownField", "WrongType", "compile_filter"]

MOST_NODES = 200
DEEPEST = 20
"""Trees within trees."""
MOST_CACHED = 256
CACHED_BYTES = 64 << 20
"""What the masks that are kept for repeated filters may take, for each opened index; there are at most MOST_CACHED."""


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
        if self.nodes > MOST_NODES:
            raise ValueError(
                f"a filter has at most {MOST_NODES} conditions and trees; ask for one of many values with `in`"
            )
        if self.depth > DEEPEST:
            raise ValueError(f"a filter has at most {DEEPEST} trees within each other")
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


def compile_filter(asked: Filter, index: Index) -> Allowed:
    """Return the documents of ``index`` that pass a filter; those of recent filters are remembered.

    Raises:
        UnknownField: the index has no such field.
        WrongType: a field cannot be compared with that.
    """
    question = asked.model_dump_json(by_alias=True, exclude_defaults=True)
    return _recent(index).answer(question, lambda: index.allowed(_mask(asked, Columns(index))))


def _mask(node: Filter | FieldCondition | Within, columns: Columns) -> Mask:
    if not isinstance(node, Filter):
        return columns.mask(node)
    mask = np.ones(columns.index.rows, dtype=np.bool_)
    for each in node.must:
        mask &= _mask(each, columns)
    if node.should:
        mask &= np.logical_or.reduce([_mask(each, columns) for each in node.should])
    for each in node.must_not:
        mask &= ~_mask(each, columns)
    return mask


# Beside the indexes and not in them: a copy of an index with other documents must not inherit the masks of this one.
_all_recent: WeakKeyDictionary[Index, Recent[Allowed]] = WeakKeyDictionary()
_lock = threading.Lock()


def _recent(index: Index) -> Recent[Allowed]:
    with _lock:
        most = min(MOST_CACHED, max(1, CACHED_BYTES // max(1, len(index))))
        return _all_recent.setdefault(index, Recent(most))
