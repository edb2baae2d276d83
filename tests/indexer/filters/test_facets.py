"""Facets: values and ranges are counted over all documents that pass a filter, not over one page."""

from __future__ import annotations

import datetime as dt
import json
import math
import random
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from indexer.artifacts.store import Store
from indexer.build.build import build
from indexer.build.settings import BuildSettings
from indexer.filters.evaluate import compile_filter
from indexer.filters.facets import FacetRequest, count_facet
from indexer.filters.fields import UnknownField, WrongType
from indexer.filters.filter import Filter
from indexer.index.index import Index

RNG = random.Random(7)
DOCUMENTS = 3000  # in three record batches
DAY = dt.date(2026, 1, 1)


def draw(values: list[Any], missing: Any = None) -> list[Any]:
    """Return a value for each document; a fifth are missing."""
    return [missing if RNG.random() < 0.2 else RNG.choice(values) for _ in range(DOCUMENTS)]


ROWS: dict[str, list[Any]] = {
    "kind": draw(["cat", "dog", "é", "Ω", ""]),
    "price": draw([1.5, 2.0, 0.0, -0.0, 7.25, math.inf, math.nan]),
    "cents": draw([Decimal("0.10"), Decimal("19.99"), Decimal("5.00")]),
    "wei": draw([Decimal("12345678901234567890.125"), Decimal(-9007199254740993), Decimal("0.1"), Decimal(3)]),
    "rooms": draw(list(range(-50, 200))),
    "open": draw([True, False]),
    "tags": draw([["sea"], ["sea", "sun"], ["sun", "sun", None], []]),
    "day": draw([DAY + dt.timedelta(days=n) for n in range(40)]),
    "when": draw([dt.datetime(2026, 1, 1, n, tzinfo=dt.UTC) for n in range(5)]),
    "home": draw([{"city": "Maó", "zip": [1, 2]}, {"city": "Ciutadella", "zip": None}]),
    "nothing": [None] * DOCUMENTS,
    "raw": draw([b"x"]),
}
TYPES = {
    "cents": pa.decimal128(9, 2),
    "wei": pa.decimal128(38, 3),
    "day": pa.date32(),
    "when": pa.timestamp("us", "UTC"),
    "nothing": pa.null(),
}


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Index:
    """Return an index of three thousand documents."""
    data = tmp_path_factory.mktemp("facets")
    (data / "models").symlink_to(tiny_data / "models")
    corpus = data / "corpus.parquet"
    columns = {name: pa.array(values, TYPES.get(name)) for name, values in ROWS.items()}
    ids = [f"{number:04}" for number in range(DOCUMENTS)]
    pq.write_table(pa.table({"id": ids, "text": ["Snow."] * DOCUMENTS} | columns), corpus)
    manifest = build(str(corpus), BuildSettings(language="en"), data, cores=1).manifest
    return Index.open(Store("index", data).path(manifest.id), cores=1)


