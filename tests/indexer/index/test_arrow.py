"""Arrow values as Python objects: those that Python has no object for, or would round."""

from __future__ import annotations

from bisect import bisect_left
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest

from indexer.index.arrow import FENCE, ArrowTable, SortedStrings, cell_reader, to_python

BERLIN = pa.timestamp("us", "Europe/Berlin")
SECOND = 10**6


@pytest.mark.parametrize(
    ("number", "kind", "expected"),
    [
        (-4 * 10**9 * SECOND, BERLIN, datetime(1843, 3, 31, 16, 53, 20, tzinfo=UTC)),
        (-70 * 10**9 * SECOND, BERLIN, "-0249-10-15 19:33:20.000000Z"),
        (300 * 10**9 * SECOND + 1, BERLIN, "11476-08-15 05:20:00.000001Z"),
        (-62_135_596_800 * SECOND, BERLIN, datetime(1, 1, 1, tzinfo=UTC)),
        (-4 * 10**18 + 1, pa.timestamp("ns", "Europe/Berlin"), "1843-03-31 16:53:20.000000001Z"),
        (10**18 + 1, pa.timestamp("ns", "+05:30"), "2001-09-09 07:16:40.000000001+0530"),
    ],
)
def test_moments_keep_their_instant(number: int, kind: pa.DataType, expected: Any) -> None:
    """ISO 8601 has offsets in whole minutes: a moment with seconds in its offset is given out in UTC."""
    value = to_python(pa.array([number], pa.int64()).view(kind)[0])
    assert value == expected
    if isinstance(value, datetime):
        assert (value.utcoffset() or UTC.utcoffset(None)).seconds % 60 == 0


def test_maps_of_nothing() -> None:
    """A map whose values have no type is read: Arrow's conversion of it ended the process."""
    keys = pa.array([1, 2, 3, 4], pa.int32()).view(pa.date32())
    column = pa.MapArray.from_arrays(pa.array([0, 2, 4], pa.int32()), keys, pa.nulls(4))
    assert [len(to_python(value)) for value in column] == [2, 2]
    assert {item for value in column for _, item in to_python(value)} == {None}


COLUMNS = [
    pa.array(["a", "", "é", "last"]),
    pa.array(["a", None, "é", "last"], pa.large_string()),
    pa.array([1, -(2**63), 2**63 - 1, 0]),
    pa.array([1, None, 3, 4], pa.uint8()),
    pa.array([0.1, 1e30, float("inf"), -0.0], pa.float32()),
    pa.array([True, None, False, True]),
    pa.array([{"n": 1, "s": "x", "in": {"b": b"y"}}, {"n": None, "s": None, "in": None}] * 2),
    pa.array([{"n": 1}, None, {"n": 3}, {"n": 4}]),
    pa.array(["a", None, "a", "b"]).dictionary_encode(),
    pa.array([[1, 2], None, [], [3]]),
    pa.array([datetime(2026, 1, 2, tzinfo=UTC)] * 4, BERLIN),
]


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: str(column.type))
def test_cells_are_read_as_arrow_has_them(column: pa.Array) -> None:
    """What is read past Arrow's own objects is what they give, also in a part of a column."""
    for part in (column, column[1:], column[2:3]):
        read = cell_reader(part)
        values = [read(row) for row in range(len(part))]
        assert values == [to_python(value) for value in part]
        assert [type(value) for value in values] == [type(to_python(value)) for value in part]


@pytest.mark.parametrize("count", [0, 1, FENCE - 1, FENCE, FENCE + 1, 5 * FENCE])
def test_strings_are_found_by_halving(count: int) -> None:
    """Each string is found at its row, and what is not there where it would be, however the rows lie in batches."""
    texts = sorted(f"{7 * number:05}é" for number in range(count))
    batches = [pa.record_batch({"id": pa.array(part)}) for part in (texts[: count // 3], texts[count // 3 :])]
    strings = SortedStrings(ArrowTable(batches[0].schema, batches), "id")
    for text in [*texts, "", "00003", "00007", "zz", *(f"{text}x" for text in texts[:70])]:
        assert strings.find(text.encode()) == bisect_left([each.encode() for each in texts], text.encode())
