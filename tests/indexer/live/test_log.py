"""Write-ahead log: an answered write is on the disk, wherever a process dies and whatever the disk does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from indexer.errors import UserError
from indexer.live.log import STEPS, LogReplaced, WriteLog
from indexer.live.write import LiveDocument, Retraction, Write, compact_log, latest_versions

REPOSITORY = Path(__file__).parents[3]

KILLED = """
import os, signal, sys
from pathlib import Path
import indexer.live.log
from indexer.live.log import WriteLog

def reached(step):
    if step == sys.argv[1]:
        os.kill(os.getpid(), signal.SIGKILL)

log = WriteLog(Path(sys.argv[2]))
with log.locked():
    log.read()
    indexer.live.log.reached = reached
    if sys.argv[1] in ("written", "synced"):
        log.append(log.draft("r", (), ("new",)))
    log.close()
log.fold(log.sequence)
"""


def make_document(name: str, text: str = "text") -> LiveDocument:
    """Return a document with one passage and a vector of its own."""
    vector = np.full((1, 4), len(name) + len(text), dtype=np.float32)
    return LiveDocument(name, None, text, {"price": 1}, ((0, len(text)),), vector)


def write(data: Path, *documents: LiveDocument, deleted: tuple[str, ...] = ()) -> None:
    """Append a write, like a process of its own."""
    log = WriteLog(data)
    with log.locked():
        log.read()
        log.append(log.draft("recipe", documents, deleted))


def read_texts(log: WriteLog) -> dict[str, str | None]:
    """Read on; return the text of each document of the new writes, or None where it was deleted."""
    with log.shared():
        return {name: version and version.text for name, version in latest_versions(log.read()).items()}


def list_files(data: Path) -> list[str]:
    """Return the names of the log's files."""
    return sorted(path.name for path in (data / "live").glob("*.log"))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """A reader gets each write once, in order, with vectors to the bit, and only what is new the next time."""
    log = WriteLog(tmp_path)
    assert read_texts(log) == {}
    assert not log.has_new()
    write(tmp_path, make_document("a"), make_document("ü\n", "line\nend\r\u2028"), deleted=("b",))
    assert log.has_new()
    with log.shared():
        (first,) = log.read()
    assert (first.sequence, first.recipe, first.deleted) == (1, "recipe", ("b",))
    assert [put.id for put in first.documents] == ["a", "ü\n"]
    assert first.documents[1].text == "line\nend\r\u2028"
    assert first.documents[0].vectors.tobytes() == make_document("a").vectors.tobytes()
    assert not log.has_new()
    write(tmp_path, make_document("a", "second"), deleted=("ü\n",))
    assert read_texts(log) == {"a": "second", "ü\n": None}
    assert read_texts(WriteLog(tmp_path)) == {"a": "second", "ü\n": None, "b": None}


@pytest.mark.parametrize("cut", [1, 30, -1])
def test_an_unfinished_last_line_is_dropped_and_overwritten(tmp_path: Path, cut: int) -> None:
    """An unfinished line of a killed writer is not read, and the next write takes its place."""
    write(tmp_path, make_document("a"))
    (path,) = (tmp_path / "live").glob("*.log")
    complete = path.read_bytes()
    write(tmp_path, make_document("b"))
    path.write_bytes(path.read_bytes()[: len(complete) + cut] if cut > 0 else path.read_bytes()[:cut])
    assert read_texts(WriteLog(tmp_path)) == {"a": "text"}
    write(tmp_path, make_document("c"))
    assert read_texts(WriteLog(tmp_path)) == {"a": "text", "c": "text"}
    assert path.read_bytes().startswith(complete)


@pytest.mark.parametrize("offset", [3, 40, 200])
def test_a_flipped_bit_is_refused(tmp_path: Path, offset: int) -> None:
    """A damaged line is named with its file and a remedy, and nothing after it counts as read."""
    write(tmp_path, make_document("a"))
    write(tmp_path, make_document("b"))
    (path,) = (tmp_path / "live").glob("*.log")
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.write_bytes(content)
    log = WriteLog(tmp_path)
    with pytest.raises(UserError, match=r"writes-0000000000000001\.log: the line at byte 0 .* restore") as caught:
        log.read()
    assert log.sequence == 0, caught


