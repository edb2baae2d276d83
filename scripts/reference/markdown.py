"""Tables and headings in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

MAX_DEFAULT = 60
"""Longest default, in characters, that a table shows; a longer one is no value that anybody would type."""


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; a `|` within a cell is escaped, and line breaks become spaces."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def described(header: str, descriptions: Mapping[str, str]) -> str:
    """Return a table of names and what they are."""
    return table([header, ""], [[f"`{name}`", text] for name, text in descriptions.items()])


def model_table(model: type[BaseModel]) -> str:
    """Return a table of the fields of a pydantic model: name, type, default, description."""
    rows = [
        [f"`{name}`", type_name(field.annotation), default(field), field.description or ""]
        for name, field in model.model_fields.items()
    ]
    return table(["field", "type", "default", ""], rows)


def default(field: FieldInfo) -> str:
    """Return the default of a field as a reader of the documentation writes it; empty where it is required."""
    if field.is_required():
        return ""
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return "empty"
    if isinstance(value, str) and len(value) > MAX_DEFAULT:
        return ""
    return {"": "empty", "None": "null", "True": "true", "False": "false", "[]": "empty", "{}": "empty"}.get(
        str(value), f"`{value}`"
    )


def type_name(annotation: Any) -> str:
    """Return a type in the words of the documentation: `list[str]` is a list of text."""
    words = {str: "text", int: "integer", float: "number", bool: "true or false", type(None): "null"}
    if annotation in words:
        return words[annotation]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"[{annotation.__name__}](#{annotation.__name__.lower()})"
    origin, inside = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{each}`" for each in inside)
    names = [type_name(each) for each in inside if each is not Ellipsis]
    formats = {list: "list of {}", tuple: "list of {}", dict: "object: {} → {}", Annotated: "{}"}
    if origin in formats:
        return formats[origin].format(*names)
    return " or ".join(names) or "JSON"


def models_within(model: type[BaseModel]) -> list[type[BaseModel]]:
    """Return the models that the fields of a model hold, at any depth, each once, in the order of the fields."""
    found: dict[type[BaseModel], None] = {}

    def visit(annotation: Any) -> None:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            if annotation not in found:
                found[annotation] = None
                for field in annotation.model_fields.values():
                    visit(field.annotation)
            return
        for each in get_args(annotation):
            visit(each)

    for field in model.model_fields.values():
        visit(field.annotation)
    return list(found)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
