"""Arrow types of a query's columns, inferred from Python values."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pyarrow as pa
import pytest

from indexer.corpus.sql.types import infer_type, merge_types, storage_type, to_array

INSTANT = datetime(2026, 5, 4, 3, 2, 1, 999_999)  # noqa: DTZ001 - a timestamp without time zone
UNIQUE = UUID("12345678-1234-5678-1234-567812345678")


@pytest.mark.parametrize(
    ("values", "kind", "stored"),
    [
        ([None, None], pa.string(), [None, None]),
        (["a", None], pa.string(), ["a", None]),
        ([True, None], pa.bool_(), [True, None]),
        ([1, -(2**63)], pa.int64(), [1, -(2**63)]),
        ([1, 2**63], pa.string(), ["1", "9223372036854775808"]),
        ([1, 0.5], pa.float64(), [1.0, 0.5]),
        ([True, 1], pa.string(), ["true", "1"]),
        ([Decimal("1.50"), Decimal(2)], pa.decimal128(38, 2), [Decimal("1.50"), Decimal("2.00")]),
        ([Decimal("1E+3")], pa.decimal128(38, 0), [Decimal(1000)]),
        ([Decimal("0.1"), 1], pa.float64(), [0.1, 1.0]),
        ([Decimal("Infinity"), Decimal("0.5")], pa.float64(), [float("inf"), 0.5]),
        ([Decimal("1E+30")], pa.string(), ["1E+30"]),
        ([Decimal("1E-21")], pa.string(), ["1E-21"]),
        ([date(2026, 5, 4)], pa.date32(), [date(2026, 5, 4)]),
        ([INSTANT], pa.timestamp("us"), [INSTANT]),
        (
            [INSTANT.replace(tzinfo=timezone(timedelta(hours=2)))],
            pa.timestamp("us", "UTC"),
            [INSTANT.replace(hour=1, tzinfo=UTC)],
        ),
        (
            [INSTANT, INSTANT.replace(tzinfo=UTC)],
            pa.string(),
            ["2026-05-04 03:02:01.999999", "2026-05-04 03:02:01.999999+00:00"],
        ),
        ([time(3, 2)], pa.time64("us"), [time(3, 2)]),
        ([time(3, 2, tzinfo=UTC)], pa.string(), ["03:02:00+00:00"]),
        ([timedelta(days=1)], pa.string(), ["1 day, 0:00:00"]),
        ([b"\x00\xff", memoryview(b"a")], pa.binary(), [b"\x00\xff", b"a"]),
        ([2**60, 0.5], pa.float64(), [2.0**60, 0.5]),
        ([2**60 + 1, 0.5], pa.string(), [str(2**60 + 1), "0.5"]),
        ([2**60 + 1, 1], pa.int64(), [2**60 + 1, 1]),
        ([[1], [2**60 + 1]], pa.list_(pa.int64()), [[1], [2**60 + 1]]),
        ([Decimal("0.25"), 0.5], pa.float64(), [0.25, 0.5]),
        ([Decimal("0.25"), Decimal("Infinity")], pa.float64(), [0.25, math.inf]),
        ([Decimal("12345678901234567.89"), 0.5], pa.string(), ["12345678901234567.89", "0.5"]),
        ([Decimal("12345678901234567.89"), Decimal("NaN")], pa.string(), ["12345678901234567.89", "NaN"]),
        ([b"\xc3\xa9", "a"], pa.string(), ["é", "a"]),
        ([UNIQUE], pa.string(), ["12345678-1234-5678-1234-567812345678"]),
        ([{"ä": [1, None]}], pa.string(), ['{"ä": [1, null]}']),
        ([{"a": 1}, [1]], pa.string(), ['{"a": 1}', "[1]"]),
        ([["a", None], [], None], pa.list_(pa.string()), [["a", None], [], None]),
        ([[1], [0.5, None]], pa.list_(pa.float64()), [[1.0], [0.5, None]]),
        ([[UNIQUE]], pa.list_(pa.string()), [["12345678-1234-5678-1234-567812345678"]]),
        ([[[1]], [["a"]]], pa.list_(pa.list_(pa.string())), [[["1"]], [["a"]]]),
        ([[], [None]], pa.list_(pa.string()), [[], [None]]),
    ],
)
def test_values(values: list[Any], kind: pa.DataType, stored: list[Any]) -> None:
    """A column gets the narrowest type without loss; values without an Arrow type become text."""
    assert storage_type(infer_type(values)) == kind
    assert to_array(values, kind).to_pylist() == stored


@pytest.mark.parametrize(
    "values",
    [
        [None, 1, 0.5, "a"],
        [1, 0.5, 2**60 + 1, None],
        [1, 2**60 + 1],
        [Decimal("NaN"), Decimal("12345678901234567.89"), Decimal("0.1")],
        [Decimal("1.5"), Decimal("2.25"), 1],
        [[], [1], [None, "a"], {"a": 1}],
        [b"a", None],
    ],
)
def test_order_does_not_matter(values: list[Any]) -> None:
    """The type does not depend on which rows come first, nor on how they are cut into batches."""
    expected = infer_type(values)
    for turn in range(len(values)):
        merged = pa.null()
        for value in values[turn:] + values[:turn]:
            merged = merge_types(merged, infer_type([value]))
        assert merged == expected
