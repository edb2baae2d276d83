"""`models.py` of the client: a class for each schema of the API."""

from __future__ import annotations

import keyword
from textwrap import dedent, indent
from typing import Any

from pydantic import BaseModel

Schema = dict[str, Any]

HEADER = '"""{about} Written by `make client` from `service/openapi.json`; do not edit."""\n\nfrom __future__ import annotations\n'
SIMPLE = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}


def annotation(schema: Schema, prefix: str = "") -> str:
    """Return the Python type of a schema; ``prefix`` stands before the names of models."""
    if "$ref" in schema:
        return f"{prefix}{schema['$ref'].rpartition('/')[2]}"
    if values := [schema["const"]] if "const" in schema else schema.get("enum"):
        return f"Literal[{', '.join(map(repr, values))}]"
    if either := schema.get("anyOf") or schema.get("oneOf"):
        return " | ".join(dict.fromkeys(annotation(each, prefix) for each in either))
    if schema.get("type") == "array":
        return f"list[{annotation(schema.get('items', {}), prefix)}]"
    if schema.get("type") == "object":
        inner = schema.get("additionalProperties")
        return f"dict[str, {annotation(inner, prefix) if isinstance(inner, dict) else 'Any'}]"
    return SIMPLE.get(schema.get("type", ""), "Any")


def safe(name: str) -> str:
    """Return a valid attribute name: `in` is a keyword of Python, `copy` a method of every model."""
    return f"{name}_" if keyword.iskeyword(name) or hasattr(BaseModel, name) else name


def models(document: Schema) -> str:
    """Return `models.py`: a class for each schema."""
    text = HEADER.format(about="Models of the service's requests and responses.")
    text += dedent('''
        from typing import Any, Literal

        from pydantic import BaseModel, ConfigDict, Field


        class DowseModel(BaseModel):
            """Base class of all models: fields that a newer service adds are kept, not refused."""

            model_config = ConfigDict(extra="allow", populate_by_name=True, protected_namespaces=())
    ''')
    for name, schema in document["components"]["schemas"].items():
        if "properties" not in schema:
            text += f"\n\n{name} = {annotation(schema)}\n{documented(schema.get('description', ''))}"
            continue
        body = documented(schema.get("description", f"See {name}."))
        for each, below in schema["properties"].items():
            body += "\n" + field(each, below, required=each in schema.get("required", []))
        text += f"\n\nclass {name}(DowseModel):\n{indent(body, '    ')}"
    return text


def field(name: str, schema: Schema, *, required: bool) -> str:
    """Return the lines of a model's field with its description."""
    kind, arguments = annotation(schema), []
    if not required:
        default = schema.get("default")
        if default in ([], {}):
            arguments.append(f"default_factory={type(default).__name__}")
        elif default is None and "default" not in schema and "None" not in kind:
            kind, arguments = kind if kind == "Any" else f"{kind} | None", ["default=None"]
        else:
            arguments.append(f"default={default!r}")
    if safe(name) != name:
        arguments.append(f"alias={name!r}")
    short = len(arguments) == 1 and arguments[0].startswith("default=")
    value = (
        f" = {arguments[0].removeprefix('default=')}"
        if short
        else f" = Field({', '.join(arguments)})" * bool(arguments)
    )
    return f"{safe(name)}: {kind}{value}\n{documented(schema.get('description', ''))}"


def documented(text: str) -> str:
    """Return a docstring."""
    return f'"""{text.replace(chr(92), chr(92) * 2)}"""\n' if text else ""
