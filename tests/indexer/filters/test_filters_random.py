"""Filters against brute force: random tables and trees, and documents compared one by one in plain Python."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plain_filters import COMPARE, leaf_type, leaves, passes

from indexer.filters.evaluate import find_documents
from indexer.filters.filter import Filter
from indexer.index.arrow import ArrowTable
from indexer.index.document_mask import DocumentMask

UTC = dt.UTC
TEXTS = st.text(st.sampled_from("ab\u00e9e\u0301\U0001f3e0 .\0"), max_size=3)
FLOATS = st.floats(width=32) | st.sampled_from([0.1, 1e300, -0.0, math.inf, math.nan])
MOMENTS = st.datetimes(dt.datetime(1930, 1, 1), dt.datetime(2199, 1, 1)) | st.sampled_from(  # noqa: DTZ001 - zones come below
    [dt.datetime(2026, 1, 1), dt.datetime(2026, 1, 1, 0, 0, 0, 1)]  # noqa: DTZ001
)
SMALL = st.integers(-3, 3)
TYPES: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "text": (pa.string(), TEXTS),
    "large": (pa.large_string(), TEXTS),
    "flag": (pa.bool_(), st.booleans()),
    "int": (pa.int64(), SMALL | st.sampled_from([2**53, 2**53 + 1, -(2**63), 2**63 - 1])),
    "byte": (pa.uint8(), st.integers(0, 3) | st.just(255)),
    "double": (pa.float64(), SMALL.map(float) | FLOATS),
    "single": (pa.float32(), SMALL.map(float) | st.floats(width=32)),
    "money": (pa.decimal128(7, 2), st.integers(-300, 300).map(lambda n: Decimal(n).scaleb(-2))),
    "day": (pa.date32(), MOMENTS.map(lambda moment: moment.date())),
    "micro": (pa.timestamp("us"), MOMENTS),
    "milli": (pa.timestamp("ms", "Europe/Madrid"), MOMENTS.map(lambda m: m.replace(microsecond=0, tzinfo=UTC))),
    "nano": (pa.timestamp("ns"), MOMENTS),
    "clock": (pa.time64("us"), st.times()),
    "nothing": (pa.null(), st.none()),
}


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    """Return a table with columns of random types, flat, in lists, in structs, in lists of structs, and with nulls."""
    rows = draw(st.integers(1, 12))
    columns: dict[str, pa.Array] = {"id": pa.array([f"d{row}" for row in range(rows)])}
    for name in draw(st.lists(st.sampled_from(sorted(TYPES)), min_size=1, max_size=4, unique=True)):
        kind, value = TYPES[name]
        value = st.none() | value
        shape = draw(st.sampled_from(["flat", "list", "struct", "lists of structs"]))
        if shape in {"list", "lists of structs"}:
            kind, value = pa.list_(kind), st.none() | st.lists(value, max_size=3)
        if shape in {"struct", "lists of structs"}:
            kind = pa.struct([("in.ner", kind)])
            value = st.none() | value.map(lambda inner: {"in.ner": inner})
        if shape == "lists of structs":
            kind, value = pa.large_list(kind), st.none() | st.lists(value, max_size=2)
        columns[name] = pa.array(draw(st.lists(value, min_size=rows, max_size=rows)), kind)
    return pa.table(columns)


def draw_request_value(value: Any, draw: st.DrawFn) -> Any:
    """Return a value of a column in the form of a request, or a value near it."""
    if isinstance(value, bool | str):
        return value
    if isinstance(value, dt.datetime):
        shift = draw(st.sampled_from([0, 0, 1, -1]))
        offset = draw(st.sampled_from([None, 0, 120, -330]))
        moment = (value.replace(tzinfo=value.tzinfo or UTC)).astimezone(UTC) + dt.timedelta(microseconds=shift)
        if offset is None:
            return moment.replace(tzinfo=None).isoformat()
        return moment.astimezone(dt.timezone(dt.timedelta(minutes=offset))).isoformat()
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return draw(st.sampled_from([float(value), float(value) + 0.001, int(value)]))
    near = [value, value, 0.1, 10**400, -(10**30), 256, -1]  # some of them beyond what the type can hold
    near += [value + 0.5, value - 1] if abs(value) < 1000 else []
    number = draw(st.sampled_from(near))
    return number if not isinstance(number, float) or math.isfinite(number) else 1.5


@st.composite
def trees(draw: st.DrawFn, table: pa.Table, depth: int = 2) -> dict[str, Any]:
    """Return a filter of conditions that fit a table, with values from its own rows or near them."""

    def draw_condition() -> dict[str, Any]:
        name = draw(st.sampled_from(table.column_names))
        kind = table.schema.field(name).type
        field = name if "in.ner" not in str(kind) else f"{name}.in.ner"
        known = [leaf for value in table.column(name).to_pylist() for leaf in leaves(value)] or [
            draw(TYPES.get(name, (None, st.just("d0")))[1])
        ]

        def draw_value() -> Any:
            value = draw_request_value(draw(st.sampled_from(known)), draw) if known[0] is not None else 1
            return 1.5 if isinstance(value, float) and not math.isfinite(value) else value

        operators = ["eq", "in", "exists"]
        if not pa.types.is_boolean(leaf_type(kind)):
            operators += ["between", "between"]
        if pa.types.is_string(leaf_type(kind)) or pa.types.is_large_string(leaf_type(kind)):
            operators += ["prefix"]
        match draw(st.sampled_from(operators)):
            case "eq":
                return {"field": field, "eq": draw_value()}
            case "in":
                return {"field": field, "in": [draw_value() for _ in range(draw(st.integers(0, 3)))]}
            case "exists":
                return {"field": field, "exists": draw(st.booleans())}
            case "prefix":
                return {"field": field, "prefix": draw_value()[: draw(st.integers(0, 2))]}
        bounds = draw(st.lists(st.sampled_from(sorted(COMPARE)), min_size=1, max_size=2, unique=True))
        return {"field": field} | {name: draw_value() for name in bounds}

    def draw_node(depth_left: int) -> dict[str, Any]:
        if depth_left == 0 or draw(st.booleans()):
            return draw_condition()
        return {
            part: [draw_node(depth_left - 1) for _ in range(draw(st.integers(0, 2)))]
            for part in draw(st.lists(st.sampled_from(["must", "should", "must_not"]), unique=True))
        }

    return {
        draw(st.sampled_from(["must", "should", "must_not"])): [
            draw_node(depth) for _ in range(draw(st.integers(1, 2)))
        ]
    }


class Columns:
    """A stand-in for an index of random documents, with only what filters and facets need."""

    def __init__(self, table: pa.Table, path: Path, rows_per_batch: int) -> None:
        metadata = table.drop_columns(["id"])
        documents = pa.table({"id": table["id"], "metadata": metadata.to_struct_array()})
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, documents.schema) as writer:
            writer.write_table(documents.combine_chunks(), max_chunksize=rows_per_batch)
        self.file = ArrowTable.open(path)
        self.rows = len(table)
        self.columns = {"id": pa.string()} | {field.name: field.type for field in metadata.schema}

    def __len__(self) -> int:
        return self.rows

    def column(self, name: str) -> pa.ChunkedArray:
        """Return a column."""
        return self.file.column(*(["id"] if name == "id" else ["metadata", name]))

    def allowed(self, mask: np.ndarray) -> DocumentMask:
        """Return the documents of a mask, each of one passage."""
        return DocumentMask(mask, np.arange(self.rows + 1))


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(table=tables(), data=st.data())
def test_filters_agree_with_plain_python(tmp_path: Path, table: pa.Table, data: st.DataObject) -> None:
    """For any columns and any tree, the documents that pass are those that pass in plain Python."""
    index = Columns(table, tmp_path / "documents.arrow", data.draw(st.integers(1, 5)))
    rows = table.to_pylist()
    for _ in range(3):
        tree = data.draw(trees(table))
        expected = [row for row, values in enumerate(rows) if passes(tree, values, table.schema)]
        assert find_documents(Filter.model_validate(tree), index).rows.tolist() == expected, tree
