"""Filters: each condition says of every document what it means, whatever the type of the column."""

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
    made = build(str(corpus), BuildSettings(language="en"), data, cores=1).manifest
    return Index.open(Store("index", data).path(made.id), cores=1)


def passing(index: Index, tree: dict[str, Any]) -> str:
    """Return the ids of the documents that pass, one letter each."""
    return "".join(IDS[row][0] for row in compile_filter(Filter.model_validate(tree), index).rows)


def on(field: str, **condition: Any) -> dict[str, Any]:
    """Return a filter of one condition."""
    return {"must": [{"field": field, **condition}]}


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (on("price", eq=1.5), "a"),
        (on("price", eq=2), "b"),
        (on("price", gte=1.5), "abe"),
        (on("price", gt=1.5, lt=1e300), "b"),
        (on("price", lte=10**400), "abe"),
        (on("price", lt=-(10**400)), ""),
        (on("price", exists=True), "abe"),
        (on("price", exists=False), "cd"),
        (on("small", eq=0.1), "a"),
        (on("small", gte=0.1), "ab"),
        (on("rooms", eq=2**53 + 1), "e"),
        (on("rooms", eq=2**53), ""),
        (on("rooms", gt=2**53), "e"),
        (on("rooms", eq=1.5), ""),
        (on("rooms", gte=1.5), "be"),
        (on("rooms", gt=0.5, lte=2.0), "ab"),
        (on("rooms", lt=1.5), "ad"),
        (on("rooms", lt=2), "ad"),
        (on("rooms", gte=10**30), ""),
        (on("rooms", lt=10**30), "abde"),
        (on("rooms", **{"in": [1, -4.0, 7, 10**40]}), "ad"),
        (on("rooms", **{"in": []}), ""),
        (on("tiny", gte=-1), "abde"),
        (on("tiny", lt=-1), ""),
        (on("tiny", gt=254.5, lte=1e9), "e"),
        (on("cents", eq=19.99), "b"),
        (on("cents", eq=19.991), ""),
        (on("cents", lt=19.991), "abd"),
        (on("cents", gt=19.99), "e"),
        (on("cents", **{"in": [0.1, 20]}), "ae"),
        (on("cents", lt=1e30), "abde"),
        (on("name", eq="Casa"), "b"),
        (on("name", prefix="cas"), "a"),
        (on("name", prefix="ça"), "e"),
        (on("name", prefix=""), "abde"),
        (on("name", gte="c"), "ae"),
        (on("name", lt="c"), "bd"),
        (on("name", **{"in": ["casa", "", "none"]}), "ad"),
        (on("name", exists=False), "c"),
        (on("open", eq=True), "ad"),
        (on("open", eq=False), "be"),
        (on("open", **{"in": [True, False]}), "abde"),
        (on("tags", eq="pet"), "ab"),
        (on("tags", **{"in": ["sea", ""]}), "ae"),
        (on("tags", prefix="se"), "a"),
        (on("tags", exists=True), "abe"),
        (on("tags", exists=False), "cd"),
        (on("sizes", gt=1, lt=9), "b"),
        (on("sizes", gte=1, lte=1), "a"),
        (on("sizes", exists=False), "cde"),
        (on("when", eq="2026-03-01T12:00:00Z"), "ae"),
        (on("when", eq="2026-03-01T14:00:00+02:00"), "ae"),
        (on("when", gt="2026-03-01 12:00"), "b"),
        (on("when", lte="2026-03-01T12:00:00.0000005"), "ade"),
        (on("when", lt="2026-03-01"), "d"),
        (on("when", **{"in": ["2026-02-28T12:00", "2026-03-01T12:00:00.000001"]}), "bd"),
        (on("when", gte="0001-01-01"), "abde"),
        (on("local", eq="2026-03-01T12:00:00Z"), "ade"),
        (on("local", gte="9999-01-01"), ""),
        (on("day", eq="2026-03-01"), "ad"),
        (on("day", gt="2026-03-01T12:00"), "b"),
        (on("day", lt="2026-03-01T12:00"), "ad"),
        (on("clock", gte="09:00", lt="18:30"), "ae"),
        (on("clock", eq="09:00:01"), "e"),
        (on("home.city", eq="Maó"), "ae"),
        (on("home.city", exists=False), "cd"),
        (on("home.a.b", gte=2), "be"),
        (on("home", exists=True), "abde"),
        (on("rated.by", eq="y"), "ab"),
        (on("rated.stars", lte=1), "a"),
        (on("rated.by", exists=False), "cde"),
        (on("with.dot", gt=3), "de"),
        (on("id", eq="dé"), "d"),
        (on("id", **{"in": ["a", "e", "z"]}), "ae"),
        (on("id", prefix="d"), "d"),
        (on("raw", exists=True), "abde"),
        (on("nothing", eq=1), ""),
        (on("nothing", gte="x"), ""),
        (on("nothing", prefix="x"), ""),
        (on("nothing", exists=False), "abcde"),
    ],
)  # fmt: skip
def test_conditions(index: Index, condition: dict[str, Any], expected: str) -> None:
    """A condition is true of the documents that it should be true of, and false of missing values."""
    assert passing(index, condition) == expected


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
    assert passing(index, tree) == expected


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
    """Places within a radius are found, across the date line and at a pole, and a place without latitude is nowhere."""
    condition = {"latitude": "lat", "longitude": "lon", "within": {"lat": lat, "lon": lon, "km": km}}
    assert passing(index, {"must": [condition]}) == expected


