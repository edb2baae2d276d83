"""Compaction: the same documents are visible before, after, and wherever the process dies in between."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests_support import give_query_encoder, make_tiny_model

import indexer.build.build
import indexer.build.compact
from indexer.artifacts.store import Store
from indexer.build.build import build
from indexer.build.compact import compact
from indexer.build.settings import BuildSettings
from indexer.errors import UserError
from indexer.index.index import Index
from indexer.live.log import WriteLog
from indexer.live.overlay import LiveIndex
from indexer.live.prepare import NewDocument, Preparer, apply_writes
from indexer.retrieval.retriever import Retriever

REPOSITORY = Path(__file__).parents[3]
LONG = "Snow in winter and rain in summer. " * 20
KILLED = """
import os, signal, sys
from pathlib import Path
import indexer.artifacts.store, indexer.live.log
from indexer.build.compact import compact

def reached(step):
    if step == sys.argv[1]:
        os.kill(os.getpid(), signal.SIGKILL)

indexer.artifacts.store.reached = indexer.live.log.reached = reached
compact(Path(sys.argv[2]), cores=1)
"""


@pytest.fixture
def written(tmp_path: Path, built_data: Path) -> Path:
    """A data directory with the six stories; one was replaced, one deleted, two are new and one of them is gone again."""
    data = tmp_path / "data"
    shutil.copytree(built_data, data)
    put(
        data,
        NewDocument("a", "The cat", "The old cat eats cheese.", {"price": 9.5, "tags": ["old"]}),
        NewDocument("x", None, LONG, {}),
    )
    put(data, NewDocument("y", None, "A ship.", {}), deleted=("b",))
    put(data, deleted=("y",))
    return data


def put(data: Path, *documents: NewDocument, deleted: tuple[str, ...] = ()) -> None:
    """Write to the log as the service does."""
    preparer = Preparer(Index.open(Store("index", data).resolve(), verify=False))
    log = WriteLog(data)
    with log.locked():
        log.read()
        log.append(log.draft(preparer.recipe, preparer.prepare(documents), deleted))


def open_live(data: Path) -> Index:
    """Open the live index with its writes, as a service that starts now would."""
    return apply_writes(Index.open(Store("index", data).resolve()), WriteLog(data).read())


def read_contents(index: Index) -> dict[str, tuple[str | None, str, dict[str, object]]]:
    """Return every document that a search can find."""
    ranking = Retriever(index).search("snow", "dense", candidates=1_000)
    documents = [index.document(int(row)) for row in ranking.rows]
    return {document.id: (document.title, document.text, document.metadata) for document in documents}


def test_the_new_index_has_what_was_written(written: Path) -> None:
    """The documents and their cosines stay, nothing is encoded, and the index says what is in it."""
    before = open_live(written)
    ranking = Retriever(before).search("cat and cheese", "dense")
    built = compact(written, cores=1)
    assert built.fresh
    assert (built.manifest.counts["documents"], built.manifest.counts["embedded"]) == (6, 0)
    assert built.manifest.config["folded"] == 3
    assert built.manifest.inputs[-1].name == "writes 1 to 3"
    after = open_live(written)
    assert after.manifest.id == built.manifest.id
    assert not isinstance(after, LiveIndex)
    assert after.generation == f"{built.manifest.id}.3"
    assert read_contents(after) == read_contents(before)
    assert set(read_contents(after)) == {"a", "c", "d", "e", "f", "x"}
    again = Retriever(after).search("cat and cheese", "dense")
    assert [after.document(int(row)).id for row in again.rows] == [before.document(int(row)).id for row in ranking.rows]
    assert again.scores == pytest.approx(ranking.scores, abs=1e-6)


def test_there_may_be_nothing_to_do(written: Path, built_data: Path, tmp_path: Path) -> None:
    """A second compaction does nothing; where nothing was ever written, a compaction leaves no files."""
    first = compact(written, cores=1)
    again = compact(written, cores=1)
    assert (again.fresh, again.manifest.id) == (False, first.manifest.id)
    shutil.copytree(built_data, tmp_path / "untouched")
    assert not compact(tmp_path / "untouched", cores=1).fresh
    assert not (tmp_path / "untouched" / "live").exists()


def test_an_older_index_shows_all_writes(written: Path) -> None:
    """After a rollback the writes that were folded into the newer index apply over the older one."""
    old = Store("index", written).current_id()
    before = read_contents(open_live(written))
    compact(written, cores=1)
    put(written, NewDocument("z", None, "A storm.", {}))
    compact(written, cores=1)
    Store("index", written).activate(old)
    assert set(read_contents(open_live(written))) == {*before, "z"}


def test_the_same_corpus_is_up_to_date(written: Path) -> None:
    """Building the corpus again, as `docker compose up` does, leaves the compacted index live."""
    compact(written, cores=1)
    put(written, NewDocument("z", None, "A storm.", {}))
    new = compact(written, cores=1).manifest
    built = build(str(written / "corpus.parquet"), BuildSettings(), written)
    assert (built.fresh, built.manifest.id, Store("index", written).current_id()) == (False, new.id, new.id)


def test_what_is_written_meanwhile_stays(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that comes during the compaction applies over the new index."""
    publish = indexer.build.compact.publish

    def slow(*arguments, **options):
        put(written, NewDocument("late", None, "The moon.", {}), deleted=("c",))
        return publish(*arguments, **options)

    monkeypatch.setattr(indexer.build.compact, "publish", slow)
    built = compact(written, cores=1)
    assert built.manifest.config["folded"] == 3
    assert set(read_contents(open_live(written))) == {"a", "d", "e", "f", "x", "late"}
    assert open_live(written).generation == f"{built.manifest.id}.4"


