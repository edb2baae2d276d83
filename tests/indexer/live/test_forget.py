"""`forget`: every reader shows the index's own version of the documents again, wherever a process dies."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from indexer.artifacts.store import Store
from indexer.build.build import build
from indexer.build.compact import compact
from indexer.build.settings import BuildSettings
from indexer.cli import app
from indexer.errors import UserError
from indexer.index.index import Index
from indexer.live.forget import Retracted, forget, parse_time
from indexer.live.log import STEPS, WriteLog
from indexer.live.prepare import NewDocument, Preparer, apply_writes
from indexer.live.write import LiveDocument, Retraction, Write, compact_log, last_writes, latest_versions

REPOSITORY = Path(__file__).parents[3]
KILLED = """
import os, signal, sys
from pathlib import Path
import indexer.live.log
from indexer.live.forget import forget

def reached(step):
    if step == sys.argv[1]:
        os.kill(os.getpid(), signal.SIGKILL)

indexer.live.log.reached = reached
forget(Path(sys.argv[2]), ids=["a"])
"""


@pytest.fixture
def written(tmp_path: Path, built_data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The six stories with three writes over them, of one, two and three o'clock: a and x put, b deleted, x put again."""
    data = tmp_path / "data"
    shutil.copytree(built_data, data)
    put(data, "a", "x", hour=1, monkeypatch=monkeypatch)
    put(data, deleted=("b",), hour=2, monkeypatch=monkeypatch)
    put(data, "x", hour=3, monkeypatch=monkeypatch)
    return data


def put(
    data: Path,
    *names: str,
    deleted: tuple[str, ...] = (),
    hour: int | None = None,
    monkeypatch: pytest.MonkeyPatch | None = None,
) -> None:
    """Write to the log as the service does, at an hour of one day or now."""
    preparer = Preparer(Index.open(Store("index", data).resolve(), verify=False))
    log = WriteLog(data)
    if hour is not None:
        monkeypatch.setattr("indexer.live.log._now", lambda: f"2026-01-01T{hour:02}:00:00.000+00:00")
    with log.locked():
        log.read()
        documents = preparer.prepare([NewDocument(name, None, "Written.", {}) for name in names])
        log.append(log.draft(preparer.recipe, documents, deleted))
    if hour is not None:
        monkeypatch.undo()


def read_sources(index: Index) -> dict[str, str]:
    """Return the visible ids, each with the source of its version: the index or a write."""
    names = {name: index.row_of(name) for name in (*"abcdef", "x", "y")}
    texts = {name: index.document(row).text for name, row in names.items() if row is not None}
    assert len(texts) == len(index)
    return {name: "write" if text == "Written." else "index" for name, text in texts.items()}


def open_live(data: Path) -> Index:
    """Open the live index with the writes of the log, as a service that starts now."""
    return apply_writes(Index.open(Store("index", data).resolve(), verify=False), WriteLog(data).read())


INDEXED = dict.fromkeys("abcdef", "index")
BEFORE = {**INDEXED, "a": "write", "x": "write"}
del BEFORE["b"]


@pytest.mark.parametrize(
    ("choice", "retracted", "after"),
    [
        ({"everything": True}, Retracted(2, 1), INDEXED),
        ({"ids": ["a", "nobody"]}, Retracted(1, 0), {**BEFORE, "a": "index"}),
        ({"ids": ["b"]}, Retracted(0, 1), {**BEFORE, "b": "index"}),
        ({"before": parse_time("2026-01-01T02:00:00Z")}, Retracted(1, 0), {**BEFORE, "a": "index"}),
        ({"before": parse_time("2026-01-01T05:00:00+02:00")}, Retracted(1, 1), {**INDEXED, "x": "write"}),
        ({"before": parse_time("2026-01-01T03:00:00.0009Z")}, Retracted(1, 1), {**INDEXED, "x": "write"}),
        ({"before": datetime(2026, 1, 1, tzinfo=UTC)}, Retracted(), BEFORE),
    ],
)
def test_the_version_of_the_index_shows_again(
    written: Path, choice: dict, retracted: Retracted, after: dict[str, str]
) -> None:
    """The chosen documents are retracted and counted; a write that comes later is kept.

    A running service shows the same as one that starts later, and the generation only grows.
    """
    log = WriteLog(written)
    running = apply_writes(Index.open(Store("index", written).resolve()), log.read())
    assert read_sources(running) == BEFORE
    assert forget(written, **choice, dry_run=True) == retracted
    assert read_sources(open_live(written)) == BEFORE
    assert forget(written, **choice) == retracted
    running = apply_writes(running, log.read())
    assert read_sources(running) == read_sources(open_live(written)) == after
    assert running.generation == open_live(written).generation == f"{running.manifest.id}.{4 if retracted else 3}"
    assert forget(written, **choice) == Retracted()
    put(written, "a")
    assert (
        read_sources(apply_writes(running, log.read())) == read_sources(open_live(written)) == {**after, "a": "write"}
    )
    assert (log.sequence, WriteLog(written).read()[-1].sequence) == (5, 5) if retracted else (4, 4)


