"""Arrow values as Python objects: those that Python has no object for, or would round."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest

from indexer.index.arrow import to_python

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
