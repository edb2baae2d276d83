"""Fixtures of all tests: a real but tiny model made offline, the real default model, and indexes built with them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # several threads of torch and OpenMP are very slow beside another process
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import pytest
from milvus_server import MilvusServer
from small_disk import Disk, mounted
from stories import write_corpus

from indexer.artifacts.store import Store
from indexer.build.build import build
from indexer.build.settings import BuildSettings
from indexer.milvus.settings import StoreSettings

# Where whoever started the tests ignores Ctrl-C (a job in the background does), programs that they start would too.
signal.signal(signal.SIGINT, signal.default_int_handler)


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
    """A fresh data directory for one test, in which the tiny model is published."""
    import shutil

    target = tmp_path / "data"
    shutil.copytree(tiny_data, target)
    return target


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A Parquet corpus of six short stories, with metadata of several types."""
    return write_corpus(tmp_path / "corpus.parquet")


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
    from trainer.models.base import publish_base
    from trainer.models.settings import BaseSettings

    data = tmp_path_factory.mktemp("minilm")
    publish_base(None, BaseSettings(int8=True), data)
    return data


@pytest.fixture
def small_disk() -> Iterator[Callable[[Path, str], Disk]]:
    """Mounts a small disk on a folder: ``small_disk(folder, "1m")``. Skips the test where mounting is not allowed."""
    with ExitStack() as stack:

        def mount(folder: Path, size: str) -> Disk:
            try:
                return stack.enter_context(mounted(folder, size))
            except PermissionError as error:
                pytest.skip(f"a disk of a few megabytes cannot be mounted here: {error}")

        yield mount


@pytest.fixture(scope="session")
def postgres() -> Iterator[Path]:
    """A real PostgreSQL server: the folder of its socket, for the URL's parameter `host`."""
    from postgres import running_server

    with running_server() as folder:
        yield folder


@pytest.fixture(scope="session")
def masked_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in the Hub's format with a tiny BERT that was trained on capitals and river banks."""
    from tiny_bert import make_tiny_bert

    return make_tiny_bert(tmp_path_factory.mktemp("masked-model"))


@pytest.fixture(scope="session")
def masked_data(tmp_path_factory: pytest.TempPathFactory, masked_model: Path) -> Path:
    """A data directory in which that BERT is published as a masked-language model. Copy it, do not change it."""
    from trainer.models.masked_lm import publish_mlm
    from trainer.models.settings import PublishMlmSettings

    data = tmp_path_factory.mktemp("masked-data")
    publish_mlm(masked_model, PublishMlmSettings(), data)
    return data


@pytest.fixture(scope="session")
def milvus_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MilvusServer]:
    """A running Milvus server."""
    server = MilvusServer(tmp_path_factory.mktemp("milvus")).start()
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="session")
def stored_data(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Path:
    """A data directory with an index of the corpus that stores are compared on. Read it, do not change it."""
    import shutil

    from stored_corpus import write_corpus as write_stored_corpus

    data = tmp_path_factory.mktemp("stored") / "data"
    shutil.copytree(tiny_data, data)
    source = write_stored_corpus(data / "corpus.parquet")
    build(str(source), BuildSettings(language="en", candidates=100), data)
    return data


@pytest.fixture(scope="session")
def published(milvus_server: MilvusServer, stored_data: Path) -> StoreSettings:
    """Where that index is live in Milvus."""
    from indexer.milvus.publish import publish_index

    settings = StoreSettings(store="milvus", uri=milvus_server.uri)
    publish_index(Store("index", stored_data).resolve().name, settings, stored_data)
    return settings
