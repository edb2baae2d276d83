"""A corpus of several shards and windows, and the index that one process builds of it."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from executors_support import SETTINGS, SIZES, facts
from stories import WORDS

from indexer.build.build import build


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make shards and windows small, so that a few documents fill several."""
    for name, size in SIZES.items():
        monkeypatch.setattr(f"indexer.build.shards.shard.{name}", size)


@pytest.fixture(scope="session")
def shard_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of some eight shards and 40 windows."""
    rng = random.Random(5)
    texts = [" ".join(rng.choices(WORDS, k=rng.randint(3, 60))) for _ in range(160)]
    path = tmp_path_factory.mktemp("shards") / "corpus.parquet"
    pq.write_table(pa.table({"id": [f"d{row}" for row in range(160)], "text": texts}), path)
    return path


@pytest.fixture
def expected(tmp_path: Path, tiny_data: Path, shard_corpus: Path) -> dict[str, Any]:
    """What an index of the corpus holds that one process has built."""
    data = Path(shutil.copytree(tiny_data, tmp_path / "one-process"))
    manifest = build(str(shard_corpus), SETTINGS, data, cores=1).manifest
    assert manifest.counts["embedded"] == manifest.counts["passages"] > 200
    return facts(manifest, data)
