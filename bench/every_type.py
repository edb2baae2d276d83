"""A small corpus that has every Arrow type of Parquet among its metadata, two tenants, and ids that are hard to quote."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pyarrow as pa

TENANTS = {"north": "lighthouse", "south": "sandstorm"}
"""Tenant → a word that stands in the texts of its documents and nowhere else."""
IDS = [
    "plain",
    "a/b",
    "end/similar",
    "..",
    ".",
    "a/../b",
    "%2F",
    "q?x=1#y",
    " blanks ",
    "line\nend\n",
    "é漢🎈",
    "x" * 500,
]

_DAY = dt.date(2024, 2, 29)
_MOMENT = dt.datetime(2024, 2, 29, 12, 30, 15, 123456)  # noqa: DTZ001 - columns with and without a zone
_SPAN = dt.timedelta(days=-1, seconds=3)


def _scalars() -> dict[str, tuple[pa.DataType, list[Any]]]:
    """Name of a column → its type and some values."""
    columns: dict[str, tuple[pa.DataType, list[Any]]] = {
        "null_": (pa.null(), [None]),
        "bool_": (pa.bool_(), [True, False]),
        "float16_": (pa.float16(), [0.5, float("nan"), float("-inf")]),
        "float32_": (pa.float32(), [0.1, float("inf"), -0.0]),
        "float64_": (pa.float64(), [1e308, float("nan"), 5e-324]),
        "decimal32_": (pa.decimal32(7, 2), [Decimal("12345.67")]),
        "decimal64_": (pa.decimal64(18, 3), [Decimal("-1.001")]),
        "decimal128_": (pa.decimal128(38, 10), [Decimal("1e27")]),
        "decimal256_": (pa.decimal256(70, 0), [Decimal(10**69)]),
        "date32_": (pa.date32(), [_DAY, dt.date(1, 1, 1), dt.date(9999, 12, 31)]),
        "date64_": (pa.date64(), [_DAY]),
        "time32_s": (pa.time32("s"), [dt.time(23, 59, 59)]),
        "time32_ms": (pa.time32("ms"), [dt.time(0, 0, 0, 1000)]),
        "time64_us": (pa.time64("us"), [dt.time(12, 0, 0, 1)]),
        "string_": (pa.string(), ["", "red", "\u202eé漢"]),
        "large_string_": (pa.large_string(), ["blue"]),
        "binary_": (pa.binary(), [b"", b"\xff\x00"]),
        "large_binary_": (pa.large_binary(), [b"abc"]),
        "fixed_binary_": (pa.binary(4), [b"\0\1\2\3"]),
        "category_": (pa.dictionary(pa.int32(), pa.string()), ["low", "high"]),
    }
    for bits in (8, 16, 32, 64):
        columns[f"int{bits}_"] = (getattr(pa, f"int{bits}")(), [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1, 0])
        columns[f"uint{bits}_"] = (getattr(pa, f"uint{bits}")(), [0, 2**bits - 1])
    for unit in ("s", "ms", "us", "ns"):
        columns[f"timestamp_{unit}"] = (pa.timestamp(unit), [_MOMENT.replace(microsecond=0)])
        columns[f"zoned_{unit}"] = (pa.timestamp(unit, "Europe/Paris"), [_MOMENT.replace(microsecond=0, tzinfo=dt.UTC)])
        columns[f"duration_{unit}"] = (pa.duration(unit), [_SPAN])
    return columns


def _nested() -> dict[str, tuple[pa.DataType, list[Any]]]:
    member = pa.struct([("name", pa.string()), ("at", pa.timestamp("us", "UTC")), ("tags", pa.list_(pa.string()))])
    value = {"name": None, "at": _MOMENT.replace(tzinfo=dt.UTC), "tags": ["x", None]}
    return {
        "list_": (pa.list_(pa.string()), [["red", "blue"], [], [None]]),
        "large_list_": (pa.large_list(pa.int64()), [[1, 2, 2]]),
        "fixed_list_": (pa.list_(pa.float32(), 2), [[0.5, -1.0]]),
        "dates_": (pa.list_(pa.date32()), [[_DAY]]),
        "struct_": (member, [value, None]),
        "structs_": (pa.list_(member), [[value], []]),
        "map_": (pa.map_(pa.string(), pa.int32()), [[("k", 1), ("l", None)], []]),
        "map_of_lists_": (pa.map_(pa.string(), pa.list_(pa.float64())), [[("k", [1.5])]]),
        "lists_of_lists_": (pa.list_(pa.list_(pa.int8())), [[[1], []], None]),
    }


def corpus(rows: int = 120) -> pa.Table:
    """Return the corpus: every second document belongs to the other tenant, every fifth value is null."""
    tenants = [list(TENANTS)[row % 2] for row in range(rows)]
    ids = [f"{tenant}:{IDS[row // 2] if row // 2 < len(IDS) else row}" for row, tenant in enumerate(tenants)]
    texts = [f"The {TENANTS[tenant]} number {row} stands by the sea. It is cold." for row, tenant in enumerate(tenants)]
    table = {"id": pa.array(ids), "text": pa.array(texts), "tenant": pa.array(tenants)}
    for number, (name, (kind, values)) in enumerate((_scalars() | _nested()).items()):
        column = [None if (row + number) % 5 == 4 else values[row % len(values)] for row in range(rows)]
        table[name] = _array(column, kind)
    return pa.table(table)


def _array(values: list[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_dictionary(kind):
        return pa.array(values, kind.value_type).cast(kind)
    return pa.array(values, kind)
