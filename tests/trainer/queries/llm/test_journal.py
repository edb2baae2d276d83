"""The journal: complete entries are found again, whatever interrupts the process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import trainer.queries.llm.journal
from indexer.errors import UserError
from trainer.queries.llm.journal import AnswerJournal, Entry


def entry(row: str, key: str = "k") -> Entry:
    """Return an entry of a row."""
    return Entry(row, key, "underfilled", [["claim", "El niño ñ 漢"]], {"copy": 1}, ["raw\nanswer \ud83d"], 2, "429")


def test_last_entry_of_a_row_counts(tmp_path: Path) -> None:
    """Entries are found in the same run and in the next, the later one of a row."""
    path = tmp_path / "new" / "journal.jsonl"
    with AnswerJournal(path) as journal:
        for row in ("a", "b", "a"):
            journal.add(entry(row, f"key {path.stat().st_size}"))
        found = {row: journal.get(row) for row in ("a", "b", "c")}
    assert found["c"] is None and found["a"] and found["b"]
    assert found["a"].key != found["b"].key != "key 0"
    assert found["a"].queries == [["claim", "El niño ñ 漢"]]
    with AnswerJournal(path) as journal:
        assert {row: journal.get(row) for row in ("a", "b", "c")} == found
        journal.forget("a")
        assert journal.get("a") is None and journal.get("b")
    assert len(path.read_text().splitlines()) == 3


@pytest.mark.parametrize("cut", [1, 5, 40, 10_000])
def test_incomplete_last_line_is_cut_off(tmp_path: Path, cut: int) -> None:
    """A kill in the middle of a line costs that line, and the next one begins on a line of its own."""
    path = tmp_path / "journal.jsonl"
    with AnswerJournal(path) as journal:
        journal.add(entry("a"))
        kept = path.stat().st_size
        journal.add(entry("b"))
    whole = path.read_bytes()
    path.write_bytes(whole[: max(kept, len(whole) - cut)])
    with AnswerJournal(path) as journal:
        assert journal.get("a") and journal.get("b") is None
        assert path.stat().st_size == kept
        journal.add(entry("c"))
    assert [json.loads(line)["id"] for line in path.read_text().splitlines()] == ["a", "c"]


def test_unreadable_lines_are_skipped_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line that was damaged, or written by another version, loses its own row only."""
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b'not json\n{"id": "x"}\n[1]\n\xff\n')
    with AnswerJournal(path) as journal:
        journal.add(entry("a"))
    assert "4 lines are not readable" in capsys.readouterr().err
    with AnswerJournal(path) as journal:
        assert journal.get("a") == entry_as_read("a")
        assert journal.get("x") is None


def entry_as_read(row: str) -> Entry:
    """Return an entry as it comes back: half a surrogate pair, which is no character, has become a question mark."""
    return Entry(row, "k", "underfilled", [["claim", "El niño ñ 漢"]], {"copy": 1}, ["raw\nanswer ?"], 2, "429")


def test_fresh_journal_keeps_the_old_one(tmp_path: Path) -> None:
    """Beginning anew keeps the earlier answers in another file."""
    path = tmp_path / "journal.jsonl"
    with AnswerJournal(path) as journal:
        journal.add(entry("a"))
    old = path.read_bytes()
    with AnswerJournal(path, fresh=True) as journal:
        assert journal.get("a") is None
    assert path.read_bytes() == b""
    assert (tmp_path / "journal.jsonl.old").read_bytes() == old
    with AnswerJournal(path, fresh=True):
        assert (tmp_path / "journal.jsonl.old").read_bytes() == old  # an empty one is no reason to lose it


def test_one_process_at_a_time(tmp_path: Path) -> None:
    """Two writers would mix their lines."""
    path = tmp_path / "journal.jsonl"
    with AnswerJournal(path), pytest.raises(UserError, match="another process is asking"), AnswerJournal(path):
        pass
    with AnswerJournal(path):
        pass


def test_written_through_at_most_a_second_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every line is with the operating system at once; the disk is waited for once a second, not once a line."""
    synced: list[int] = []
    monkeypatch.setattr(trainer.queries.llm.journal.os, "fsync", synced.append)
    now = [0.0]
    monkeypatch.setattr(trainer.queries.llm.journal.time, "monotonic", lambda: now[0])
    path = tmp_path / "journal.jsonl"
    with AnswerJournal(path) as journal:
        for row in range(30):
            now[0] += 0.1
            journal.add(entry(str(row)))
            assert path.read_bytes().count(b"\n") == row + 1
        assert len(synced) == 2
    assert len(synced) == 3


def test_path_that_cannot_be_written(tmp_path: Path) -> None:
    """A folder in the journal's place is an operator's error with the remedy."""
    with pytest.raises(UserError, match=r"cannot be written .*; choose another --out"), AnswerJournal(tmp_path):
        pass