def test_forgotten_texts_leave_the_disk(written: Path) -> None:
    """Texts of retracted writes are in no file any more."""
    forget(written, everything=True)
    assert not any(b"Written." in path.read_bytes() for path in (written / "live").iterdir())


def test_a_program_without_retractions_refuses_the_log() -> None:
    """The line lacks fields that every earlier version of the program requires: none can take it for an empty write."""
    content = json.loads(Write(2, "", (), (), "", Retraction(1)).line().split(b" ", 1)[1])
    assert content == {"sequence": 2, "time": "", "forgotten": {"through": 1, "ids": None}}


def test_output_of_the_command(
    written: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command counts puts and deletes, changes nothing in a dry run, and names what is in a compacted index."""
    monkeypatch.setenv("DOWSE_DATA", str(written))
    compact(written, cores=1)
    capsys.readouterr()
    app(["forget", "--before", "2026-01-01T02:30:00Z", "--dry-run"], standalone_mode=False)
    app(["forget", "--id", "a", "--id", "b"], standalone_mode=False)
    app(["forget", "--all"], standalone_mode=False)
    out, err = capsys.readouterr()
    kinds = ["would forget: puts of 1 documents", "forgotten: puts of 1 documents", "forgotten: puts of 1 documents"]
    assert out.splitlines() == [f"{kind}, deletes of {number}" for kind, number in zip(kinds, (1, 1, 0), strict=True)]
    assert [line.split(" of ")[0] for line in err.splitlines()] == ["2", "2", "1"]
    assert err.count("python -m indexer build CORPUS") == 3


@pytest.mark.parametrize(
    "choice", [{}, {"everything": True, "ids": ["a"]}, {"ids": ["a"], "before": datetime.now(UTC)}]
)
def test_exactly_one_choice(written: Path, choice: dict) -> None:
    """No choice does not mean everything, and two choices are not combined: both are refused."""
    with pytest.raises(UserError, match="exactly one of --before"):
        forget(written, **choice)
    assert read_sources(open_live(written)) == BEFORE


@pytest.mark.parametrize("text", ["2026-01-01", "2026-01-01T02:00:00", "yesterday"])
def test_a_time_needs_its_zone(text: str) -> None:
    """A time without a zone is refused, for it would be another time in another zone."""
    with pytest.raises(UserError, match=r"--before .* zone"):
        parse_time(text)


@pytest.mark.parametrize("step", STEPS)
def test_a_kill_leaves_no_half_retraction(written: Path, step: str) -> None:
    """Killed at any step, the document is retracted and nothing else is changed; later writes and retractions work."""
    killed = subprocess.run([sys.executable, "-c", KILLED, step, str(written)], cwd=REPOSITORY, check=False)
    assert killed.returncode == -signal.SIGKILL
    # Also where the line was written and not yet flushed.
    assert read_sources(open_live(written)) == {**BEFORE, "a": "index"}
    put(written, "y")
    forget(written, ids=["x"])
    after = {**BEFORE, "a": "index", "y": "write"}
    del after["x"]
    assert read_sources(open_live(written)) == after


def test_a_compacted_index_is_built_again(written: Path) -> None:
    """Writes that were folded before stay in that index and are counted; a build of the same corpus is not «up to date»."""
    corpus = str(written / "corpus.parquet")
    first = Store("index", written).current_id()
    compact(written, cores=1)
    put(written, "y")
    assert forget(written, everything=True) == Retracted(puts=3, deletes=1, folded=3)
    assert read_sources(open_live(written)) == BEFORE
    assert not compact(written, cores=1).fresh  # nothing is left to be folded
    put(written, "c")
    compact(written, cores=1)
    assert read_sources(open_live(written)) == {**BEFORE, "c": "write"}
    build(corpus, BuildSettings(), written)
    assert Store("index", written).current_id() == first
    assert read_sources(open_live(written)) == {**INDEXED, "c": "write"}
    now = compact(written, cores=1).manifest
    assert build(corpus, BuildSettings(), written).manifest.id == now.id


def test_a_build_drops_what_was_folded(written: Path) -> None:
    """Right after a compacted write was forgotten, a build of the same corpus is not «up to date»."""
    compact(written, cores=1)
    forget(written, everything=True)
    build(str(written / "corpus.parquet"), BuildSettings(), written)
    assert read_sources(open_live(written)) == INDEXED


def test_nothing_is_forgotten_under_a_compaction(written: Path) -> None:
    """A compaction in progress would put the writes into the new index: `forget` is refused meanwhile."""
    with Store("index", written).building(), pytest.raises(UserError, match="wait until it has ended"):
        forget(written, everything=True)
    assert read_sources(open_live(written)) == BEFORE


def test_nothing_was_written(tmp_path: Path, built_data: Path) -> None:
    """Where there is no log, none is created."""
    shutil.copytree(built_data, tmp_path / "data")
    assert forget(tmp_path / "data", everything=True) == Retracted()
    assert not (tmp_path / "data" / "live").exists()


def test_folding_changes_nothing_for_any_reader() -> None:
    """A reader that stopped anywhere gets the same result from the compacted writes as from all, and there are few."""
    rng = random.Random(1)
    vectors = np.zeros((1, 4), dtype=np.float32)
    for _ in range(300):
        writes: list[Write] = []
        for sequence in range(1, rng.randint(3, 12)):
            names = rng.sample("abcd", rng.randint(1, 2))
            if rng.random() < 0.4:
                ids = frozenset(names) if rng.random() < 0.5 else None
                through = sequence - 1 if ids else rng.randrange(sequence)
                writes.append(Write(sequence, "", (), (), "", Retraction(through, ids)))
            else:
                document = LiveDocument(names[0], None, str(sequence), {}, ((0, 1),), vectors)
                writes.append(Write(sequence, "r", (document,), tuple(names[1:]), ""))
        writes = [Write.parse(write.line().rstrip()) for write in writes]
        folded = compact_log(writes)
        assert folded[-1].sequence == writes[-1].sequence
        assert compact_log(folded) == folded
        for stopped_at in range(len(writes) + 1):
            known = last_writes(writes[:stopped_at])
            remaining = [write for write in folded if write.sequence > stopped_at]
            assert last_writes(remaining, known) == last_writes(writes)
        texts = {name: version and version.text for name, version in latest_versions(writes).items()}
        assert texts == {name: version and version.text for name, version in latest_versions(folded).items()}
        assert texts.keys() == last_writes(writes).keys()
        assert sum(write.retraction is not None and write.retraction.ids is not None for write in folded) <= 4


def test_a_log_that_is_replaced_meanwhile_is_told(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An older copy that was restored before the log was folded has the documents again: that is said, and once more helps."""
    older = shutil.copytree(written / "live", written.parent / "older")
    fold = WriteLog.fold

    def fold_late(log: WriteLog, through: int, set_aside: Collection[int] = ()) -> None:
        shutil.rmtree(written / "live")
        older.rename(written / "live")
        fold(log, through, set_aside)

    monkeypatch.setattr(WriteLog, "fold", fold_late)
    with pytest.raises(UserError, match="replaced meanwhile; forget them again"):
        forget(written, ids=["a"])
    assert read_sources(open_live(written)) == BEFORE
    monkeypatch.undo()
    assert forget(written, ids=["a"]) == Retracted(1, 0)
    assert read_sources(open_live(written)) == {**BEFORE, "a": "index"}
