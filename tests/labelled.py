"""Labelled texts in the tiny model's words, labelled by topic; and a classifier trained on them."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from stories import WORDS

from indexer.artifacts.manifest import Manifest
from trainer.classify.publish import publish
from trainer.classify.settings import ClassifyPublishSettings, ClassifyTrainSettings
from trainer.classify.train import train

TOPICS = {
    "animal": ["cat", "dog", "bird", "fish", "horse"],
    "food": ["bread", "milk", "cheese", "wine"],
    "weather": ["storm", "snow", "rain", "winter"],
}
OTHER_WORDS = [word for word in WORDS if not any(word in words for words in TOPICS.values())]


def make_text(rng: random.Random, labels: tuple[str, ...]) -> str:
    """Return a text of eight words about ``labels``."""
    words = [rng.choice(TOPICS[label]) for label in labels for _ in range(3)]
    words += rng.sample(OTHER_WORDS, 8 - len(words) if len(words) < 8 else 1)
    rng.shuffle(words)
    return " ".join(words)


def labelled_rows(count: int, seed: int = 0, *, several: bool = False, shuffled: bool = False) -> dict[str, list[Any]]:
    """Return columns id, text and label: one label per text (animals are frequent, weather is rare), or lists of labels."""
    rng = random.Random(seed)
    texts, labels = [], []
    for _ in range(count):
        if several:
            topics = tuple(name for name, share in zip(TOPICS, (0.5, 0.4, 0.3), strict=True) if rng.random() < share)
        else:
            topics = (rng.choices(list(TOPICS), (6, 3, 2))[0],)
        texts.append(make_text(rng, topics))
        labels.append(list(topics) if several else topics[0])
    if shuffled:
        rng.shuffle(labels)
    return {"id": [f"r{number}" for number in range(count)], "text": texts, "label": labels}


def write_rows(path: Path, count: int = 240, seed: int = 0, **options: bool) -> Path:
    """Write labelled rows as Parquet and return the path."""
    pq.write_table(pa.table(labelled_rows(count, seed, **options)), path)
    return path


def train_frozen(data: Path, folder: Path, **options: bool) -> Path:
    """Train a head on the live model of ``data`` and return the classifier's directory, ``folder / "classifier"``."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = write_rows(folder / "rows.parquet", **options)
    return train(rows, ClassifyTrainSettings(frozen_encoder=True), folder / "classifier", data)


def publish_classifier(data: Path, folder: Path, **options: bool) -> Manifest:
    """Train such a classifier, publish it in ``data``, and return its manifest."""
    return publish(train_frozen(data, folder, **options), ClassifyPublishSettings(), data).manifest


def example(*labels: str, seed: int = 99) -> str:
    """Return a text about ``labels`` that no classifier was trained on."""
    return make_text(random.Random(seed), labels)
