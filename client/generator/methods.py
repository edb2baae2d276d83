"""`client.py` of the client: a method for each operation of the API, with the fields of the request as arguments."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from textwrap import dedent, indent

from generator.models import HEADER, Schema, annotation, safe

LEFT_OUT = {
    "GET /search": "the same as POST /search",
    "GET /healthz": "the older name of GET /livez",
    "POST /documents/import": "a stream in both directions; `put_documents` writes some documents",
}
NAMES = {
    "GET /documents/{document_id}": "document",
    "GET /documents/{document_id}/similar": "similar_documents",
    "POST /search/batch": "search_many",
    "GET /v1/models/{model}": "embedding_model",
    "GET /v1/models": "embedding_models",
    "POST /v1/embeddings": "embeddings",
    "POST /v1/rerank": "rerank",
    "PUT /documents": "put_documents",
    "DELETE /documents": "delete_documents",
    "POST /documents/fetch": "fetch_documents",
    "POST /documents/delete": "delete_by_filter",
}
"""Operation → name of its method, where its path gives no name or a bad one."""
FIRST = {"POST /search": "query"}
"""Operation → field of its body that is named by its place, although it may be left out."""


def clients(document: Schema) -> str:
    """Return `client.py`: a blocking class and one for asyncio, with the same methods."""
    text = HEADER.format(about="The client: a method for each operation.")
    text += dedent("""
        from collections.abc import Mapping, Sequence
        from typing import Any, Literal

        from dowse_client import models
        from dowse_client.transport import AsyncTransport, Transport, quote
    """)
    for name, base, about in (
        ("Dowse", "Transport", "A client of one service. Close it, or use it in a `with` block."),
        ("AsyncDowse", "AsyncTransport", "The same for asyncio: every method is to be awaited."),
    ):
        text += f'\n\nclass {name}({base}):\n    """{about}"""\n'
        for key, operation in operations(document):
            text += "\n" + indent(method(document, key, operation, is_async=base.startswith("Async")), "    ")
    return text


def operations(document: Schema) -> Iterator[tuple[str, Schema]]:
    """Yield each operation as `POST /search` with its part of the document."""
    for path, methods in document["paths"].items():
        for verb, operation in methods.items():
            if (key := f"{verb.upper()} {path}") not in LEFT_OUT:
                yield key, operation


@dataclass(frozen=True)
class Argument:
    """One argument of a method: a parameter of the path or the query, or a field of the body."""

    name: str
    place: str
    schema: Schema
    about: str
    required: bool

    @property
    def declared(self) -> str:
        """The argument as the signature has it."""
        kind = taken(self.schema)
        if self.required:
            return f"{safe(self.name)}: {kind}"
        return f"{safe(self.name)}: {kind if kind.endswith('None') else f'{kind} | None'} = None"

    @property
    def described(self) -> str:
        """The argument's line in the docstring."""
        value = self.schema.get("default")
        default = "" if value in (None, [], {}) else f" (default: {json.dumps(value)})"
        return f"{safe(self.name)}: {self.about or self.name.replace('_', ' ')}{default}"


def arguments_of(document: Schema, operation: Schema) -> list[Argument]:
    """Return the arguments of an operation, required ones first."""
    arguments = [
        Argument(item["name"], item["in"], item["schema"], item.get("description", ""), item.get("required", False))
        for item in operation.get("parameters", [])
        if item["in"] in {"path", "query"}
    ]
    if body := operation.get("requestBody"):
        name = body["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        model = document["components"]["schemas"][name]
        arguments += [
            Argument(field, "body", schema, schema.get("description", ""), field in model.get("required", []))
            for field, schema in model["properties"].items()
        ]
    return sorted(arguments, key=lambda argument: not argument.required)


def method(document: Schema, key: str, operation: Schema, *, is_async: bool) -> str:
    """Return the method of one operation."""
    verb, _, path = key.partition(" ")
    name = NAMES.get(key) or re.sub(r"\W", "_", path.strip("/"))
    arguments = arguments_of(document, operation)
    first = FIRST.get(key)
    arguments.sort(key=lambda each: each.name != first)
    signature = ["self", *(each.declared for each in arguments if each.required or each.name == first)]
    if optional := [each.declared for each in arguments if not each.required and each.name != first]:
        signature += ["*", *optional]
    answer, result = returned(operation["responses"]["200"])
    quoted = path.replace("{", "{quote(").replace("}", ")}")
    given = [f"{verb!r}", "f" * ("{" in path) + repr(quoted), answer]
    given += [
        f"{place}={{{', '.join(sent)}}}"
        for place in ("query", "body")
        if (sent := [f"{each.name!r}: {safe(each.name)}" for each in arguments if each.place == place])
    ]
    about = operation["description"]
    if arguments:
        about += "\n\nArgs:\n" + indent("\n".join(each.described for each in arguments), "    ")
    if "\n" in about:
        about += "\n"
    head = f"{'async ' * is_async}def {name}({', '.join(signature)}) -> {result}:\n"
    call = f"return {'await ' * is_async}self._call({', '.join(given)})\n"
    return head + indent(f'"""{about}"""\n{call}', "    ")


def taken(schema: Schema) -> str:
    """Return the type of an argument; in place of a model it also allows a dictionary of the fields."""
    kinds = annotation(schema, "models.").replace("list[", "Sequence[").split(" | ")
    if any("models." in kind for kind in kinds):
        kinds.append("Sequence[Mapping[str, Any]]" if "Sequence[" in kinds[0] else "Mapping[str, Any]")
    return " | ".join(sorted(kinds, key=lambda kind: kind == "None"))


def returned(response: Schema) -> tuple[str, str]:
    """Return the class that a response is parsed to, and its type annotation."""
    contents: Schema = response.get("content", {"text/plain": {}})
    media_type, content = next(iter(contents.items()))
    if "$ref" in content.get("schema", {}):
        kind = annotation(content["schema"], "models.")
        return kind, kind
    return ("dict", "dict[str, Any]") if media_type == "application/json" else ("str", "str")