def test_two_processes_write_in_turn(tmp_path: Path) -> None:
    """Writers of several processes wait for each other: no line is lost and no number given twice."""
    program = """
import sys
from pathlib import Path
from indexer.live.log import WriteLog
for number in range(40):
    log = WriteLog(Path(sys.argv[1]))
    with log.locked():
        log.read()
        log.append(log.draft("r", (), (f"{sys.argv[2]}-{number}",)))
"""
    writers = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path), name], cwd=REPOSITORY) for name in "abc"]
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0, 0]
    writes = WriteLog(tmp_path).read()
    assert [entry.sequence for entry in writes] == list(range(1, 121))
    assert {entry.deleted[0] for entry in writes} == {f"{name}-{number}" for name in "abc" for number in range(40)}


def test_folding_keeps_the_newest_versions(tmp_path: Path) -> None:
    """Folded files hold the newest version of each document and the deletions; readers lose nothing, wherever they are."""
    readers = [WriteLog(tmp_path) for _ in range(4)]
    known: list[dict[str, str | None]] = [{} for _ in readers]
    for number, put in enumerate(
        (make_document("a"), make_document("b"), make_document("a", "second"), make_document("c"))
    ):
        write(tmp_path, put, deleted=("gone",) if number == 1 else ())
        known[number] |= read_texts(readers[number])
    log = WriteLog(tmp_path)
    with log.locked():
        log.read()
        log.close()
    write(tmp_path, make_document("b", "later"))
    log.fold(4)
    assert list_files(tmp_path) == ["folded-0000000000000004.log", "writes-0000000000000005.log"]
    everything = {"a": "second", "b": "later", "c": "text", "gone": None}
    for reader, before in zip(readers, known, strict=True):
        assert before | read_texts(reader) == everything
    assert read_texts(WriteLog(tmp_path)) == everything
    (folded, _) = sorted((tmp_path / "live").glob("*.log"))
    assert b'"text": "text"' in folded.read_bytes()
    lines = [Write.parse(line) for line in folded.read_bytes().splitlines()]
    assert [[put.id for put in line.documents] for line in lines] == [["b"], ["a"], ["c"]]
    with log.locked():
        log.read()
        log.close()
    log.fold(5)
    assert read_texts(WriteLog(tmp_path)) == everything
    assert list_files(tmp_path) == ["folded-0000000000000005.log", "writes-0000000000000006.log"]


def test_an_open_segment_is_not_folded(tmp_path: Path) -> None:
    """Folding a segment that still grows would lose a write: it is refused."""
    write(tmp_path, make_document("a"))
    with pytest.raises(ValueError, match="not closed"):
        WriteLog(tmp_path).fold(1)
    assert read_texts(WriteLog(tmp_path)) == {"a": "text"}


@pytest.mark.parametrize("step", STEPS)
def test_a_kill_loses_nothing(tmp_path: Path, step: str) -> None:
    """Killed at any point of writing, closing and folding, the log holds every earlier write exactly once."""
    write(tmp_path, make_document("a"), make_document("b"))
    write(tmp_path, make_document("a", "second"))
    killed = subprocess.run([sys.executable, "-c", KILLED, step, str(tmp_path)], cwd=REPOSITORY, check=False)
    assert killed.returncode == -signal.SIGKILL
    expected: dict[str, str | None] = {"a": "second", "b": "text"}
    after = read_texts(WriteLog(tmp_path))
    if step == "synced":
        expected["new"] = None
    elif step == "written":  # perhaps on the disk, perhaps not: it was never answered
        after.pop("new", None)
    assert after == expected
    write(tmp_path, make_document("c"))
    log = WriteLog(tmp_path)
    with log.locked():
        log.read()
        log.close()
    log.fold(log.sequence)
    after = read_texts(WriteLog(tmp_path))
    after.pop("new", None)
    expected.pop("new", None)
    assert after == {**expected, "c": "text"}
    assert len(list_files(tmp_path)) == 2


