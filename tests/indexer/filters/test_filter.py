"""Filters: every condition on columns of every type, and trees of conditions."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from indexer.artifacts.store import Store
from indexer.build.build import build
from indexer.build.settings import BuildSettings
from indexer.filters.evaluate import compile_filter
from indexer.filters.fields import FilterError, UnknownField, WrongType
from indexer.filters.filter import MAX_DEPTH, MAX_NODES, Filter
from indexer.filters.values import nanoseconds, to_scalar
from indexer.index.index import Index

IDS = ["a", "b", "c", "dé", "e"]
NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
COLUMNS: dict[str, Any] = {
    "price": pa.array([1.5, 2.0, None, math.nan, math.inf], pa.float64()),
    "small": pa.array([0.1, 2.0, None, math.nan, -3.0], pa.float32()),
    "rooms": pa.array([1, 2, None, -4, 2**53 + 1], pa.int64()),
    "tiny": pa.array([0, 1, None, 254, 255], pa.uint8()),
    "cents": pa.array([Decimal("0.10"), Decimal("19.99"), None, Decimal("-5.00"), Decimal("20.00")], pa.decimal128(9, 2)),
    "name": ["casa", "Casa", None, "", "çasa\u0301 \U0001f3e0"],
    "open": [True, False, None, True, False],
    "tags": [["pet", "sea"], ["pet"], [], None, ["", None]],
    "sizes": pa.array([[1, 9], [5], [], None, [None]], pa.list_(pa.int32())),
    "when": pa.array([NOON, NOON + dt.timedelta(microseconds=1), None, NOON - dt.timedelta(days=1), NOON], pa.timestamp("us", "UTC")),
    "local": pa.array([v and v.replace(tzinfo=None) for v in (NOON, None, None, NOON, NOON)], pa.timestamp("ns")),
    "day": pa.array([NOON.date(), NOON.date() + dt.timedelta(days=1), None, NOON.date(), None], pa.date32()),
    "clock": pa.array([dt.time(9), dt.time(18, 30), None, dt.time(0), dt.time(9, 0, 1)], pa.time32("s")),
    "home": [{"city": "Maó", "a.b": 1}, {"city": "Ciutadella", "a.b": 2}, None, {"city": None, "a.b": None}, {"city": "Maó", "a.b": 3}],
    "rated": [[{"by": "x", "stars": [5, 1]}, {"by": "y", "stars": []}], [{"by": "y", "stars": [3]}], [], None, [None]],
    "with.dot": [1, 2, 3, 4, 5],
    "lat": [39.89, 40.0, None, -39.89, 90.0],
    "lon": [4.26, 3.84, 4.0, -175.74, 0.0],
    "raw": pa.array([b"\xff", b"", None, b"x", b"y"], pa.binary()),
    "nothing": pa.nulls(5),
}  # fmt: skip


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Index:
    """Return an index of five documents with columns of many types."""
    data = tmp_path_factory.mktemp("filters")
    (data / "models").symlink_to(tiny_data / "models")
    corpus = data / "corpus.parquet"
    pq.write_table(pa.table({"id": IDS, "text": ["The cat sits.", "The dog runs.", "Snow.", "Rain.", "A ship."]} | COLUMNS), corpus)  # fmt: skip
    manifest = build(str(corpus), BuildSettings(language="en"), data, cores=1).manifest
    return Index.open(Store("index", data).path(manifest.id), cores=1)


def find_passing(index: Index, tree: dict[str, Any]) -> str:
    """Return the ids of the documents that pass, one letter each."""
    return "".join(IDS[row][0] for row in compile_filter(Filter.model_validate(tree), index).rows)


def condition_on(field: str, **condition: Any) -> dict[str, Any]:
    """Return a filter of one condition."""
    return {"must": [{"field": field, **condition}]}


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (condition_on("price", eq=1.5), "a"),
        (condition_on("price", eq=2), "b"),
        (condition_on("price", gte=1.5), "abe"),
        (condition_on("price", gt=1.5, lt=1e300), "b"),
        (condition_on("price", lte=10**400), "abe"),
        (condition_on("price", lt=-(10**400)), ""),
        (condition_on("price", exists=True), "abe"),
        (condition_on("price", exists=False), "cd"),
        (condition_on("small", eq=0.1), "a"),
        (condition_on("small", gte=0.1), "ab"),
        (condition_on("rooms", eq=2**53 + 1), "e"),
        (condition_on("rooms", eq=2**53), ""),
        (condition_on("rooms", gt=2**53), "e"),
        (condition_on("rooms", eq=1.5), ""),
        (condition_on("rooms", gte=1.5), "be"),
        (condition_on("rooms", gt=0.5, lte=2.0), "ab"),
        (condition_on("rooms", lt=1.5), "ad"),
        (condition_on("rooms", lt=2), "ad"),
        (condition_on("rooms", gte=10**30), ""),
        (condition_on("rooms", lt=10**30), "abde"),
        (condition_on("rooms", **{"in": [1, -4.0, 7, 10**40]}), "ad"),
        (condition_on("rooms", **{"in": []}), ""),
        (condition_on("tiny", gte=-1), "abde"),
        (condition_on("tiny", lt=-1), ""),
        (condition_on("tiny", gt=254.5, lte=1e9), "e"),
        (condition_on("cents", eq=19.99), "b"),
        (condition_on("cents", eq=19.991), ""),
        (condition_on("cents", lt=19.991), "abd"),
        (condition_on("cents", gt=19.99), "e"),
        (condition_on("cents", **{"in": [0.1, 20]}), "ae"),
        (condition_on("cents", lt=1e30), "abde"),
        (condition_on("name", eq="Casa"), "b"),
        (condition_on("name", prefix="cas"), "a"),
        (condition_on("name", prefix="ça"), "e"),
        (condition_on("name", prefix=""), "abde"),
        (condition_on("name", gte="c"), "ae"),
        (condition_on("name", lt="c"), "bd"),
        (condition_on("name", **{"in": ["casa", "", "none"]}), "ad"),
        (condition_on("name", exists=False), "c"),
        (condition_on("open", eq=True), "ad"),
        (condition_on("open", eq=False), "be"),
        (condition_on("open", **{"in": [True, False]}), "abde"),
        (condition_on("tags", eq="pet"), "ab"),
        (condition_on("tags", **{"in": ["sea", ""]}), "ae"),
        (condition_on("tags", prefix="se"), "a"),
        (condition_on("tags", exists=True), "abe"),
        (condition_on("tags", exists=False), "cd"),
        (condition_on("sizes", gt=1, lt=9), "b"),
        (condition_on("sizes", gte=1, lte=1), "a"),
        (condition_on("sizes", exists=False), "cde"),
        (condition_on("when", eq="2026-03-01T12:00:00Z"), "ae"),
        (condition_on("when", eq="2026-03-01T14:00:00+02:00"), "ae"),
        (condition_on("when", gt="2026-03-01 12:00"), "b"),
        (condition_on("when", lte="2026-03-01T12:00:00.0000005"), "ade"),
        (condition_on("when", lt="2026-03-01"), "d"),
        (condition_on("when", **{"in": ["2026-02-28T12:00", "2026-03-01T12:00:00.000001"]}), "bd"),
        (condition_on("when", gte="0001-01-01"), "abde"),
        (condition_on("local", eq="2026-03-01T12:00:00Z"), "ade"),
        (condition_on("local", gte="9999-01-01"), ""),
        (condition_on("day", eq="2026-03-01"), "ad"),
        (condition_on("day", gt="2026-03-01T12:00"), "b"),
        (condition_on("day", lt="2026-03-01T12:00"), "ad"),
        (condition_on("clock", gte="09:00", lt="18:30"), "ae"),
        (condition_on("clock", eq="09:00:01"), "e"),
        (condition_on("home.city", eq="Maó"), "ae"),
        (condition_on("home.city", exists=False), "cd"),
        (condition_on("home.a.b", gte=2), "be"),
        (condition_on("home", exists=True), "abde"),
        (condition_on("rated.by", eq="y"), "ab"),
        (condition_on("rated.stars", lte=1), "a"),
        (condition_on("rated.by", exists=False), "cde"),
        (condition_on("with.dot", gt=3), "de"),
        (condition_on("id", eq="dé"), "d"),
        (condition_on("id", **{"in": ["a", "e", "z"]}), "ae"),
        (condition_on("id", prefix="d"), "d"),
        (condition_on("raw", exists=True), "abde"),
        (condition_on("nothing", eq=1), ""),
        (condition_on("nothing", gte="x"), ""),
        (condition_on("nothing", prefix="x"), ""),
        (condition_on("nothing", exists=False), "abcde"),
    ],
)  # fmt: skip
def test_conditions(index: Index, condition: dict[str, Any], expected: str) -> None:
    """A condition is true of the expected documents, and false of missing values."""
    assert find_passing(index, condition) == expected


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        ({}, "abcde"),
        ({"must": [], "should": [], "must_not": []}, "abcde"),
        ({"should": [{"field": "rooms", "eq": 1}, {"field": "name", "eq": "Casa"}]}, "ab"),
        ({"must_not": [{"field": "rooms", "gt": 0}]}, "cd"),
        ({"must_not": [{"field": "rooms", "gt": 0}, {"field": "tags", "exists": False}]}, ""),
        ({"must": [{"field": "rooms", "gt": 0}, {"field": "open", "eq": False}]}, "be"),
        ({"must": [{}], "must_not": [{"must_not": [{"field": "open", "eq": True}]}]}, "ad"),
        ({"should": [{"must": [{"field": "open", "eq": True}]}, {"field": "id", "eq": "e"}], "must": [{"field": "rooms", "gt": 0}]}, "ae"),
    ],
)  # fmt: skip
def test_trees(index: Index, tree: dict[str, Any], expected: str) -> None:
    """All of `must`, at least one of `should` where there are any, none of `must_not`; trees nest; an empty one lets all pass."""
    assert find_passing(index, tree) == expected


@pytest.mark.parametrize(
    ("lat", "lon", "km", "expected"),
    [
        (39.89, 4.26, 1, "a"),
        (39.89, 4.26, 37.8, "a"),
        (39.89, 4.26, 37.9, "ab"),  # 37.849 km by the haversine formula on a sphere of 6371.0088 km
        (-39.9, 184.25 - 360, 10, "d"),
        (39.89, 4.26, 20_038, "abde"),
        (90, 77, 1, "e"),
    ],
)  # fmt: skip
def test_within_a_circle(index: Index, lat: float, lon: float, km: float, expected: str) -> None:
    """Places within a radius pass, across the date line and at a pole; a place without latitude never does."""
    condition = {"latitude": "lat", "longitude": "lon", "within": {"lat": lat, "lon": lon, "km": km}}
    assert find_passing(index, {"must": [condition]}) == expected


@pytest.mark.parametrize(
    ("condition", "error", "words"),
    [
        (condition_on("prise", eq=1), UnknownField, ["'prise'", "price (double)", "id (string)", "home.city (string)"]),
        (condition_on("home.town", eq=1), UnknownField, ["'home.town'"]),
        (condition_on("price.x", eq=1), UnknownField, ["'price.x'"]),
        (condition_on("price", eq="1.5"), WrongType, ["double", "a number, not with '1.5'", "rooms (int64)"]),
        (condition_on("price", eq=True), WrongType, ["not with True"]),
        (condition_on("name", gte=1), WrongType, ["a text, not with 1"]),
        (condition_on("open", eq=1), WrongType, ["true or false"]),
        (condition_on("open", gte="x"), WrongType, ["true or false"]),
        (condition_on("tags", **{"in": ["x", 3]}), WrongType, ["not with 3"]),
        (condition_on("when", gte="March"), WrongType, ["2026-11-21", "not with 'March'"]),
        (condition_on("when", gte="18:30"), WrongType, ["not with '18:30'"]),
        (condition_on("day", eq="2026-02-30"), WrongType, ["not with '2026-02-30'"]),
        (condition_on("clock", eq="2026-03-01"), WrongType, ["time of day"]),
        (condition_on("rooms", prefix="1"), WrongType, ["only texts have a prefix"]),
        (condition_on("home", eq="x"), WrongType, ["name one of its fields"]),
        (condition_on("raw", eq="x"), WrongType, ["binary", "only condition is `exists`"]),
        ({"must": [{"latitude": "name", "longitude": "lon", "within": {"lat": 0, "lon": 0, "km": 1}}]}, WrongType, ["'name'", "column of numbers"]),
        ({"must": [{"latitude": "lat", "longitude": "sizes", "within": {"lat": 0, "lon": 0, "km": 1}}]}, WrongType, ["'sizes'"]),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_index(
    index: Index, condition: dict[str, Any], error: type[FilterError], words: list[str]
) -> None:
    """An unknown field, or a value that the field cannot be compared with, is refused; the error says what would fit."""
    with pytest.raises(error) as raised:
        find_passing(index, condition)
    assert [word for word in words if word not in str(raised.value)] == []


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({"field": "price", "eq": 1}, "a condition stands in a list"),
        ({"all": []}, "Extra inputs"),
        ({"must": [{"field": "price"}]}, "tree of must, should and must_not, or a condition"),
        (condition_on("price", eq=None), "for missing values ask `exists`"),
        (condition_on("price", eq=math.nan), "finite number"),
        (condition_on("price", eq=1, gte=2), "Extra inputs"),
        (condition_on("price", gte=None), "at least one of gte, gt, lte and lt"),
        (condition_on("price", gte=True), "a number or a text"),
        (condition_on("name", prefix=1), "valid string"),
        (condition_on("name", prefix="x" * 1001), "at most 1000 characters"),
        (condition_on("rooms", **{"in": [1] * 1001}), "at most 1000 items"),
        ({"must": [{"field": "rooms", "eq": 1}] * MAX_NODES}, f"at most {MAX_NODES} conditions"),
        ({"must": [{"latitude": "lat", "longitude": "lon", "within": {"lat": 91, "lon": 0, "km": 1}}]}, "equal to 90"),
    ],
)
def test_invalid_filters(tree: dict[str, Any], words: str) -> None:
    """An invalid tree is refused without an index, with a helpful message."""
    with pytest.raises(ValidationError, match=words):
        Filter.model_validate(tree)


def nest(depth: int) -> dict[str, Any]:
    """Return trees that are nested this deep."""
    tree: dict[str, Any] = {}
    for _ in range(depth):
        tree = {"must": [tree]}
    return tree


def test_the_depth_of_a_tree_is_bounded(index: Index) -> None:
    """The maximum number of nested trees is compiled; more are refused, however many."""
    assert find_passing(index, nest(MAX_DEPTH - 1)) == "abcde"
    with pytest.raises(ValidationError, match=f"at most {MAX_DEPTH} trees"):
        Filter.model_validate(nest(MAX_DEPTH))
    with pytest.raises(ValidationError):
        Filter.model_validate(nest(5000))


def test_masks_are_cached_for_each_index(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same filter is compiled once; for a copy of the index it is compiled again."""
    compiled: list[Index] = []
    allowed: Callable[..., Any] = Index.allowed
    monkeypatch.setattr(Index, "allowed", lambda self, mask: compiled.append(self) or allowed(self, mask))
    tree = Filter.model_validate(condition_on("price", gte=0.125))
    first = compile_filter(tree, index)
    assert compile_filter(Filter.model_validate(condition_on("price", gte=0.125)), index) is first
    copied = index.with_encoder(index.encoder, index.dense)
    assert np.array_equal(compile_filter(tree, copied).mask, first.mask)
    assert compiled == [index, copied]


