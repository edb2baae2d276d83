"""Training frame from a corpus."""

from __future__ import annotations

import csv
import json
import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import psycopg
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from postgres import PASSWORD
from stories import STORIES

from indexer.errors import UserError
from trainer.data.prepare import prepare, read_frame
from trainer.data.settings import PrepareSettings

REPOSITORY = Path(__file__).parents[3]
COLUMNS = ["id", "document", "title", "text", "query_1", "query_2", "query_3", "query_4", "query_5"]
LONG = "The cat sits in the garden. " * 50


def rows(path: Path) -> list[tuple[str, str, str | None, str]]:
    """Return the first four columns of a frame, row by row."""
    return [(row["id"], row["document"], row["title"], row["text"]) for row in read_frame(path).to_pylist()]


def write(path: Path, *documents: tuple[str, str | None]) -> str:
    """Write ids and texts as a Parquet corpus and return its name."""
    ids, texts = zip(*documents, strict=True)
    pq.write_table(pa.table({"id": list(ids), "text": list(texts)}), path)
    return str(path)


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl", "sqlite", "postgres"])
def test_every_source(tmp_path: Path, corpus: Path, kind: str, request: pytest.FixtureRequest) -> None:
    """Documents from files and databases become the same frame; its query columns are there and empty."""
    source, query = str(corpus.with_suffix(f".{kind}")), None
    table = pq.read_table(corpus).select(["id", "title", "text"])
    if kind == "csv":
        pa.csv.write_csv(table, source)
    elif kind == "jsonl":
        Path(source).write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
    elif kind == "sqlite":
        with sqlite3.connect(tmp_path / "stories.db") as connection:
            connection.execute("create table stories (id, title, text)")
            connection.executemany("insert into stories values (?, ?, ?)", STORIES)
        connection.close()
        source, query = f"sqlite:///{tmp_path}/stories.db", "select * from stories order by id"
    elif kind == "postgres":
        folder = request.getfixturevalue("postgres")
        with psycopg.connect(host=str(folder), user="postgres", autocommit=True) as server:
            server.execute("drop table if exists stories")
            server.execute("create table stories (id text, title text, text text)")
            server.cursor().executemany("insert into stories values (%s, %s, %s)", STORIES)
        source, query = f"postgresql://postgres@/postgres?host={folder}", "select * from stories order by id"
    prepared = prepare(source, PrepareSettings(query=query), tmp_path / "data")
    assert prepared.path == tmp_path / "data" / "training" / "frame.parquet"
    assert (prepared.rows, prepared.documents, prepared.fresh) == (6, 6, True)
    assert rows(prepared.path) == [(key, key, title, text) for key, title, text in STORIES]
    frame = read_frame(prepared.path)
    assert frame.schema.names == COLUMNS
    assert set(frame.schema.types) == {pa.string()}
    assert all(frame.column(name).null_count == 6 for name in COLUMNS[4:])


def test_pieces_keep_the_id_of_their_document(tmp_path: Path) -> None:
    """A text that is split gives rows that are numbered from 0; the others keep the id that they have."""
    source = write(tmp_path / "a.parquet", ("a", "x" * 1024), ("b", "y" * 1025))
    prepared = prepare(source, PrepareSettings(unit="chars", split_over=1024, segment=100), tmp_path)
    assert (prepared.rows, prepared.documents) == (12, 2)
    assert rows(prepared.path)[0] == ("a", "a", None, "x" * 1024)
    assert rows(prepared.path)[1:3] == [("b#0", "b", None, "y" * 100), ("b#1", "b", None, "y" * 100)]
    assert rows(prepared.path)[-1] == ("b#10", "b", None, "y" * 25)