def test_a_full_disk_leaves_the_log_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that was written in part is taken back, and the log takes the next write when there is space again."""
    write(tmp_path, make_document("a"))
    (path,) = (tmp_path / "live").glob("*.log")
    before = path.read_bytes()
    real, calls = os.write, []

    def write_part(descriptor: int, content: memoryview) -> int:
        calls.append(descriptor)
        if len(calls) > 1:
            raise OSError(28, "No space left on device")
        return real(descriptor, content[:20])

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", write_part)
        with pytest.raises(OSError, match="No space"):
            write(tmp_path, make_document("b"))
    assert path.read_bytes() == before
    write(tmp_path, make_document("c"))
    assert read_texts(WriteLog(tmp_path)) == {"a": "text", "c": "text"}


def test_writes_are_flushed_before_they_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each append flushes the segment after its bytes are written; the first one also flushes the folder's entry."""
    calls: list[tuple[str, str]] = []
    real_write, real_sync = os.write, os.fsync

    def name_of(descriptor: int) -> str:
        return Path(f"/proc/self/fd/{descriptor}").readlink().name

    def trace_write(descriptor: int, content: memoryview) -> int:
        calls.append(("write", name_of(descriptor)))
        return real_write(descriptor, content)

    def trace_sync(descriptor: int) -> None:
        calls.append(("sync", name_of(descriptor)))
        real_sync(descriptor)

    monkeypatch.setattr(os, "write", trace_write)
    monkeypatch.setattr(os, "fsync", trace_sync)
    segment = "writes-0000000000000001.log"
    write(tmp_path, make_document("first"))
    assert calls == [("write", segment), ("sync", segment), ("sync", "live")]
    calls.clear()
    write(tmp_path, make_document("second"))
    assert calls == [("write", segment), ("sync", segment)]


def test_a_folded_log_is_flushed_before_the_old_files_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folding flushes the new file and its name before it removes the segments whose writes it holds."""
    write(tmp_path, make_document("a"))
    log = WriteLog(tmp_path)
    with log.locked():
        log.read()
        log.close()
    states: list[tuple[str, list[str]]] = []
    real = os.fsync

    def trace(descriptor: int) -> None:
        states.append((Path(f"/proc/self/fd/{descriptor}").readlink().name, list_files(tmp_path)))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", trace)
    log.fold(1)
    segment, closed, folded = (
        "writes-0000000000000001.log",
        "writes-0000000000000002.log",
        "folded-0000000000000001.log",
    )
    assert states[0] == (".folding", [segment, closed])
    assert states[1] == ("live", [folded, segment, closed])
    assert states[2] == ("live", [folded, closed])


def test_writes_that_were_not_taken_are_read_again(tmp_path: Path) -> None:
    """The position of a reader moves once its block has succeeded: what failed comes again, and then only once."""
    write(tmp_path, make_document("a"))
    log = WriteLog(tmp_path)
    with pytest.raises(MemoryError), log.reading():
        raise MemoryError
    assert (log.sequence, log.has_new()) == (0, True)
    with log.reading() as writes:
        assert [entry.ids for entry in writes] == [["a"]]
    assert (log.sequence, log.has_new(), log.read()) == (1, False, [])


@pytest.mark.parametrize("later", [0, 1, 5])
def test_a_log_that_was_replaced_is_noticed(tmp_path: Path, later: int) -> None:
    """A reader notices an older copy of the log in place of the one that it read, also once that one has grown."""
    write(tmp_path, make_document("a"))
    (path,) = (tmp_path / "live").glob("*.log")
    copy = path.read_bytes()
    write(tmp_path, make_document("b"))
    log = WriteLog(tmp_path)
    log.read()
    path.write_bytes(copy)
    for number in range(later):
        write(tmp_path, make_document(f"later {number}"))
    assert log.has_new() or later == 1
    with pytest.raises(LogReplaced):
        log.read()
    path.unlink()
    assert log.has_new()
    with pytest.raises(LogReplaced, match="gone"):
        log.read()


def test_numbers_go_on_behind_the_names_of_the_files(tmp_path: Path) -> None:
    """A number is given once, also where the log holds no line of the last numbers that were given."""
    write(tmp_path, make_document("a"))
    log = WriteLog(tmp_path)
    with log.locked():
        log.read()
        log.close()
    log.fold(1)
    (tmp_path / "live" / "folded-0000000000000001.log").unlink()
    write(tmp_path, make_document("b"))
    assert [entry.sequence for entry in WriteLog(tmp_path).read()] == [2]


def test_writes_that_were_set_aside_supersede_nothing(tmp_path: Path) -> None:
    """Folding keeps the version before a write that was set aside, and that write too, until it is retracted."""
    write(tmp_path, make_document("a", "good"))
    write(tmp_path, make_document("a", "unfit"))
    writes = WriteLog(tmp_path).read()
    assert [entry.documents[0].text for entry in compact_log(writes, {2})] == ["good", "unfit"]
    forgotten = Write(3, "", (), (), writes[0].time, Retraction(2, frozenset("a")))
    assert [entry.sequence for entry in compact_log([*writes, forgotten], {2})] == [3]