def test_document_masks(index: Index) -> None:
    """A document mask has rows, passages and bits, cannot be changed, and `&` gives the intersection."""
    first = compile_filter(Filter.model_validate(condition_on("rooms", gt=0)), index)
    second = compile_filter(Filter.model_validate(condition_on("open", eq=False)), index)
    both = first & second
    assert (both.count, both.rows.tolist()) == (2, [1, 4])
    assert np.array_equal(both.passages, np.flatnonzero(np.isin(index.document_of, [1, 4])))
    assert both.passage_count == len(both.passages)
    bits = np.unpackbits(both.passage_bits, bitorder="little")
    assert np.array_equal(np.flatnonzero(bits), both.passages)
    with pytest.raises(ValueError, match="read-only"):
        both.mask[0] = True


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("-0044-03-15", pa.date32()),
        ("0000-02-29", pa.date32()),
        ("29349-01-26", pa.date32()),
        ("-0249-10-15 19:33:20.000001Z", pa.timestamp("us", "UTC")),
        ("11476-08-15 06:20:00+0100", pa.timestamp("s", "UTC")),
    ],
)
def test_years_beyond_those_of_python(text: str, kind: pa.DataType) -> None:
    """Dates are accepted as an index gives them out, and stand for the same day."""
    scalar = to_scalar(text, kind)
    assert scalar is not None
    again = to_scalar(scalar.cast(pa.string()).as_py(), kind)
    assert again == scalar
    if pa.types.is_date(kind):
        assert scalar.cast(pa.string()).as_py() == text


@pytest.mark.parametrize("text", ["32001-01-01", "-99999-01-01", "0001-02-29", "-004-01-01"])
def test_years_that_are_none(text: str) -> None:
    """A year that no answer could hold, and a day that is none, are no dates."""
    assert nanoseconds(text, "moment") is None
