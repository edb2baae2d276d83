"""A corpus with metadata of many types, for tests that compare stores of served indexes."""

from __future__ import annotations

import datetime as dt
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from stories import WORDS

DOCUMENTS = 150


def make_rows() -> list[dict[str, Any]]:
    """Return documents of random words: some long, some equal, some without a title, with metadata of many types."""
    draw = random.Random(7)
    rows = []
    for number in range(DOCUMENTS):
        words = draw.choices(WORDS, k=draw.choice([5, 20, 60, 400]))
        rows.append(
            {
                "id": f"d{number * 37 % DOCUMENTS:03d}" if number % 9 else f'odd "id" \\{number} ü',
                "title": " ".join(draw.choices(WORDS, k=3)) if number % 4 else None,
                "text": ". ".join(" ".join(words[start : start + 8]) for start in range(0, len(words), 8)) + ".",
                "price": None if number % 7 == 0 else float("nan") if number % 11 == 0 else number / 4,
                "rooms": number % 6,
                "kind": draw.choice(["house", "ship", "castle", 'a "quoted" \\ name', "sn\now", None]),
                "sold": draw.choice([True, False, None]),
                "when": dt.datetime(2026, 1, 1, tzinfo=dt.UTC) + dt.timedelta(hours=number),
                "day": dt.date(2026, 1, 1) + dt.timedelta(days=number % 30),
                "cost": Decimal(number * 5) / 100,
                "tags": draw.choice([["pet"], ["pet", "water"], [], None, ["cold", "cold"]]),
                "size": {"height": number % 10, "unit": draw.choice(["m", "km"])},
                "lat": 40 + number / 10,
                "lon": 10.0,
            }
        )
    rows[5]["text"] = rows[4]["text"]
    rows[6]["text"] = "the of and"  # nothing but stop words
    rows[8]["text"] = "castle garden. " * 9_000  # longer than a field of Milvus
    return rows


SCHEMA = pa.schema(
    [
        ("id", pa.string()), ("title", pa.string()), ("text", pa.string()), ("price", pa.float64()),
        ("rooms", pa.int16()), ("kind", pa.string()), ("sold", pa.bool_()), ("when", pa.timestamp("us", "UTC")),
        ("day", pa.date32()), ("cost", pa.decimal128(8, 2)), ("tags", pa.list_(pa.string())),
        ("size", pa.struct([("height", pa.int32()), ("unit", pa.string())])), ("lat", pa.float64()),
        ("lon", pa.float32()),
    ]
)  # fmt: skip


def write_corpus(path: Path) -> Path:
    """Write the corpus as Parquet."""
    pq.write_table(pa.Table.from_pylist(make_rows(), SCHEMA), path)
    return path
