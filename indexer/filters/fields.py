"""Fields that a filter can name: `id`, the metadata columns, and the fields of struct columns by dotted name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

Types = Mapping[str, pa.DataType]
"""Names and types of the columns that a filter can name."""


class FilterError(ValueError):
    """A filter or a facet does not fit the index; the message names the field, what is wrong, and the remedy.

    Attributes:
        field: the field as the request names it.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class UnknownField(FilterError):  # noqa: N818 - the API's word
    """The index has no such field; the message lists those that it has."""

    def __init__(self, field: str, types: Types) -> None:
        known = ", ".join(f"{name} ({kind})" for name, kind in field_types(types).items())
        super().__init__(field, f"There is no field {field!r}. The fields are: {known}")


class WrongType(FilterError):  # noqa: N818 - as above
    """The field cannot be compared with this value; the message says with what it can be, and lists the fields."""

    def __init__(self, field: str, kind: pa.DataType, remedy: str, types: Types) -> None:
        known = ", ".join(f"{name} ({kind})" for name, kind in field_types(types).items())
        super().__init__(field, f"The field {field!r} is of type {kind}: {remedy}. The fields are: {known}")


@dataclass(frozen=True)
class FieldPath:
    """Where the values of a field are found.

    Attributes:
        column: the metadata column, or `id`.
        fields: the names of the struct fields that lead from there to the values.
        type: of the values; for a list, the type of its elements.
        in_list: whether a document may have several values.
    """

    column: str
    fields: tuple[str, ...]
    type: pa.DataType
    in_list: bool


def field_types(types: Types) -> dict[str, str]:
    """Return name and type, as text, of every field that a filter can name; fields of structs have dotted names."""
    names: dict[str, str] = {}
    for name, kind in types.items():
        inner, _ = _element(kind)
        if pa.types.is_struct(inner):
            nested = field_types({field.name: field.type for field in inner})
            names |= {f"{name}.{nested_name}": text for nested_name, text in nested.items()}
        else:
            names[name] = str(kind)
    return names


def find_field(field: str, types: Types) -> FieldPath:
    """Return where the values of ``field`` are found.

    A column whose own name has dots takes precedence over a path of the same spelling.

    Raises:
        UnknownField: no field has this name.
    """
    path = _path(field, types)
    if path is None:
        raise UnknownField(field, types)
    kind, in_list = _element(types[path[0]])
    for name in path[1:]:
        kind, deeper = _element(kind.field(name).type)
        in_list = in_list or deeper
    return FieldPath(path[0], path[1:], kind, in_list)


def is_list(kind: pa.DataType) -> bool:
    """Say whether values of this type are lists of others."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _path(field: str, types: Types) -> tuple[str, ...] | None:
    if field in types:
        return (field,)
    for name, kind in types.items():
        inner, _ = _element(kind)
        if field.startswith(f"{name}.") and pa.types.is_struct(inner):
            nested = _path(field[len(name) + 1 :], {child.name: child.type for child in inner})
            if nested:
                return (name, *nested)
    return None


def _element(kind: pa.DataType) -> tuple[pa.DataType, bool]:
    in_list = False
    while is_list(kind):
        kind, in_list = kind.value_type, True
    return kind, in_list
