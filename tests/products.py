"""A shop's CSV file of 2,000 products, as people export it: no column `id`, HTML in the descriptions, lists in cells.

The same seed gives the same file. Brand and colour stand in most descriptions, and in columns of which some cells are
empty.
"""

from __future__ import annotations

import csv
import random
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

PRODUCTS = 2_000
EMPTY_BRANDS, EMPTY_COLOURS = 0.05, 0.2
"""Shares of the rows whose cell is empty."""
BRANDS = [
    "Nordvik",
    "Sonaro",
    "Apex",
    "Lumen",
    "Tavira",
    "Brightwell",
    "Kestrel",
    "Orono",
    "Halden",
    "Miravel",
    "Quarto",
    "Fennimore",
    "Aldgate",
    "Zephyr",
    "Castellan",
    "Ondine",
    "Rockport",
    "Veluxe",
    "Marlowe",
    "Pinnacle",
]
COLOURS = ["black", "white", "red", "blue", "green", "yellow", "silver", "brown", "grey", "orange"]


@dataclass(frozen=True)
class Category:
    """What products of a kind are called, what is said of them, and what they cost."""

    nouns: tuple[str, ...]
    sentences: tuple[str, ...]
    tags: tuple[str, ...]
    prices: tuple[int, int]


CATEGORIES = {
    "headphones": Category(
        ("headphones", "wireless headphones", "studio headphones"),
        ("Closed ear cups keep the noise of a train out.", "The battery plays music for thirty hours."),
        ("audio", "music", "travel"),
        (30, 350),
    ),
    "bicycle": Category(
        ("children's bicycle", "city bicycle", "mountain bicycle"),
        ("Eight gears and hydraulic brakes.", "The frame is welded from light aluminium."),
        ("outdoor", "sport", "wheels"),
        (120, 1900),
    ),
    "lamp": Category(
        ("floor lamp", "desk lamp", "bedside lamp"),
        ("Warm light that can be dimmed by a touch.", "The shade is made of linen."),
        ("lighting", "living room", "home"),
        (15, 240),
    ),
    "kettle": Category(
        ("electric kettle", "tea kettle"),
        ("Boils a litre of water in three minutes.", "Switches itself off when it is empty."),
        ("kitchen", "tea", "home"),
        (20, 120),
    ),
    "backpack": Category(
        ("hiking backpack", "laptop backpack"),
        ("Padded straps and a cover against rain.", "A sleeve holds a computer of fifteen inches."),
        ("outdoor", "travel", "bags"),
        (35, 260),
    ),
    "keyboard": Category(
        ("mechanical keyboard", "compact keyboard"),
        ("Quiet switches and keys that are lit from below.", "Connects to three devices by radio."),
        ("office", "computer", "typing"),
        (25, 210),
    ),
    "tent": Category(
        ("family tent", "trekking tent"),
        ("Stands up to storms and weighs less than three kilograms.", "Room for four people and their luggage."),
        ("outdoor", "camping", "travel"),
        (60, 640),
    ),
    "blender": Category(
        ("hand blender", "smoothie blender"),
        ("Six blades crush ice and frozen fruit.", "The jar goes into the dishwasher."),
        ("kitchen", "cooking", "home"),
        (22, 190),
    ),
    "watch": Category(
        ("diving watch", "sports watch"),
        ("Water resistant to two hundred metres.", "Measures heart rate and distance on the wrist."),
        ("sport", "gift", "jewellery"),
        (45, 890),
    ),
    "chair": Category(
        ("office chair", "garden chair"),
        ("Supports the lower back and can be reclined.", "Folds flat for the winter."),
        ("furniture", "office", "home"),
        (40, 480),
    ),
}
COLUMNS = [
    "sku",
    "name",
    "description",
    "brand",
    "colour",
    "tags",
    "price",
    "in_stock",
    "lat",
    "lon",
    "released",
    "url",
    "image",
]
ADJECTIVES = ["light", "classic", "compact", "sturdy", "foldable", "quiet", "elegant", "modern", "robust", "slim"]


def products(seed: int = 0, count: int = PRODUCTS) -> list[dict[str, str]]:
    """Return the rows of the file; ``_brand``, ``_colour`` and ``_category`` beside them are what empty cells would say."""
    draw = random.Random(seed)
    numbers = draw.sample(range(10_000, 99_999), count)
    return [_product(draw, number, row) for row, number in enumerate(numbers)]


def write_products(path: Path, seed: int = 0, count: int = PRODUCTS) -> list[dict[str, str]]:
    """Write the CSV file and return its rows, as `products` does."""
    rows = products(seed, count)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return rows


def _product(draw: random.Random, number: int, row: int) -> dict[str, str]:
    name = draw.choice(list(CATEGORIES))
    category = CATEGORIES[name]
    brand, colour, noun = draw.choice(BRANDS), draw.choice(COLOURS), draw.choice(category.nouns)
    adjective, model = draw.choice(ADJECTIVES), f"{draw.choice('ABCDEFGH')}{draw.randrange(100, 999)}"
    sentences = "".join(f"<li>{sentence}</li>" for sentence in draw.sample(category.sentences, 2))
    description = (
        f'<p class="intro">The <b>{adjective}</b> {noun} {model} by {brand} comes in {colour}&nbsp;&ndash; '
        f"made for every day &amp; for years.</p><ul>{sentences}</ul>"
        f'<p>Guarantee: {draw.randrange(1, 6)}&nbsp;years.<br>See <a href="https://shop.example/help">help</a>.</p>'
    )
    price = draw.randrange(*category.prices) + draw.choice((0.0, 0.5, 0.95, 0.99))
    return {
        "sku": f"{name[:2].upper()}-{number}",
        "name": f"{brand} {adjective} {noun} {model}",
        "description": description,
        "brand": "" if draw.random() < EMPTY_BRANDS else brand,
        "colour": "" if draw.random() < EMPTY_COLOURS else colour,
        "tags": ", ".join(draw.sample(category.tags, draw.randrange(1, 4))),
        "price": f"{price:.2f}",
        "in_stock": draw.choice(("true", "true", "true", "false")),
        "lat": f"{draw.uniform(47.3, 54.9):.5f}",
        "lon": f"{draw.uniform(6.0, 14.9):.5f}",
        "released": (date(2021, 1, 1) + timedelta(days=draw.randrange(2_000))).isoformat(),
        "url": f"https://shop.example/products/{row}",
        "image": f"https://images.example/{row}.jpg",
        "_brand": brand,
        "_colour": colour,
        "_category": name,
    }
