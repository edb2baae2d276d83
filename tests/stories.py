"""Vocabulary of the tiny model, and a corpus of six short stories in its words."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

WORDS = [
    "the",
    "a",
    "of",
    "to",
    "and",
    "in",
    "is",
    "it",
    "on",
    "for",
    "with",
    "as",
    "at",
    "by",
    "from",
    "cat",
    "dog",
    "bird",
    "fish",
    "horse",
    "sits",
    "runs",
    "flies",
    "swims",
    "sleeps",
    "eats",
    "red",
    "green",
    "blue",
    "big",
    "small",
    "old",
    "young",
    "house",
    "garden",
    "river",
    "sea",
    "mountain",
    "city",
    "street",
    "quick",
    "slow",
    "bread",
    "milk",
    "cheese",
    "water",
    "wine",
    "king",
    "queen",
    "castle",
    "sword",
    "ship",
    "sailor",
    "storm",
    "star",
    "moon",
    "sun",
    "night",
    "day",
    "morning",
    "evening",
    "winter",
    "summer",
    "snow",
    "rain",
]

STORIES = [
    ("a", "The cat", "The cat sits in the garden. It sleeps in the sun and eats fish at night."),
    ("b", "The dog", "The dog runs by the river. It eats bread and swims in the water."),
    ("c", "The sailor", "The sailor is on the ship at sea. The storm is big and the night is old."),
    ("d", None, "The king and the queen eat cheese with wine in the castle."),
    ("e", "Winter", "Snow in the mountain city, rain on the street, a slow morning."),
    ("f", "The horse", "The young horse runs in the green garden with the dog."),
]


def write_corpus(path: Path) -> Path:
    """Write the six stories as Parquet."""
    ids, titles, texts = (list(column) for column in zip(*STORIES, strict=True))
    table = pa.table(
        {
            "id": ids,
            "title": titles,
            "text": texts,
            "price": [1.5, 2.0, None, 4.0, 5.0, 6.25],
            "rooms": [1, 2, 3, 4, 5, 6],
            "tags": [["pet"], ["pet", "water"], [], None, ["cold"], ["pet"]],
        }
    )
    pq.write_table(table, path)
    return path
