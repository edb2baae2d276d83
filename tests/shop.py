"""A shop's index for tests of what people type: 60 products with brand, tags and numbers of their own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from products import products

from indexer.build.build import build
from indexer.build.settings import BuildSettings
from indexer.index.terms.columns import column_text

COUNT = 60
SYNONYMS = "couch, lamp\nbike => bicycle, garden chair\n"


def shop_rows(count: int = COUNT) -> list[dict[str, object]]:
    """Return ``count`` documents: id, title, text and metadata."""
    return [
        {
            "id": f"P-{number:03}",
            "title": row["name"],
            "text": f"{row['_colour']} {row['_category']} that lasts. It is number {number} of the shop."
            + (" Good for the back." if number % 7 == 0 else ""),
            "brand": row["_brand"],
            "tags": row["tags"].split(", "),
            "sku": row["sku"],
            "ean": number + 4_000_000,
        }
        for number, row in enumerate(products(count=count))
    ]


def build_shop(data: Path, tiny_data: Path, rows: list[dict[str, object]] | None = None, **settings: object) -> Path:
    """Build the index in a copy of ``tiny_data``, with searched and exact columns; return ``data``."""
    if not data.exists():
        shutil.copytree(tiny_data, data)
    pq.write_table(pa.Table.from_pylist(rows or shop_rows()), data / "shop.parquet")
    (data / "synonyms.txt").write_text(SYNONYMS, encoding="utf-8")
    chosen = {"search_columns": "brand^2,tags", "exact_columns": "sku,ean", "synonyms": data / "synonyms.txt"}
    build(str(data / "shop.parquet"), BuildSettings(language="en", dense_weight=0.5, **(chosen | settings)), data)
    return data


def words_of(row: dict[str, object]) -> str:
    """Return all words of a document, as they are searched."""
    return " ".join([str(row["title"]), str(row["text"]), str(row["brand"]), column_text(row["tags"])]).casefold()
