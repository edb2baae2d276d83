"""What tests share: a real but tiny model made on the spot, the real default model, and indexes built with them."""

from __future__ import annotations

import os
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # torch and OpenMP on several threads beside another process crawl
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from indexer.build import build
from indexer.settings import BuildSettings

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"

WORDS = ["the", "a", "of", "to", "and", "in", "is", "it", "on", "for", "with", "as", "at", "by", "from", "cat", "dog", "bird", "fish", "horse", "sits", "runs", "flies", "swims", "sleeps", "eats", "red", "green", "blue", "big", "small", "old", "young", "house", "garden", "river", "sea", "mountain", "city", "street", "quick", "slow", "bread", "milk", "cheese", "water", "wine", "king", "queen", "castle", "sword", "ship", "sailor", "storm", "star", "moon", "sun", "night", "day", "morning", "evening", "winter", "summer", "snow", "rain"]

STORIES = [
    ("a", "The cat", "The cat sits in the garden. It sleeps in the sun and eats fish at night."),
    ("b", "The dog", "The dog runs by the river. It eats bread and swims in the water."),
    ("c", "The sailor", "The sailor is on the ship at sea. The storm is big and the night is old."),
    ("d", None, "The king and the queen eat cheese with wine in the castle."),
    ("e", "Winter", "Snow in the mountain city, rain on the street, a slow morning."),
    ("f", "The horse", "The young horse runs in the green garden with the dog."),
]


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sentence-transformers directory: a two-layer BERT with random weights, mean pooling and Normalize."""
    from tests_support import make_tiny_model

    return make_tiny_model(tmp_path_factory.mktemp("tiny-model"))


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """A data directory in which the tiny model is published, with 8-bit weights too."""
    from tests_support import publish

    data = tmp_path_factory.mktemp("tiny-data")
    publish(tiny_model, data)
    return data


@pytest.fixture
def data(tmp_path: Path, tiny_data: Path) -> Path:
    """A fresh data directory of the test's own, in which the tiny model is published."""
    import shutil

    target = tmp_path / "data"
    shutil.copytree(tiny_data, target)
    return target


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A Parquet corpus of six short stories, with metadata of several types."""
    return write_corpus(tmp_path / "corpus.parquet")


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


@pytest.fixture(scope="session")
def built_data(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Path:
    """A data directory with the tiny model and a live index of the six stories. Read it, do not change it."""
    import shutil

    data = tmp_path_factory.mktemp("built") / "data"
    shutil.copytree(tiny_data, data)
    build(str(write_corpus(data / "corpus.parquet")), BuildSettings(), data)
    return data


@pytest.fixture(scope="session")
def minilm_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory in which the real default model, all-MiniLM-L6-v2, is published."""
    from trainer.base import publish_base
    from trainer.settings import BaseSettings

    data = tmp_path_factory.mktemp("minilm")
    publish_base(None, BaseSettings(int8=True), data)
    return data
