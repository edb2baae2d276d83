"""Filter trees as expressions of Milvus, with the values of their conditions bound.

A condition is true or false of a document, and false where it has no value. Milvus knows a third truth, and so each
comparison is joined with `is not null`: under `must_not` a document without a value then passes, as in every store.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from indexer.errors import NotSupported
from indexer.filters.bind import bind, comparable
from indexer.filters.conditions import Between, Equals, Exists, FieldCondition, OneOf, Prefix, Within
from indexer.filters.fields import Types, find_field
from indexer.filters.filter import Filter
from indexer.filters.values import bound_scalar, to_scalar
from indexer.milvus.engine import NUMBER
from indexer.milvus.fields import StoredField, stored_scalar
from indexer.milvus.filtering.expression import Expression

OPERATORS = {"gte": ">=", "gt": ">", "lte": "<=", "lt": "<"}
ALL, NONE = f"{NUMBER} >= 0", f"{NUMBER} < 0"
"""Expressions that every document passes, and none."""
ID = StoredField("id", "id", "text", many=False)
LAST_CHARACTER = 0x10FFFF
SURROGATES = range(0xD800, 0xE000)
"""Code points that no text has."""


def translate(condition: Filter, types: Types, fields: Mapping[str, StoredField], prefix: str = "v") -> Expression:
    """Return the expression of a filter.

    Args:
        condition: of the request.
        types: names and types of the columns of the index.
        fields: the fields of the collections, by the path that a filter names.
        prefix: of the names of the values.

    Raises:
        UnknownField: the index has no such field.
        WrongType: a field cannot be compared with the value that the filter gives.
        NotSupported: Milvus has no such condition.
    """
    bind(condition, types)  # refuses what every store refuses, in the same words
    return _Translation(types, fields, prefix).whole(condition)


def next_text(text: str) -> str | None:
    """Return the smallest text that is greater than all texts with this beginning; None where there is none."""
    characters = [ord(character) for character in text]
    while characters:
        last = characters.pop() + 1
        if last <= LAST_CHARACTER:
            return "".join(map(chr, [*characters, SURROGATES.stop if last in SURROGATES else last]))
    return None


class _Translation:
    def __init__(self, types: Types, fields: Mapping[str, StoredField], prefix: str) -> None:
        self._types, self._fields, self._prefix = types, fields, prefix
        self._values: dict[str, Any] = {}

    def whole(self, condition: Filter) -> Expression:
        return Expression(self._tree(condition), self._values)

    def _node(self, node: Filter | FieldCondition | Within) -> str:
        if isinstance(node, Filter):
            return self._tree(node)
        if isinstance(node, Within):
            raise NotSupported("Milvus as a store has no condition `within`; filter latitude and longitude by bounds")
        return self._condition(node)

    def _tree(self, tree: Filter) -> str:
        parts = [self._node(child) for child in tree.must]
        if tree.should:
            parts.append(" or ".join(f"({self._node(child)})" for child in tree.should))
        parts += [f"not ({self._node(child)})" for child in tree.must_not]
        return " and ".join(f"({part})" for part in parts) or ALL

    def _condition(self, condition: FieldCondition) -> str:
        path = find_field(condition.field, self._types)
        kind = comparable(path.type)
        if pa.types.is_null(kind):  # no document has a value
            return ALL if isinstance(condition, Exists) and not condition.exists else NONE
        field = ID if condition.field == "id" else self._fields.get(condition.field)
        if field is None:
            raise NotSupported(
                f"Milvus as a store holds no field {condition.field!r} of type {path.type}; it holds: "
                f"{', '.join(sorted(self._fields)) or 'none'}"
            )
        there = f"{field.name} is not null" if field is not ID else ALL
        if isinstance(condition, Exists):
            return there if condition.exists else f"not ({there})"
        comparison = self._comparison(condition, field, kind)
        return comparison if comparison == NONE or field is ID else f"{there} and {comparison}"

    def _comparison(self, condition: FieldCondition, field: StoredField, kind: pa.DataType) -> str:
        match condition:
            case Equals(eq=value):
                return self._one_of(field, kind, [value])
            case OneOf(in_=values):
                return self._one_of(field, kind, values)
        if field.many:
            raise NotSupported(
                f"Milvus as a store compares the lists of {condition.field!r} by `eq`, `in` and `exists` only"
            )
        match condition:
            case Prefix(prefix=prefix):
                return self._between(field, {">=": prefix, "<": next_text(prefix)})
            case Between(bounds=bounds):
                limits = {}
                for name, bound in bounds.items():
                    limit = bound_scalar(bound, kind, up=name in {"gte", "lt"})
                    if not isinstance(limit, bool):
                        limits[OPERATORS[name]] = stored_scalar(limit, field.form)
                    elif limit != name.startswith("g"):  # below (True) or above (False) all values of the type
                        return NONE
                return self._between(field, limits)
        raise TypeError(f"no such condition: {condition!r}")

    def _one_of(self, field: StoredField, kind: pa.DataType, values: list[Any]) -> str:
        scalars = [scalar for value in values if (scalar := to_scalar(value, kind)) is not None]
        stored = [stored_scalar(scalar, field.form) for scalar in scalars]
        if not stored:
            return NONE
        if field.many:
            return f"array_contains_any({field.name}, {self._bound(stored)})"
        if len(stored) == 1 or field.form == "boolean":
            return "(" + " or ".join(f"{field.name} == {self._bound(value)}" for value in dict.fromkeys(stored)) + ")"
        return f"{field.name} in {self._bound(stored)}"

    def _between(self, field: StoredField, limits: Mapping[str, Any]) -> str:
        parts = [
            f"{field.name} {operator} {self._bound(limit)}" for operator, limit in limits.items() if limit is not None
        ]
        return " and ".join(parts) or ALL

    def _bound(self, value: Any) -> str:
        name = f"{self._prefix}{len(self._values)}"
        self._values[name] = value
        return f"{{{name}}}"
