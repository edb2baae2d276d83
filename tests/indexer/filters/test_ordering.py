"""Ordering: every kind of column sorts as Python sorts its values, missing ones last, and only as far as it is asked."""

from __future__ import annotations

import math
import random
import shutil
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from indexer.artifacts.store import Store
from indexer.build.build import build
from indexer.build.settings import BuildSettings
from indexer.filters.evaluate import compile_filter, restrict
from indexer.filters.fields import UnknownField, WrongType
from indexer.filters.filter import Filter
from indexer.filters.grouping import first_of_groups
from indexer.filters.ordering import check_sort, first_positions, passing, rows_of, sorted_positions
from indexer.filters.sort import Point, SortByDistance, SortByField, parse_sort
from indexer.index.index import Index
from indexer.live.prepare import NewDocument, Preparer, apply_writes
from indexer.live.write import Write

COUNT = 120


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Index:
    """An index with a column of each kind, a fifth of whose values are missing."""
    data = tmp_path_factory.mktemp("ordering") / "data"
    shutil.copytree(tiny_data, data)
    rng = random.Random(7)

    def some(make: Any) -> list[Any]:
        return [None if rng.random() < 0.2 else make() for _ in range(COUNT)]

    columns = {
        "id": [f"doc-{number * 37 % COUNT:03}" for number in range(COUNT)],
        "text": ["The cat sits in the garden."] * COUNT,
        "price": [math.nan if rng.random() < 0.1 else value for value in some(lambda: rng.choice([-1.5, 0, 2.25, 9]))],
        "cost": pa.array(some(lambda: Decimal(rng.randint(-300, 300)) / 100), pa.decimal128(7, 2)),
        "rooms": some(lambda: rng.randint(-3, 3)),
        "name": some(lambda: rng.choice(["Zoë", "zebra", "apple", "Äpfel", ""])),
        "sold": some(lambda: rng.random() < 0.5),
        "day": some(lambda: date(2026, 1, 1) + timedelta(days=rng.randint(-500, 500))),
        "size": [{"unit": value} for value in some(lambda: rng.choice(["km", "mm"]))],
        "tags": [["a"]] * COUNT,
        "lat": [math.inf, *some(lambda: rng.uniform(39, 41))[1:]],
        "lon": some(lambda: rng.uniform(2, 5)),
        "empty": pa.nulls(COUNT),
    }
    pq.write_table(pa.table(columns), data / "corpus.parquet")
    build(str(data / "corpus.parquet"), BuildSettings(language="en"), data)
    return Index.open(Store("index", data).resolve())


def value_of(index: Index, row: int, field: str) -> Any:
    """The value of a document as Python has it; None for a missing one."""
    document = index.document(row)
    if field == "id":
        return document.id
    value: Any = document.metadata
    for name in field.split("."):
        value = value[name]
    return None if value is None or value != value else value  # noqa: PLR0124 - NaN


def expected(index: Index, rows: list[int], field: str, order: str) -> list[int]:
    """The rows in Python's own order: equal ones as they were, missing ones last."""
    present = [row for row in rows if value_of(index, row, field) is not None]

    def key(row: int) -> Any:
        value = value_of(index, row, field)
        return value.encode() if isinstance(value, str) else value

    ordered = sorted(present, key=key)
    if order == "desc":  # stable in this direction, too
        ordered = sorted(present, key=key, reverse=True)
    return ordered + [row for row in rows if row not in present]


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("field", ["price", "cost", "rooms", "name", "sold", "day", "size.unit", "id", "empty"])
def test_every_kind_of_column_sorts_as_python_does(index, field, order):
    """Numbers, decimals, texts, booleans and dates: ties keep their order, and missing values are last both ways."""
    rows = np.array(random.Random(1).sample(range(COUNT), 90), dtype=np.int64)
    key = SortByField(field=field, order=order)
    check_sort(key, index.columns)
    found = rows[sorted_positions([key], index, rows, len(rows))].tolist()
    assert found == expected(index, rows.tolist(), field, order)
    assert sorted_positions([key], index, None, 17).tolist() == expected(index, list(range(COUNT)), field, order)[:17]


def test_several_keys(index):
    """The second key decides among documents that are equal by the first, and so on; then their own order."""
    sort = [
        SortByField(field="sold", order="desc"),
        SortByField(field="rooms"),
        SortByField(field="name", order="desc"),
    ]
    rows = list(range(COUNT))
    for key in reversed(sort):  # a stable sort by each key, the last one first
        rows = expected(index, rows, key.field, key.order)
    for count in (1, 5, 40, COUNT):
        assert sorted_positions(sort, index, None, count).tolist() == rows[:count]


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_by_distance(index, order):
    """Near ones first, or far ones; without a place last in both directions."""
    point = Point(lat=40, lon=4)
    key = SortByDistance(latitude="lat", longitude="lon", near=point, order=order)
    found = sorted_positions([key], index, None, COUNT).tolist()
    places = [(value_of(index, row, "lat"), value_of(index, row, "lon")) for row in found]
    with_place = [place for place in places if None not in place and math.inf not in place]
    assert places[: len(with_place)] == with_place

    def kilometres(place: tuple[float, float]) -> float:
        (north, east), (south, west) = (tuple(map(math.radians, each)) for each in (place, (40.0, 4.0)))
        cosine = math.sin(north) * math.sin(south) + math.cos(north) * math.cos(south) * math.cos(east - west)
        return math.acos(min(1, cosine)) * 6371.0088

    distances = [kilometres(place) for place in with_place]
    assert distances == pytest.approx(sorted(distances, reverse=order == "desc"), abs=1e-3)


