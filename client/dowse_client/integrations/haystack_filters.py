"""Haystack's filters as Dowse's: `{"field": "meta.price", "operator": "<", "value": 10}` and trees of them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from haystack.errors import FilterError

NOTHING = {"field": "id", "in": []}
"""A condition that no document fulfils."""
BOUNDS = {">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}
Node = dict[str, Any]


def to_dowse(filters: Mapping[str, Any] | None) -> Node:
    """Return a filter of `POST /search`; an empty one lets every document pass.

    Raises:
        FilterError: the filter is not one of Haystack's, or compares texts that are not dates by size.
    """
    return {"must": [_node(filters)]} if filters else {}


def _node(filters: Any) -> Node:
    if not isinstance(filters, Mapping):
        raise FilterError(f"A filter is a dictionary, not {filters!r}")
    return _comparison(filters) if "field" in filters else _tree(filters)


def _tree(filters: Mapping[str, Any]) -> Node:
    operator, conditions = _needed(filters, "operator"), _needed(filters, "conditions")
    nodes = [_node(each) for each in conditions]
    if operator == "AND":
        return {"must": nodes}
    if operator == "OR":
        return {"should": nodes} if nodes else NOTHING
    if operator == "NOT":
        return {"must_not": [{"must": nodes}]}
    raise FilterError(f"Unknown operator {operator!r}; there are AND, OR and NOT")


def _comparison(filters: Mapping[str, Any]) -> Node:
    field = str(filters["field"]).removeprefix("meta.")
    operator, value = _needed(filters, "operator"), _needed(filters, "value")
    if operator in {"==", "!="}:
        return _unless(_equals(field, value), negated=operator == "!=")
    if operator in {"in", "not in"}:
        if not isinstance(value, list):
            raise FilterError(f"{operator!r} needs a list, not {value!r}")
        values = [each for each in value if each is not None]
        either: list[Node] = [{"field": field, "in": values}]
        if len(values) < len(value):
            either.append(_equals(field, None))
        return _unless({"should": either}, negated=operator == "not in")
    if operator in BOUNDS:
        if value is None:
            return NOTHING
        if isinstance(value, list | bool):
            raise FilterError(f"{operator!r} needs a number or a date, not {value!r}")
        return {"field": field, BOUNDS[operator]: _date(operator, value) if isinstance(value, str) else _plain(value)}
    raise FilterError(f"Unknown operator {operator!r}; there are ==, !=, >, >=, <, <=, in and not in")


def _equals(field: str, value: Any) -> Node:
    return {"field": field, "exists": False} if value is None else {"field": field, "eq": _plain(value)}


def _unless(node: Node, *, negated: bool) -> Node:
    return {"must_not": [node]} if negated else node


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _date(operator: str, value: str) -> str:
    """Return a date as it is; Haystack compares no other texts by size."""
    try:
        datetime.fromisoformat(value)
    except ValueError as error:
        raise FilterError(f"{operator!r} compares numbers and dates in ISO 8601, not {value!r}") from error
    return value


def _needed(filters: Mapping[str, Any], name: str) -> Any:
    if name not in filters:
        raise FilterError(f"{name!r} is missing in {dict(filters)!r}")
    return filters[name]