@pytest.mark.parametrize(
    ("condition", "error", "words"),
    [
        (on("prise", eq=1), UnknownField, ["'prise'", "price (double)", "id (string)", "home.city (string)"]),
        (on("home.town", eq=1), UnknownField, ["'home.town'"]),
        (on("price.x", eq=1), UnknownField, ["'price.x'"]),
        (on("price", eq="1.5"), WrongType, ["double", "a number, not with '1.5'", "rooms (int64)"]),
        (on("price", eq=True), WrongType, ["not with True"]),
        (on("name", gte=1), WrongType, ["a text, not with 1"]),
        (on("open", eq=1), WrongType, ["true or false"]),
        (on("open", gte="x"), WrongType, ["true or false"]),
        (on("tags", **{"in": ["x", 3]}), WrongType, ["not with 3"]),
        (on("when", gte="March"), WrongType, ["2026-11-21", "not with 'March'"]),
        (on("when", gte="18:30"), WrongType, ["not with '18:30'"]),
        (on("day", eq="2026-02-30"), WrongType, ["not with '2026-02-30'"]),
        (on("clock", eq="2026-03-01"), WrongType, ["time of day"]),
        (on("rooms", prefix="1"), WrongType, ["only texts have a prefix"]),
        (on("home", eq="x"), WrongType, ["ask for one of its fields"]),
        (on("raw", eq="x"), WrongType, ["binary", "whether it exists"]),
        ({"must": [{"latitude": "name", "longitude": "lon", "within": {"lat": 0, "lon": 0, "km": 1}}]}, WrongType, ["'name'", "column of numbers"]),
        ({"must": [{"latitude": "lat", "longitude": "sizes", "within": {"lat": 0, "lon": 0, "km": 1}}]}, WrongType, ["'sizes'"]),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_index(
    index: Index, condition: dict[str, Any], error: type[FilterError], words: list[str]
) -> None:
    """A field that is not there, or a value that it cannot be compared with, is refused with what would fit."""
    with pytest.raises(error) as raised:
        passing(index, condition)
    assert [word for word in words if word not in str(raised.value)] == []


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({"field": "price", "eq": 1}, "a condition stands in a list"),
        ({"all": []}, "Extra inputs"),
        ({"must": [{"field": "price"}]}, "tree of must, should and must_not, or a condition"),
        (on("price", eq=None), "for missing values ask `exists`"),
        (on("price", eq=math.nan), "finite number"),
        (on("price", eq=1, gte=2), "Extra inputs"),
        (on("price", gte=None), "at least one of gte, gt, lte and lt"),
        (on("price", gte=True), "a number or a text"),
        (on("name", prefix=1), "valid string"),
        (on("name", prefix="x" * 1001), "at most 1000 characters"),
        (on("rooms", **{"in": [1] * 1001}), "at most 1000 items"),
        ({"must": [{"field": "rooms", "eq": 1}] * MAX_NODES}, f"at most {MAX_NODES} conditions"),
        ({"must": [{"latitude": "lat", "longitude": "lon", "within": {"lat": 91, "lon": 0, "km": 1}}]}, "equal to 90"),
    ],
)
def test_what_is_no_filter(tree: dict[str, Any], words: str) -> None:
    """A tree that is none is refused before any index is asked, with words that help."""
    with pytest.raises(ValidationError, match=words):
        Filter.model_validate(tree)


def nested(depth: int) -> dict[str, Any]:
    """Return a tree of trees."""
    tree: dict[str, Any] = {}
    for _ in range(depth):
        tree = {"must": [tree]}
    return tree


def test_the_depth_of_a_tree_is_bounded(index: Index) -> None:
    """As many nested trees as there may be are compiled; more are refused, however many."""
    assert passing(index, nested(MAX_DEPTH - 1)) == "abcde"
    with pytest.raises(ValidationError, match=f"at most {MAX_DEPTH} trees"):
        Filter.model_validate(nested(MAX_DEPTH))
    with pytest.raises(ValidationError):
        Filter.model_validate(nested(5000))


def test_masks_are_remembered_for_their_index_alone(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same filter is compiled once; a copy of the index compiles it for itself."""
    compiled: list[Index] = []
    whole: Callable[..., Any] = Index.allowed
    monkeypatch.setattr(Index, "allowed", lambda self, mask: compiled.append(self) or whole(self, mask))
    tree = Filter.model_validate(on("price", gte=0.125))
    first = compile_filter(tree, index)
    assert compile_filter(Filter.model_validate(on("price", gte=0.125)), index) is first
    copied = index.with_encoder(index.encoder, index.dense)
    assert np.array_equal(compile_filter(tree, copied).mask, first.mask)
    assert compiled == [index, copied]


def test_what_is_allowed(index: Index) -> None:
    """A set of documents knows its rows and passages, cannot be changed, and is cut with another by `&`."""
    first = compile_filter(Filter.model_validate(on("rooms", gt=0)), index)
    second = compile_filter(Filter.model_validate(on("open", eq=False)), index)
    both = first & second
    assert (both.count, both.rows.tolist()) == (2, [1, 4])
    assert np.array_equal(both.passages, np.flatnonzero(np.isin(index.document_of, [1, 4])))
    assert both.passage_count == len(both.passages)
    bits = np.unpackbits(both.passage_bits, bitorder="little")
    assert np.array_equal(np.flatnonzero(bits), both.passages)
    with pytest.raises(ValueError, match="read-only"):
        both.mask[0] = True