def test_tokens_of_the_live_model(data: Path, tmp_path: Path) -> None:
    """By default pieces end with sentences and are as long as the live model's longest input, here 32 tokens."""
    source = write(tmp_path / "a.parquet", ("a", LONG))
    frame_rows = rows(prepare(source, PrepareSettings(), data).path)
    assert [row[0] for row in frame_rows] == [f"a#{number}" for number in range(13)]
    assert {row[3] for row in frame_rows[:-1]} == {" ".join(["The cat sits in the garden."] * 4)}


def test_ids_stay_unique(tmp_path: Path) -> None:
    """A document with the id of a piece of another is refused; nothing is written."""
    settings = PrepareSettings(unit="chars", split_over=4, segment=4)
    clash = write(tmp_path / "a.parquet", ("b#1", "abc"), ("b", "abcdefgh"), ("c#7", "abc"))
    with pytest.raises(UserError, match="id 'b#1': a document and a piece of the document 'b' both have this id"):
        prepare(clash, settings, tmp_path)
    assert not list((tmp_path / "training").iterdir())
    fine = write(tmp_path / "b.parquet", ("b#2", "abc"), ("b", "abcdefgh"))
    assert [row[0] for row in rows(prepare(fine, settings, tmp_path).path)] == ["b#2", "b#0", "b#1"]


def test_up_to_date(tmp_path: Path) -> None:
    """A second start with the same inputs is up to date; other rows, other settings and --force write the frame again."""
    source = write(tmp_path / "a.parquet", ("a", LONG), ("b", "short"))
    first = prepare(source, PrepareSettings(), tmp_path)
    stamp = first.path.stat().st_mtime_ns
    again = prepare(source, PrepareSettings(), tmp_path)
    assert (again.fresh, again.rows, again.documents) == (False, first.rows, 2)
    assert again.path.stat().st_mtime_ns == stamp
    assert prepare(source, PrepareSettings(force=True), tmp_path).fresh
    assert prepare(source, PrepareSettings(limit=1), tmp_path).fresh
    assert prepare(source, PrepareSettings(unit="chars"), tmp_path).fresh
    assert not prepare(source, PrepareSettings(unit="chars", split_over=1024, segment=100), tmp_path).fresh
    write(Path(source), ("a", LONG), ("b", "shorter"))
    assert prepare(source, PrepareSettings(unit="chars"), tmp_path).fresh
    first.path.write_bytes(first.path.read_bytes()[:-9])
    assert prepare(source, PrepareSettings(unit="chars"), tmp_path).fresh


def test_another_model_counts_other_tokens(tmp_path: Path, tiny_data: Path) -> None:
    """A frame made with another tokenizer is not up to date: the tokenizer decides where texts are cut."""
    source = write(tmp_path / "a.parquet", ("a", LONG))
    assert prepare(source, PrepareSettings(), tmp_path).rows == 2
    (tmp_path / "models").symlink_to(tiny_data / "models")
    prepared = prepare(source, PrepareSettings(), tmp_path)
    assert prepared.fresh and prepared.rows == 13


def test_csv_beside(tmp_path: Path) -> None:
    """On demand the frame is written as CSV too, and written again where it has become older than the frame."""
    source = write(tmp_path / "a.parquet", ("a", 'two "quoted"\nlines, ä'), ("b", "short"))
    settings = PrepareSettings(csv=True, out=tmp_path / "new" / "f.parquet")
    path = prepare(source, settings, tmp_path).path.with_suffix(".csv")
    with path.open(newline="", encoding="utf-8") as file:
        csv_rows = list(csv.reader(file))
    assert csv_rows == [
        COLUMNS,
        ["a", "a", "", 'two "quoted"\nlines, ä', *[""] * 5],
        ["b", "b", "", "short", *[""] * 5],
    ]
    path.unlink()
    assert not prepare(source, settings, tmp_path).fresh
    assert path.is_file()
    table = read_frame(settings.out)
    kinds = pa.array([["question", "title"], None])
    pq.write_table(table.append_column("kinds", kinds), settings.out)  # as the next stage fills it
    os.utime(path, ns=(0, 0))
    assert not prepare(source, settings, tmp_path).fresh
    assert path.read_text().splitlines()[2].endswith(',"question|title"')  # the second line of the first text


