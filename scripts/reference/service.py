"""`api.md`, `problems.md` and `metrics.md`: what the service's clients and its monitoring see."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

from scripts.reference.markdown import table
from service.api.operations.metrics import INDEX_METRICS
from service.observability import metrics
from service.problems import KINDS

DESCRIPTION = Path(__file__).parents[2] / "service" / "openapi.json"
METHODS = ("get", "put", "post", "delete")
API = """# API

Every route with its parameters and schemas, from `service/openapi.json`. The service shows the same at `/docs`, with a
form to try each route. Errors are in [Problems](problems.md).
"""
PROBLEMS = """# Problems

Every error is `application/problem+json` (RFC 9457). Programs look at `type`: it is `urn:dowse:problem:` and one of
these words, and never changes. `detail` says in words what is wrong and what to do, `errors` which fields were refused.
`request_id` is also in the header `X-Request-ID` and in the log.
"""
METRICS = """# Metrics

`GET /metrics` is for Prometheus. With several workers each answer counts for all of them; `process_*` then has a label
`worker`, and `dowse_index_*` is what the worker that answers shows.
"""


def api_page() -> str:
    """Return the page of the routes and of the models that they take and give."""
    api = json.loads(DESCRIPTION.read_text(encoding="utf-8"))
    parts = [API]
    for path, operations in api["paths"].items():
        methods = [method for method in METHODS if method in operations]
        parts += [_operation(f"{method.upper()} {path}", operations[method]) for method in methods]
    parts.append("## Models\n")
    parts += [_model(name, schema) for name, schema in api["components"]["schemas"].items()]
    return "\n".join(parts)


def problems_page() -> str:
    """Return the page of the kinds of problems."""
    rows = [
        [f"`{name}`", " or ".join(str(status) for status in kind.statuses), kind.title, kind.meaning]
        for name, kind in KINDS.items()
    ]
    return PROBLEMS + "\n" + table(["type", "status", "title", ""], rows)


def metrics_page() -> str:
    """Return the page of the metrics."""
    rows = [_metric(each) for each in vars(metrics).values() if isinstance(each, MetricWrapperBase)]
    rows += [[f"`{name}`", "gauge", ", ".join(labels), text] for name, (text, labels) in INDEX_METRICS.items()]
    rows.append(["`process_*`", "", "", "Memory, processor time and open files of the process"])
    return METRICS + "\n" + table(["metric", "type", "labels", ""], rows)


def _metric(metric: MetricWrapperBase) -> list[str]:
    """Return the row of a metric; the name of a counter has the suffix with which it is exposed."""
    described = next(iter(metric.describe()))
    kinds = {Counter: "counter", Gauge: "gauge", Histogram: "histogram"}
    name = described.name + ("_total" if isinstance(metric, Counter) else "")
    labels = ", ".join(f"`{label}`" for label in metric._labelnames)  # noqa: SLF001 - the library shows them only with samples
    return [f"`{name}`", kinds[type(metric)], labels, described.documentation]


def _operation(heading: str, operation: dict[str, Any]) -> str:
    """Return the section of a route."""
    parts = [f"## {heading}\n", operation.get("description") or operation["summary"], ""]
    if parameters := operation.get("parameters"):
        rows = [
            [f"`{each['name']}`", each["in"], *_value(each["schema"], each.get("required", False)), _text(each)]
            for each in parameters
        ]
        parts.append(table(["parameter", "in", "type", "default", ""], rows) + "\n")
    if body := operation.get("requestBody"):
        parts.append(f"Body: {_contents(body['content'])}.\n")
    for status, answer in operation["responses"].items():
        if status.startswith("2"):
            parts.append(f"Answer {status}: {_contents(answer.get('content', {})) or 'no body'}.\n")
    problems = [status for status in operation["responses"] if not status.startswith("2")]
    parts.append(f"Problems: {', '.join(problems) or 'none'}.\n")
    return "\n".join(parts)


def _contents(content: dict[str, Any]) -> str:
    """Return the types of a body: media type and schema of each."""
    return "; ".join(f"`{media}` {_type(each.get('schema', {}))}".strip() for media, each in content.items())


def _model(name: str, schema: dict[str, Any]) -> str:
    """Return the section of a model: a table of its fields, or its values."""
    parts = [f"### {name}\n", f"{schema.get('description', '')}\n"]
    if "properties" in schema:
        required = schema.get("required", [])
        rows = [
            [f"`{field}`", *_value(each, field in required), _text(each)]
            for field, each in schema["properties"].items()
        ]
        parts.append(table(["field", "type", "default", ""], rows) + "\n")
    else:
        parts.append(f"{_type(schema)}\n")
    return "\n".join(parts)


def _value(schema: dict[str, Any], required: bool) -> tuple[str, str]:
    """Return the type of a value with its bounds, and its default."""
    bounds = ", ".join(_bounds(schema))
    shown = "required" if required else f"`{json.dumps(schema['default'])}`" if "default" in schema else ""
    return _type(schema) + (f", {bounds}" if bounds else ""), shown


def _bounds(schema: dict[str, Any]) -> Iterable[str]:
    words = {
        "minimum": "≥ {}",
        "exclusiveMinimum": "> {}",
        "maximum": "≤ {}",
        "minLength": "at least {} characters",
        "maxLength": "at most {} characters",
        "minItems": "at least {} items",
        "maxItems": "at most {} items",
    }
    return [text.format(schema[key]) for key, text in words.items() if key in schema]


def _text(schema: dict[str, Any]) -> str:
    return str(schema.get("description", ""))


def _type(schema: dict[str, Any]) -> str:
    """Return the type of a JSON schema in words; a model is a link to its section."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema or "oneOf" in schema:
        return " or ".join(dict.fromkeys(_type(each) for each in schema.get("anyOf") or schema["oneOf"]))
    if "const" in schema or "enum" in schema:
        return ", ".join(f"`{json.dumps(each)}`" for each in schema.get("enum") or [schema["const"]])
    kind = schema.get("type")
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if kind == "object":
        inner = schema.get("additionalProperties")
        return f"object of {_type(inner)}" if isinstance(inner, dict) and inner else "object"
    return {"string": "text", "boolean": "true or false", "null": "null"}.get(kind or "", kind or "JSON")
