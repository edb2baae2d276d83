"""JSON metadata: what the service returns it also accepts, and what a column cannot hold is refused."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from pydantic_core import to_jsonable_python

from indexer.filters.values import to_scalar
from indexer.live.metadata import fit_metadata

UTC = dt.UTC


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (pa.int8(), -5),
        (pa.float32(), 1.5),
        (pa.bool_(), True),
        (pa.string(), "Maó"),
        (pa.large_string(), ""),
        (pa.dictionary(pa.int32(), pa.string()), "villa"),
        (pa.binary(), b"\x00\xff\xfe?"),
        (pa.date32(), dt.date(2026, 6, 1)),
        (pa.time64("us"), dt.time(12, 30, 5, 7)),
        (pa.timestamp("us"), dt.datetime(2026, 6, 1, 12, 30, 5, 7)),  # noqa: DTZ001 - the column has no zone
        (pa.timestamp("ms", tz="UTC"), dt.datetime(2026, 6, 1, 12, 30, tzinfo=UTC)),
        (pa.decimal128(9, 2), Decimal("12.34")),
        (pa.list_(pa.date32()), [dt.date(2026, 6, 1), None]),
        (pa.struct([("city", pa.string()), ("rooms", pa.int64())]), {"city": "Maó", "rooms": 3}),
        (pa.duration("s"), dt.timedelta(seconds=3)),
        (pa.duration("us"), dt.timedelta(days=-800, hours=5, microseconds=7)),
        (pa.duration("ms"), dt.timedelta(0)),
        (pa.list_(pa.duration("ms")), [dt.timedelta(weeks=70, milliseconds=1), None]),
        (pa.map_(pa.string(), pa.float32()), [("a", 0.5), ("b", None)]),
        (pa.map_(pa.int64(), pa.duration("s")), [(-1, dt.timedelta(days=365))]),
        (pa.list_(pa.float64(), 2), [1.0, None]),
        (pa.float16(), -2.5),
        (pa.month_day_nano_interval(), pa.MonthDayNano([1, -2, 3])),
        (pa.dictionary(pa.int8(), pa.float64()), 0.25),
    ],
    ids=str,
)
def test_what_is_returned_is_accepted(kind: pa.DataType, value: Any) -> None:
    """A value of any type survives the JSON form in which results have it; null is always accepted."""
    sent = json.loads(json.dumps(to_jsonable_python({"column": value, "none": None}, bytes_mode="base64")))
    _, values, errors = fit_metadata(sent, {"column": kind, "none": kind})
    assert errors == {}
    assert pa.array([values["column"], values["none"]], kind).to_pylist() == [value, None]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (pa.int64(), 1.5),
        (pa.int64(), "1"),
        (pa.int64(), True),
        (pa.int8(), 300),
        (pa.int64(), 10**30),
        (pa.float64(), "cheap"),
        (pa.bool_(), 1),
        (pa.string(), 5),
        (pa.string(), ["a"]),
        (pa.string(), "\ud800"),
        (pa.binary(), "no base64!"),
        (pa.binary(), 5),
        (pa.date32(), "June"),
        (pa.date32(), 5),
        (pa.date32(), "2026-06-01T12:00"),
        (pa.time64("us"), 5),
        (pa.time64("us"), "10:00+02:00"),
        (pa.time32("s"), "10:00:00.5"),
        (pa.timestamp("us"), "2026-06-01T10:00+02:00"),
        (pa.timestamp("us", "UTC"), "2026-06-01T10:00"),
        (pa.timestamp("us"), "2026-06-01T10:00:00.1234567"),
        (pa.timestamp("us"), True),
        (pa.decimal128(4, 2), "12345.67"),
        (pa.decimal128(4, 2), True),
        (pa.list_(pa.string()), "abc"),
        (pa.list_(pa.int64()), [1, "two"]),
        (pa.struct([("city", pa.string())]), {"town": "Maó"}),
        (pa.struct([("city", pa.string())]), "Maó"),
        (pa.float32(), 1e300),
        (pa.float32(), -3.5e38),
        (pa.float32(), 1e-60),
        (pa.float16(), 70_000),
        (pa.float64(), float("inf")),
        (pa.float64(), float("nan")),
        (pa.float64(), 2**60 + 1),
        (pa.float64(), True),
        (pa.list_(pa.float32()), [1.0, 1e39]),
        (pa.duration("s"), "PT0.5S"),
        (pa.duration("s"), "P"),
        (pa.duration("s"), "P1DT"),
        (pa.duration("s"), 3),
        (pa.duration("ns"), "P400Y"),
        (pa.list_(pa.int64(), 4), [1, 2]),
        (pa.map_(pa.string(), pa.string()), [[None, "x"]]),
        (pa.map_(pa.string(), pa.time64("us")), [["open", "09:00+01:00"]]),
        (pa.struct([("at", pa.time32("s"))]), {"at": "09:00Z"}),
    ],
    ids=str,
)
def test_values_that_do_not_fit_are_refused(kind: pa.DataType, value: Any) -> None:
    """No value is rounded, split or converted to another type silently; the reason names the column's type."""
    _, values, errors = fit_metadata({"column": value}, {"column": kind})
    assert values == {}
    assert str(kind) in errors["column"]


def test_unknown_columns_are_named() -> None:
    """A column that the index does not have is refused, and its columns are listed."""
    _, values, errors = fit_metadata({"price": 1, "rooms": 2}, {"price": pa.int64()})
    assert list(values) == ["price"]
    assert "price" in errors["rooms"]


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (pa.date32(), "2026-06-01"),
        (pa.date64(), "2026-06-01"),
        (pa.time32("s"), "10:30"),
        (pa.time64("ns"), "10:30:00.123456789"),
        (pa.timestamp("s"), "2026-06-01 10:30:00"),
        (pa.timestamp("ns", "UTC"), "2026-06-01T10:30:00.123456789+02:00"),
    ],
    ids=str,
)
def test_times_are_read_as_filters_read_them(kind: pa.DataType, text: str) -> None:
    """A filter accepts the same text for a time as a document does."""
    _, values, errors = fit_metadata({"column": text}, {"column": kind})
    assert errors == {}
    assert values["column"] == to_scalar(text, kind)