def test_bad_rows(tmp_path: Path) -> None:
    """A row that is no document is refused by its number, or left out and listed beside the frame."""
    source = write(tmp_path / "a.parquet", ("a", "words"), ("b", None))
    with pytest.raises(UserError, match=r"row 2 .*empty text"):
        prepare(source, PrepareSettings(), tmp_path)
    prepared = prepare(source, PrepareSettings(skip_bad_rows=True), tmp_path)
    assert (prepared.rows, prepared.documents) == (1, 1)
    rejects = prepared.path.with_suffix(".rejects.jsonl").read_text().splitlines()
    assert [json.loads(line)["reason"] for line in rejects] == ["empty text"]


def test_no_half_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupted write leaves no frame, or the earlier one."""
    source = write(tmp_path / "a.parquet", *[(str(number), "words") for number in range(3000)])
    before = prepare(source, PrepareSettings(limit=2), tmp_path).path
    done = []

    def break_off(*_: object) -> None:
        done.append(1)
        if len(done) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("trainer.data.prepare.Bar.advance", break_off)
    with pytest.raises(KeyboardInterrupt):
        prepare(source, PrepareSettings(), tmp_path)
    assert len(rows(before)) == 2
    assert list(before.parent.iterdir()) == [before]


@pytest.mark.parametrize("column", ["document", "query_4"])
def test_read_frame_names_the_missing_column(tmp_path: Path, column: str) -> None:
    """A Parquet file that is no frame is refused with the column that it lacks and the command that makes one."""
    frame = prepare(write(tmp_path / "a.parquet", ("a", "words")), PrepareSettings(), tmp_path).path
    pq.write_table(read_frame(frame).drop_columns([column]), frame)
    with pytest.raises(UserError, match=rf"frame\.parquet: has no column '{column}'.*python -m trainer prepare"):
        read_frame(frame)
    with pytest.raises(UserError, match=r"none\.parquet: no such file; .*python -m trainer prepare"):
        read_frame(tmp_path / "none.parquet")


def test_wrong_out(tmp_path: Path) -> None:
    """A frame is Parquet, and a path that cannot be written to is named."""
    source = write(tmp_path / "a.parquet", ("a", "words"))
    with pytest.raises(UserError, match=r"--out frame\.csv: give a name that ends in \.parquet"):
        prepare(source, PrepareSettings(out=Path("frame.csv")), tmp_path)
    (tmp_path / "folder.parquet").mkdir()
    with pytest.raises(UserError, match=r"folder\.parquet: cannot be written .*--out"):
        prepare(source, PrepareSettings(out=tmp_path / "folder.parquet"), tmp_path)


def test_command(tmp_path: Path, postgres: Path) -> None:
    """The command prints the path and nothing else, says when there is nothing to do, and never shows a password."""
    query = "select g as id, repeat('words ', 3) || g as text from generate_series(1, 2000) g order by g"
    source = f"postgresql+psycopg://reader:{PASSWORD}@/postgres?host={postgres}"
    errors = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-m", "trainer", "prepare", "--source", source, "--query", query],
            capture_output=True, text=True, check=False, cwd=REPOSITORY,
            env=os.environ | {"DOWSE_DATA": str(tmp_path)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"{tmp_path}/training/frame.parquet\n"
        assert PASSWORD not in done.stderr
        errors.append(done.stderr)
    assert re.search(r"^read: 2,000 rows in .* \([\d,]+ rows/s\)$", errors[0], re.MULTILINE)
    assert errors[0].endswith("2,000 rows of 2,000 documents\n")
    assert errors[1].endswith("up to date\n")
    frame = tmp_path / "training" / "frame.parquet"
    assert PASSWORD.encode() not in frame.read_bytes()
    assert b"reader:***@" in (pq.read_schema(frame).metadata or {})[b"dowse"]
