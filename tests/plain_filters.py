"""Reference implementation of filters: one document in plain Python, slow and independent of the product's code."""

from __future__ import annotations

import datetime as dt
import math
import operator
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa

UTC = dt.UTC
COMPARE = {"gte": operator.ge, "gt": operator.gt, "lte": operator.le, "lt": operator.lt}


def leaf_type(kind: pa.DataType) -> pa.DataType:
    """Return the type of the values inside lists and structs."""
    while pa.types.is_nested(kind):
        kind = kind.field(0).type if pa.types.is_struct(kind) else kind.value_type
    return kind


def leaves(value: Any) -> list[Any]:
    """Return the values inside lists and structs, without missing ones."""
    if isinstance(value, list):
        return [leaf for member in value for leaf in leaves(member)]
    if isinstance(value, dict):
        return leaves(value["in.ner"])
    return [] if value is None or value != value else [value]  # noqa: PLR0124 - NaN


def moment_of(text: str) -> Fraction:
    """Return the microseconds since 1970 of an ISO 8601 time."""
    moment = dt.datetime.fromisoformat(text)
    since = moment.replace(tzinfo=moment.tzinfo or UTC) - dt.datetime(1970, 1, 1, tzinfo=UTC)
    return Fraction(since // dt.timedelta(microseconds=1))


def comparable(value: Any, given: Any, kind: pa.DataType) -> tuple[Any, Any]:
    """Return a value of a column and one of a request in a form that Python compares exactly."""
    if isinstance(value, dt.datetime | dt.date) and not isinstance(value, dt.time):
        return moment_of(value.isoformat()), moment_of(given)
    if isinstance(value, dt.time):
        return value, dt.time.fromisoformat(given)
    if isinstance(value, bool | str):
        return value, given
    if isinstance(value, Decimal):
        return Fraction(value), Fraction(str(given))
    if isinstance(value, int):
        return Fraction(value), Fraction(given)
    try:
        given = float(given)
    except OverflowError:
        given = math.copysign(math.inf, -1 if given < 0 else 1)
    if pa.types.is_float32(kind) and math.isfinite(given):
        with np.errstate(over="ignore"):
            given = float(np.float32(given))
    return value, given


def passes(node: dict[str, Any], row: dict[str, Any], schema: pa.Schema) -> bool:
    """Say whether a document passes a filter."""
    if "field" not in node:
        return (
            all(passes(child, row, schema) for child in node.get("must", []))
            and (not node.get("should") or any(passes(child, row, schema) for child in node["should"]))
            and not any(passes(child, row, schema) for child in node.get("must_not", []))
        )
    name = node["field"].split(".")[0]
    kind = leaf_type(schema.field(name).type)
    values = leaves(row[name])
    if "exists" in node:
        return bool(values) == node["exists"]

    def holds(value: Any) -> bool:
        if "prefix" in node:
            return value.startswith(node["prefix"])
        if "eq" in node or "in" in node:
            pairs = [comparable(value, given, kind) for given in node.get("in", [node.get("eq")])]
            return any(stored == given for stored, given in pairs)
        pairs = [(name, *comparable(value, node[name], kind)) for name in COMPARE if name in node]
        return all(COMPARE[name](stored, given) for name, stored, given in pairs)

    return any(holds(value) for value in values)