def count(index: Index, request: dict[str, Any], tree: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return a facet as a response has it."""
    documents = compile_filter(Filter.model_validate(tree or {}), index)
    facet = count_facet(FacetRequest.model_validate(request), index, documents)
    return json.loads(facet.model_dump_json(exclude_unset=True))


def count_by_hand(values: list[Any], limit: int) -> tuple[list[tuple[Any, int]], int]:
    """Return the most frequent values with their counts, and the number of documents without a value."""

    def list_present(value: Any) -> set[Any]:
        elements = value if isinstance(value, list) else [value]
        return {v for v in elements if v is not None and v == v}  # noqa: PLR0124 - NaN

    by_document = [list_present(value) for value in values]
    counts = Counter(value for present in by_document for value in present)
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:limit], sum(not p for p in by_document)


@pytest.mark.parametrize("rows", [range(DOCUMENTS), range(0), range(100, 2500)], ids=["all", "none", "some"])
@pytest.mark.parametrize("field", ["kind", "price", "cents", "rooms", "open", "tags", "day", "when"])
def test_values_are_count(index: Index, field: str, rows: range) -> None:
    """Each document counts once for each of its values; the most frequent come first, then the smaller value."""
    tree = {"must": [{"field": "id", "gte": f"{rows.start:04}", "lt": f"{rows.stop:04}"}]}
    facet = count(index, {"field": field, "limit": 12}, tree)
    expected, missing = count_by_hand([ROWS[field][row] for row in rows], 12)

    def to_json(value: Any) -> Any:
        if isinstance(value, Decimal):
            return float(value)
        if value == math.inf:
            return None
        return value.isoformat().replace("+00:00", "Z") if isinstance(value, dt.date) else value

    assert [(entry["value"], entry["count"]) for entry in facet["values"]] == [(to_json(v), n) for v, n in expected]
    assert facet["missing"] == missing
    assert facet["ranges"] == []
    everything, _ = count_by_hand([ROWS[field][row] for row in rows], DOCUMENTS)
    if field in {"kind", "open", "tags"} or not everything:
        assert "min" not in facet
    else:
        assert facet["min"] == to_json(min(value for value, _ in everything))
        assert facet["max"] == to_json(max(value for value, _ in everything))


def test_decimals_are_exact(index: Index) -> None:
    """A decimal that no float holds is a text, in the values and as the least and the greatest."""
    facet = count(index, {"field": "wei"})
    values = {entry["value"] for entry in facet["values"]}
    assert values == {"12345678901234567890.125", "-9007199254740993.000", 0.1, 3.0}
    assert (facet["min"], facet["max"]) == ("-9007199254740993.000", "12345678901234567890.125")


@pytest.mark.parametrize("text", ["1e3", "0x1", "", " 1", "1_000", "١"])
def test_texts_that_are_no_decimals(index: Index, text: str) -> None:
    """A text that is no plain decimal is refused with what to give instead."""
    with pytest.raises(WrongType, match="compare it with a number"):
        compile_filter(Filter.model_validate({"must": [{"field": "wei", "eq": text}]}), index)


def test_a_filter_accepts_the_values_of_a_facet(index: Index) -> None:
    """A filter on a value of a facet finds as many documents as the facet has counted."""
    for field in ("kind", "cents", "wei", "rooms", "open", "tags", "day", "when", "home.city", "home.zip"):
        facet = count(index, {"field": field, "limit": 100})
        assert facet["values"]
        for entry in facet["values"]:
            tree = Filter.model_validate({"must": [{"field": field, "eq": entry["value"]}]})
            assert compile_filter(tree, index).count == entry["count"], (field, entry)


@pytest.mark.parametrize(
    ("field", "ranges"),
    [
        ("rooms", [{"lt": 0}, {"gte": 0, "lt": 100}, {"gte": 99.5}, {"gte": 1000}]),
        ("price", [{"gte": 1.5, "lt": 2}, {"gte": 2}]),
        ("day", [{"gte": "2026-01-10", "lt": "2026-01-20"}]),
        ("tags", [{"gte": "sea", "lt": "sf"}, {"gte": "s"}]),
        ("cents", [{"gte": 0.1, "lt": 19.99}]),
    ],
)
def test_ranges_are_count(index: Index, field: str, ranges: list[dict[str, Any]]) -> None:
    """Each range counts the documents with a value in it, as the filter of the same bounds does; ranges may overlap."""
    facet = count(index, {"field": field, "limit": 0, "ranges": ranges}, {"must": [{"field": "open", "eq": True}]})
    assert facet["values"] == []
    for bounds, entry in zip(ranges, facet["ranges"], strict=True):
        within = Filter.model_validate({"must": [{"field": field, **bounds}, {"field": "open", "eq": True}]})
        assert entry == {**bounds, "count": compile_filter(within, index).count}
    assert facet["ranges"][0]["count"] > 0


def test_what_cannot_be_count(index: Index) -> None:
    """An unknown field, a type that cannot be counted, and bounds of another type are refused; the error lists what fits."""
    with pytest.raises(UnknownField, match=r"'colour'.*kind \(string\)"):
        count(index, {"field": "colour"})
    for field in ("raw", "home"):
        with pytest.raises(WrongType, match=f"'{field}'.*are counted"):
            count(index, {"field": field})
    with pytest.raises(WrongType, match="not with 'x'"):
        count(index, {"field": "rooms", "ranges": [{"lt": "x"}]})
    with pytest.raises(ValidationError, match="gte, lt or both"):
        FacetRequest.model_validate({"field": "rooms", "ranges": [{}]})
    assert count(index, {"field": "nothing"}) == {"values": [], "ranges": [], "missing": DOCUMENTS}