def restore(data: Path, older: Path) -> None:
    """Replace the log by an older copy, over which writes go on."""
    shutil.rmtree(data / "live")
    shutil.copytree(older, data / "live")
    put(data, NewDocument("after", None, "The moon.", {}))
    put(data, NewDocument("later", None, "The sun.", {}), deleted=("c",))


def test_a_log_that_is_replaced_during_the_build_stops_it(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writes over a restored log, under the numbers of those that the new index would have, are not hidden by it."""
    older = shutil.copytree(written / "live", written.parent / "older")
    put(written, NewDocument("lost", None, "A comet.", {}))
    put(written, NewDocument("lost too", None, "A comet.", {}))
    measure = indexer.build.build.measure_self_retrieval
    monkeypatch.setattr(
        indexer.build.build, "measure_self_retrieval", lambda index: restore(written, older) or measure(index)
    )
    before = Store("index", written).ids()
    with pytest.raises(UserError, match="was replaced during the compaction"):
        compact(written, cores=1)
    assert Store("index", written).ids() == before
    assert set(read_contents(open_live(written))) == {"a", "d", "e", "f", "x", "after", "later"}
    monkeypatch.undo()
    compact(written, cores=1)
    assert set(read_contents(open_live(written))) == {"a", "d", "e", "f", "x", "after", "later"}


def test_a_log_that_is_replaced_after_the_build_is_not_folded(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writes over a log that was restored once the index was published are numbered above it, and stay."""
    older = shutil.copytree(written / "live", written.parent / "older")
    put(written, NewDocument("kept", None, "A comet.", {}))
    fold = WriteLog.fold
    monkeypatch.setattr(WriteLog, "fold", lambda *given: restore(written, older) or fold(*given))
    built = compact(written, cores=1)
    assert built.manifest.config["folded"] == 4
    contents = {"a", "d", "e", "f", "x", "kept", "after", "later"}
    assert set(read_contents(open_live(written))) == contents
    monkeypatch.undo()
    compact(written, cores=1)
    assert set(read_contents(open_live(written))) == contents


def test_an_index_needs_a_document(written: Path) -> None:
    """Where everything was deleted there is no index to build; the log stays."""
    put(written, deleted=("a", "c", "d", "e", "f", "x"))
    with pytest.raises(UserError, match="put a document"):
        compact(written, cores=1)
    assert read_contents(open_live(written)) == {}


@pytest.mark.parametrize(
    "step", ["closed", "synced", "renamed", "current-replaced", "folded-written", "folded-renamed", "folded"]
)
def test_a_kill_loses_nothing(written: Path, step: str) -> None:
    """Killed at any step, what a service shows stays the same; the next run finishes the work."""
    before = read_contents(open_live(written))
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, step, str(written)], cwd=REPOSITORY, check=False, stderr=subprocess.DEVNULL
    )
    assert killed.returncode == -signal.SIGKILL
    assert read_contents(open_live(written)) == before
    put(written, NewDocument("z", None, "A storm.", {}))
    compact(written, cores=1)
    assert set(read_contents(open_live(written))) == {*before, "z"}
    assert not isinstance(open_live(written), LiveIndex)


def test_a_small_query_encoder_stays(written: Path, tmp_path: Path) -> None:
    """An index that is served with its model's small query encoder is served with it after a compaction."""
    model = Store("model", written).resolve()
    give_query_encoder(model, make_tiny_model(tmp_path, layers=1))
    build(str(written / "corpus.parquet"), BuildSettings(force=True), written, cores=1)
    put(written, NewDocument("z", None, "A storm at sea.", {}))
    assert compact(written, cores=1).manifest.config["query_encoder"] == "small"
    assert open_live(written).encoder.query_encoder == "small"
