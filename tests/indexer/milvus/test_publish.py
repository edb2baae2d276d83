"""Publication in Milvus: the alias names complete copies only, whatever happened before."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from milvus_server import MilvusServer
from typer.testing import CliRunner

from indexer.artifacts.store import Store
from indexer.build.build import build
from indexer.build.settings import BuildSettings
from indexer.cli import app
from indexer.errors import StoreError, UserError
from indexer.index.index import Index
from indexer.milvus import publish
from indexer.milvus.engine import Engine
from indexer.milvus.open import open_index
from indexer.milvus.publish import publish_index
from indexer.milvus.settings import StoreSettings


@pytest.fixture
def data(tmp_path: Path, built_data: Path) -> Path:
    """A copy of the data directory with the six stories."""
    return Path(shutil.copytree(built_data, tmp_path / "data"))


@pytest.fixture
def store(milvus_server: MilvusServer, request: pytest.FixtureRequest) -> StoreSettings:
    """Milvus, with an alias of this test."""
    name = "".join(letter for letter in request.node.name if letter.isalnum())
    return StoreSettings(store="milvus", uri=milvus_server.uri, alias=name)


def live(data: Path) -> str:
    """Return the id of the live index of a data directory."""
    return Store("index", data).resolve().name


def test_build_and_activate(data, store, monkeypatch):
    """`build --store milvus` makes the index live there, a second time at once; `activate` rolls back."""
    monkeypatch.setenv("DOWSE_DATA", str(data))
    options = ["--store", "milvus", "--uri", store.uri, "--alias", store.alias]
    run = CliRunner().invoke
    first = live(data)
    assert run(app, ["build", str(data / "corpus.parquet"), *options]).exit_code == 0
    assert open_index(store, data).manifest.id == first
    assert run(app, ["build", str(data / "corpus.parquet"), "--limit", "3", *options]).exit_code == 0
    second = open_index(store, data)
    assert (second.manifest.id, len(second)) == (live(data), 3)
    assert second.manifest.id != first
    monkeypatch.setattr(publish.Copy, "write", lambda _: pytest.fail("it is there"))
    assert run(app, ["activate", first, *options]).exit_code == 0
    assert open_index(store, data).manifest.id == live(data) == first
    before = set(Engine(store.uri).call("list_collections"))
    assert run(app, ["prune", "--keep", "0", *options]).exit_code == 0
    gone = before - set(Engine(store.uri).call("list_collections"))
    assert gone == set(second.names.all)  # and nothing of other aliases
    assert open_index(store, data).manifest.id == first


def test_a_killed_copy_is_written_anew(data, store, monkeypatch):
    """A copy that ended midway leaves the alias as it was; the next one starts over and is complete."""
    publish_index(live(data), store, data)
    first = live(data)
    build(str(data / "corpus.parquet"), BuildSettings(limit=4), data)
    sent = publish.Copy._send

    def killed(self: publish.Copy, collection: str, *rest: object) -> int:
        if collection.endswith("_passages"):
            raise KeyboardInterrupt
        return sent(self, collection, *rest)

    monkeypatch.setattr(publish.Copy, "_send", killed)
    with pytest.raises(KeyboardInterrupt):
        publish_index(live(data), store, data)
    assert open_index(store, data).manifest.id == first
    monkeypatch.undo()
    publish_index(live(data), store, data)
    assert len(open_index(store, data)) == 4


def test_counts_are_asserted_before_the_switch(data, store, monkeypatch):
    """Where a row is lost on the way, the numbers are named and the alias is not switched."""
    sent = publish.Copy._send
    monkeypatch.setattr(publish.Copy, "_send", lambda self, collection, batch, bar: sent(
        self, collection, batch[1:] if collection.endswith("_passages") else batch, bar) + 1)  # fmt: skip
    with pytest.raises(UserError, match=r"_passages has \d+ rows of \d+ after the copy"):
        publish_index(live(data), store, data)
    with pytest.raises(UserError, match="names no index"):
        open_index(store, data)


def test_rows_that_are_gone_are_never_answered_around(data, store):
    """An index that has lost rows since is not opened, and one that is open says so."""
    publish_index(live(data), store, data)
    index = open_index(store, data)
    Engine(store.uri).call("delete", index.names.documents, filter="number == 2")
    with pytest.raises(StoreError, match="has 5 rows of 6"):
        open_index(store, data)
    with pytest.raises(StoreError, match="has lost 1 of"):
        [index.document(number) for number in range(6)]
    with pytest.raises(StoreError, match="has lost"):
        index.row_of("a")
    publish_index(live(data), store, data)
    assert len(open_index(store, data)) == 6


def test_a_field_that_does_not_fit_is_named(data, store, tmp_path, capsys):
    """A text that is longer than a field of Milvus is served, and cannot be filtered by; the build says so."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"id": ["a", "b"], "text": ["the cat", "the dog"], "long": ["x" * 70_000, "y"]})
    pq.write_table(table, tmp_path / "long.parquet")
    build(str(tmp_path / "long.parquet"), BuildSettings(), data)
    publish_index(live(data), store, data)
    assert "'long' cannot be filtered in Milvus: a text has more than 65,535 bytes" in capsys.readouterr().err
    index = open_index(store, data)
    assert index.document(0).metadata["long"] == Index.open(Store("index", data).resolve()).document(0).metadata["long"]


def test_a_flag_is_missing(data, monkeypatch):
    """`--store milvus` without an address names the flag."""
    monkeypatch.setenv("DOWSE_DATA", str(data))
    result = CliRunner().invoke(app, ["build", str(data / "corpus.parquet"), "--store", "milvus"])
    assert "--uri" in str(result.exception)
