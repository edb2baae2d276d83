"""Examples of the API documentation that the live index answers: its documents and its columns in place of invented ones."""

from __future__ import annotations

import copy
from typing import Any

import pyarrow as pa
from pyarrow import types

from indexer.index.served import Document, ServedIndex

LONGEST = 60
"""Characters of a value that an example still shows."""
LONGEST_NUMBER = 15
"""Digits that every program reads as they are."""
MOST_COLUMNS = 3


def with_live_examples(document: dict[str, Any], index: ServedIndex, model: str) -> dict[str, Any]:
    """Return a copy of an OpenAPI document whose examples are requests that ``index`` answers.

    Args:
        document: the OpenAPI document of the service.
        index: the live index; all of its documents may be shown to whoever reads the documentation.
        model: a name of the live model.
    """
    example = index.first_document()
    if example is None:
        return document
    document = copy.deepcopy(document)
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            for parameter in operation.get("parameters", []):
                value = {"document_id": example.id, "model": model, "q": _query(example)}.get(parameter["name"])
                if value is not None:
                    parameter["example"] = value
            if bodies := _bodies(example, index, model).get(f"{method.upper()} {path}"):
                content = operation["requestBody"]["content"]["application/json"]
                content["examples"] = {name: {"value": body} for name, body in bodies.items()}
    return document


def _bodies(example: Document, index: ServedIndex, model: str) -> dict[str, dict[str, dict[str, Any]]]:
    """Return for each operation with a body its examples by name. Documentation shows the first one at first."""
    query = _query(example)
    searches: dict[str, dict[str, Any]] = {"a query": {"query": query}}
    values = _plain_values(example, index)
    if column := _choice(values, index):
        searches["filter, facets and fields"] = {
            "query": query,
            "filter": {"must": [{"field": column, "in": [values[column]]}]},
            "facets": [{"field": column, "limit": 5}],
            "fields": list(values),
        }
    put = {
        "id": "my.chunks",
        "title": "my.chunks",
        "text": "Split a list into pieces of a given length.",
        "metadata": values,
    }
    return {
        "POST /search": searches,
        "POST /search/batch": {"two queries": {"searches": [{"query": query}, {"query": query, "mode": "lexical"}]}},
        "POST /search/export": {"the results of a query": {"format": "csv", "query": query, "limit": 100}},
        "POST /similar": {"a document": {"ids": [example.id], "top_k": 5}},
        "PUT /documents": {"one document": {"documents": [put]}},
        "POST /feedback": {"a click": {"query": query, "document": example.id, "click": True}},
        "POST /v1/embeddings": {"one text": {"model": model, "input": query, "input_type": "query"}},
    }


def _query(example: Document) -> str:
    """Return words that are in the corpus."""
    words = (example.title or "").split() or example.text.split()
    return " ".join(words[:8])[:LONGEST].strip()


def _plain_values(example: Document, index: ServedIndex) -> dict[str, Any]:
    """Return some short values of a document's metadata that JSON has: texts, whole numbers and booleans."""
    plain = {
        name: value
        for name, value in example.metadata.items()
        if name in index.metadata_types
        and isinstance(value, str | int)
        and 0 < len(str(value)) <= (LONGEST if isinstance(value, str) else LONGEST_NUMBER)
    }
    return dict(list(plain.items())[:MOST_COLUMNS])


def _choice(values: dict[str, Any], index: ServedIndex) -> str | None:
    """Return the first of these columns whose values can be counted one by one."""
    columns = index.columns
    return next((name for name in values if _is_countable(columns[name])), None)


def _is_countable(kind: pa.DataType) -> bool:
    tests = (types.is_string, types.is_large_string, types.is_boolean, types.is_integer)
    return any(is_of(kind) for is_of in tests)