def test_only_the_first_are_sorted_and_they_are_the_first():
    """A page chosen by partition is the beginning of the whole order, with many ties and few."""
    rng = np.random.default_rng(5)
    for spread in (1, 3, 50, 10_000):
        keys = [rng.integers(0, spread, 500).astype(np.uint16), rng.normal(size=500).round(1), rng.integers(0, 2, 500)]
        whole = np.lexsort([np.arange(500), *reversed(keys)])
        for count in (1, 2, 49, 499, 500, 900):
            assert first_positions(keys, count).tolist() == whole[:count].tolist()


def test_live_documents_take_part(index):
    """A document that was written, with a value that no other has, stands where it belongs; a replaced one is gone."""
    new = [
        NewDocument("new", None, "The dog runs.", {"rooms": 100, "name": "mid"}),
        NewDocument("doc-000", None, "The dog runs.", {"rooms": -100}),
    ]
    live = apply_writes(
        index, [Write(1, Preparer(index).recipe, tuple(Preparer(index).prepare(new)), ("doc-001",), "now")]
    )
    key = SortByField(field="rooms")
    allowed = compile_filter(Filter(), live)
    rows = rows_of(allowed, live)
    assert rows is not None
    ids = [live.document(row).id for row in rows[sorted_positions([key], live, rows, len(rows))].tolist()]
    with_rooms = [name for name in ids if (live.document(live.row_of(name) or 0).metadata["rooms"]) is not None]
    assert (ids[0], with_rooms[-1]) == ("doc-000", "new")
    assert len(ids) == len(set(ids)) == COUNT
    by_id = rows[sorted_positions([SortByField(field="id", order="desc")], live, rows, 3)].tolist()
    assert [live.document(row).id for row in by_id] == ["new", "doc-119", "doc-118"]


def test_a_view_sorts_its_own_documents(index):
    """A view of some documents has no others in its order."""
    view = restrict(Filter.model_validate({"must": [{"field": "rooms", "gte": 1}]}), index)
    rows = rows_of(compile_filter(Filter(), view), view)
    assert rows is not None
    found = rows[sorted_positions([SortByField(field="rooms", order="desc")], view, rows, 500)]
    rooms = [value_of(index, row, "rooms") for row in found.tolist()]
    assert rooms == sorted(rooms, reverse=True)
    assert min(rooms) == 1


def test_what_passes_a_filter_among_rows(index):
    """The truth of a filter is given for each of the rows, in their order."""
    condition = Filter.model_validate({"must": [{"field": "sold", "eq": True}]})
    rows = np.array([90, 3, 44, 3, 17], dtype=np.int64)
    assert passing(condition, index, rows).tolist() == [value_of(index, row, "sold") is True for row in rows.tolist()]


def test_groups_keep_their_first_documents(index):
    """Of each value the first documents in the given order are kept, and all without a value."""
    rows = np.array(random.Random(2).sample(range(COUNT), COUNT), dtype=np.int64)
    for size in (1, 3, 100):
        seen: dict[Any, int] = {}
        kept = []
        for row in rows.tolist():
            value = value_of(index, row, "name")
            seen[value] = seen.get(value, 0) + 1
            if value is None or seen[value] <= size:
                kept.append(row)
        assert first_of_groups(rows, "name", size, index).tolist() == kept


@pytest.mark.parametrize(
    ("key", "error", "words"),
    [
        (SortByField(field="prise"), UnknownField, "There is no field 'prise'"),
        (SortByField(field="tags"), WrongType, "which a list is not"),
        (SortByField(field="size"), WrongType, "texts, numbers, dates, times and booleans are sorted"),
        (SortByDistance(latitude="lat", longitude="name", near=Point(lat=0, lon=0)), WrongType, "degrees"),
    ],
)
def test_what_has_no_order_is_refused(index, key, error, words):
    """An unknown field, a list, a struct and a place of texts are refused with the fields that there are."""
    with pytest.raises(error, match=words) as raised:
        check_sort(key, index.columns)
    assert "price (double)" in str(raised.value)


def test_the_flat_form():
    """A query string names fields with commas between; a minus turns one round."""
    keys = [("price", "asc"), ("day", "desc"), ("size.unit", "asc")]
    assert [(key.field, key.order) for key in parse_sort("price, -day,,size.unit,-")] == keys
    assert parse_sort("") == []
