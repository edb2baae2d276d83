"""Corpus: every row is checked before it is used, and the documents are streamed without the rejected rows."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from indexer.corpus.corpus import Corpus, Reject, write_rejects
from indexer.corpus.formats.jsonl import JsonReader
from indexer.errors import UserError

ROWS: list[dict[str, Any]] = [
    {"id": "a", "title": "First", "text": "one", "year": 1990, "share": 0.5, "open": True},
    {"id": "b", "title": None, "text": "two, «zwei»\nlines", "year": 2001, "share": 1.25, "open": False},
    {"id": "c", "title": "Third", "text": "three", "year": None, "share": None, "open": None},
]


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    """Write ``rows`` in the format that the suffix names; return the path as a spec."""
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)
    return str(path)


def documents(corpus: Corpus) -> list[dict[str, Any]]:
    """Return all documents of a corpus."""
    return [row for batch in corpus.batches() for row in batch.to_pylist()]


def ids(corpus: Corpus) -> list[str]:
    """Return the ids of all documents of a corpus."""
    return [row["id"] for row in documents(corpus)]


@pytest.fixture(scope="module")
def flawed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return 10,000 rows of Parquet, three of which are no documents."""
    rows = [{"id": f"doc{row}", "text": f"text {row}"} for row in range(1, 10_001)]
    rows[16]["text"] = " \n"
    rows[4_999]["id"] = "doc12"
    rows[9_998]["id"] = ""
    return write(tmp_path_factory.mktemp("flawed") / "flawed.parquet", rows)


def test_bad_rows_are_refused(flawed: str) -> None:
    """Three bad rows in 10,000 stop the command with one line that names file, rows, reasons and the remedy."""
    with pytest.raises(UserError) as caught:
        Corpus.check(flawed)
    message = str(caught.value)
    assert "\n" not in message
    assert f"{flawed} row 17 (id 'doc17'): empty text" in message
    assert f"{flawed} row 5000 (id 'doc12'): duplicate id (first in row 12)" in message
    assert f"{flawed} row 9999: missing id" in message
    assert message.endswith("--skip-bad-rows")


def test_bad_rows_are_skipped(flawed: str) -> None:
    """With skip_bad_rows the same three rows, and no others, are missing from the documents and named as rejects."""
    corpus = Corpus.check(flawed, skip_bad_rows=True)
    assert (corpus.rows, corpus.documents) == (10_000, 9_997)
    assert [(reject.row, reject.id) for reject in corpus.rejects] == [(17, "doc17"), (5000, "doc12"), (9999, None)]
    assert ids(corpus) == [f"doc{row}" for row in range(1, 10_001) if row not in (17, 5000, 9999)]


def test_many_bad_rows(tmp_path: Path) -> None:
    """The message shows five rejects and counts the others."""
    spec = write(tmp_path / "a.jsonl", [{"id": str(row), "text": None if row > 3 else "words"} for row in range(20)])
    with pytest.raises(UserError, match=r"row 5 .*row 9 [^;]*; and 11 more; ") as caught:
        Corpus.check(spec)
    assert "row 10" not in str(caught.value)


def test_write_rejects(flawed: str, tmp_path: Path) -> None:
    """Rejects are written as JSON lines that say file, row, id and reason."""
    write_rejects(tmp_path / "rejects.jsonl", Corpus.check(flawed, skip_bad_rows=True).rejects)
    lines = [json.loads(line) for line in (tmp_path / "rejects.jsonl").read_text().splitlines()]
    assert lines[0] == {"file": flawed, "row": 17, "id": "doc17", "reason": "empty text"}
    assert len(lines) == 3


def test_rejects_of_every_kind_are_in_order(tmp_path: Path) -> None:
    """Rows that cannot be read and rows that are no documents share one list, in corpus order, called by their line."""
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": 1, "text": "a"}\n\n{"id": 1, "text": "b"}\n{"id\n{"id": 4, "text": 5}\n{"text": "c"}\n')
    corpus = Corpus.check(str(path), skip_bad_rows=True)
    assert [(reject.row, reject.id) for reject in corpus.rejects] == [(3, "1"), (4, None), (5, "4"), (6, None)]
    assert corpus.rejects[0] == Reject(str(path), 3, "1", "duplicate id (first in row 1)")
    assert corpus.rejects[2].reason == "column 'text' holds a number, not text"
    assert (corpus.rows, corpus.documents, ids(corpus)) == (5, 1, ["1"])


def test_duplicates_across_files(tmp_path: Path) -> None:
    """A duplicate id in another file names the first file and row; all but the first are refused."""
    write(tmp_path / "a.parquet", [{"id": "x", "text": "1"}, {"id": "y", "text": "2"}])
    write(tmp_path / "b.parquet", [{"id": "z", "text": "3"}, {"id": "y", "text": "4"}, {"id": "y", "text": "5"}])
    corpus = Corpus.check(str(tmp_path), skip_bad_rows=True)
    reason = f"duplicate id (first in {tmp_path}/a.parquet row 2)"
    assert corpus.rejects == [Reject(f"{tmp_path}/b.parquet", row, "y", reason) for row in (2, 3)]
    assert [row["text"] for row in documents(corpus)] == ["1", "2", "3"]


def test_refused_row_does_not_take_the_id(tmp_path: Path) -> None:
    """A row that is refused for its text leaves its id to a later row."""
    spec = write(tmp_path / "a.csv", [{"id": "x", "text": ""}, {"id": "x", "text": "words"}])
    corpus = Corpus.check(spec, skip_bad_rows=True)
    assert [(reject.row, reject.reason) for reject in corpus.rejects] == [(1, "empty text")]
    assert ids(corpus) == ["x"]


@pytest.mark.parametrize("suffix", ["parquet", "csv", "tsv", "jsonl"])
def test_formats_agree(tmp_path: Path, suffix: str) -> None:
    """The same rows give the same documents and the same types in every format."""
    corpus = Corpus.check(write(tmp_path / f"a.{suffix}", ROWS))
    metadata = pa.struct([("year", pa.int64()), ("share", pa.float64()), ("open", pa.bool_())])
    fields = [("id", pa.string()), ("title", pa.string()), ("text", pa.string()), ("metadata", metadata)]
    assert corpus.schema == pa.schema(fields)
    assert all(batch.schema == corpus.schema for batch in corpus.batches())
    assert documents(corpus) == [
        {
            **{name: row[name] for name in ("id", "title", "text")},
            "metadata": {name: row[name] for name in ("year", "share", "open")},
        }
        for row in ROWS
    ]
    assert corpus.id_from == "column 'id'"


def test_inputs(tmp_path: Path) -> None:
    """The inputs give name, size and SHA-256 of every file."""
    spec = write(tmp_path / "a.csv", ROWS)
    content = Path(spec).read_bytes()
    [entry] = Corpus.check(spec).inputs
    assert (entry.name, entry.size, entry.sha256) == (spec, len(content), hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_ids_from_row_numbers(tmp_path: Path, suffix: str) -> None:
    """Without an id column the number of the row in the whole corpus is the id; a refused row keeps its number."""
    (tmp_path / "corpus").mkdir()
    write(tmp_path / "corpus" / f"a.{suffix}", [{"text": "1", "n": 1}, {"text": "", "n": 2}, {"text": "3", "n": 3}])
    write(tmp_path / "corpus" / f"b.{suffix}", [{"text": "4", "n": 4}])
    corpus = Corpus.check(str(tmp_path / "corpus"), skip_bad_rows=True)
    assert ids(corpus) == ["1", "3", "4"]
    assert corpus.id_from == "row number"
    assert corpus.notes == ["ids were made from the row number: the corpus has no column 'id'"]


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_limit(tmp_path: Path, suffix: str) -> None:
    """A limit takes the first rows, across files, and does not check the rows after them."""
    write(tmp_path / f"a.{suffix}", [{"id": "1", "text": "a"}, {"id": "2", "text": "b"}])
    write(tmp_path / f"b.{suffix}", [{"id": "3", "text": "c"}, {"id": "3", "text": ""}])
    corpus = Corpus.check(str(tmp_path), limit=3)
    assert (corpus.rows, ids(corpus)) == (3, ["1", "2", "3"])
    with pytest.raises(UserError, match="--limit 0"):
        Corpus.check(str(tmp_path), limit=0)


def test_named_columns(tmp_path: Path) -> None:
    """The columns named by the flags are id, title and text; all others are metadata, whatever they are called."""
    rows = [{"key": 7, "head": "h", "body": "b", "id": "other", "title": "t", "text": "x"}]
    corpus = Corpus.check(write(tmp_path / "a.jsonl", rows), id_column="key", text_column="body", title_column="head")
    metadata = {"id": "other", "title": "t", "text": "x"}
    assert documents(corpus) == [{"id": "7", "title": "h", "text": "b", "metadata": metadata}]


@pytest.mark.parametrize("none", ["", "none"])
def test_no_title(tmp_path: Path, none: str) -> None:
    """Titles can be switched off; the column is metadata then."""
    corpus = Corpus.check(write(tmp_path / "a.parquet", [{"id": "1", "title": "t", "text": "x"}]), title_column=none)
    assert documents(corpus) == [{"id": "1", "title": None, "text": "x", "metadata": {"title": "t"}}]


@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
def test_title_of_another_type(tmp_path: Path, suffix: str) -> None:
    """A column "title" that holds no text, and is not named by a flag, is metadata; a note says so."""
    corpus = Corpus.check(write(tmp_path / f"a.{suffix}", [{"id": "1", "title": 5, "text": "x"}]))
    assert documents(corpus) == [{"id": "1", "title": None, "text": "x", "metadata": {"title": 5}}]
    assert corpus.notes == ["column 'title' is metadata: it does not hold text"]


def test_no_metadata(tmp_path: Path) -> None:
    """A corpus of id and text alone has no metadata field."""
    corpus = Corpus.check(write(tmp_path / "a.csv", [{"id": "1", "text": "x"}]))
    assert corpus.schema.names == ["id", "title", "text"]
    assert documents(corpus) == [{"id": "1", "title": None, "text": "x"}]


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
@pytest.mark.parametrize(
    ("row", "options", "flag", "column"),
    [
        ({"id": "1", "body": "x"}, {}, "--text-column", "text"),
        ({"id": "1", "text": "x"}, {"text_column": "body"}, "--text-column", "body"),
        ({"id": "1", "text": "x"}, {"id_column": "key"}, "--id-column", "key"),
        ({"id": "1", "text": "x"}, {"title_column": "head"}, "--title-column", "head"),
    ],
)
def test_missing_column(
    tmp_path: Path, *, suffix: str, row: dict[str, Any], options: dict[str, Any], flag: str, column: str
) -> None:
    """A missing column is named with the file, the columns that exist and the flag to set."""
    spec = write(tmp_path / f"a.{suffix}", [row])
    with pytest.raises(UserError) as caught:
        Corpus.check(spec, skip_bad_rows=True, **options)
    existing = ", ".join(map(repr, row))
    assert str(caught.value).startswith(
        f"{spec}: no column {column!r} among {existing}; name the right one with {flag}"
    )


@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
@pytest.mark.parametrize(
    ("row", "options", "flag", "problem"),
    [
        ({"id": "1", "text": 5}, {}, "--text-column", "'text' holds int64, not text"),
        ({"id": True, "text": "x"}, {"id_column": "id"}, "--id-column", "'id' holds bool, not text or whole numbers"),
        ({"id": "1", "n": 5, "text": "x"}, {"title_column": "n"}, "--title-column", "'n' holds int64, not text"),
    ],
)
def test_wrong_type(
    tmp_path: Path, *, suffix: str, row: dict[str, Any], options: dict[str, Any], flag: str, problem: str
) -> None:
    """A column of a type that cannot play its role is named with the file, the columns that exist and the flag."""
    spec = write(tmp_path / f"a.{suffix}", [row])
    with pytest.raises(UserError) as caught:
        Corpus.check(spec, skip_bad_rows=True, **options)
    existing = ", ".join(map(repr, row))
    assert str(caught.value) == f"{spec}: column {problem}; name another of {existing} with {flag}"


def test_missing_column_in_a_later_file(tmp_path: Path) -> None:
    """The file that lacks the id or text column of the others is the one that is named."""
    write(tmp_path / "a.csv", [{"id": "1", "text": "x"}])
    write(tmp_path / "b.csv", [{"key": "2", "text": "y"}])
    with pytest.raises(UserError, match=r"b\.csv: no column 'id' among 'key', 'text'"):
        Corpus.check(str(tmp_path))


def test_schema_is_checked_before_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong column is reported after a look at the first rows, and not after hours of reading."""
    spec = write(tmp_path / "a.parquet", [{"id": "1", "body": "x"}])

    def refuse(*_: object) -> None:
        raise AssertionError("a row was read")

    monkeypatch.setattr("indexer.corpus.corpus._check_rows", refuse)
    with pytest.raises(UserError, match="no column 'text'"):
        Corpus.check(spec)
    with pytest.raises(AssertionError, match="a row was read"):
        Corpus.check(spec, text_column="body")


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())]
)
def test_text_types(tmp_path: Path, kind: pa.DataType) -> None:
    """Every Arrow type that holds text is accepted for the text column."""
    pq.write_table(pa.table({"id": ["1"], "text": pa.array(["words"]).cast(kind)}), tmp_path / "a.parquet")
    assert documents(Corpus.check(str(tmp_path)))[0]["text"] == "words"


@pytest.mark.parametrize("kind", [pa.int8(), pa.int64(), pa.uint64()])
def test_id_types(tmp_path: Path, kind: pa.DataType) -> None:
    """Whole numbers of any size are ids; null is a missing id."""
    pq.write_table(pa.table({"id": pa.array([7, None], kind), "text": ["a", "b"]}), tmp_path / "a.parquet")
    corpus = Corpus.check(str(tmp_path), skip_bad_rows=True)
    assert ids(corpus) == ["7"]
    assert [(reject.row, reject.reason) for reject in corpus.rejects] == [(2, "missing id")]


@pytest.mark.parametrize("content", ["id,text\n", "id,text\n1,\n2, \n"])
def test_no_document(tmp_path: Path, content: str) -> None:
    """A corpus without a single document is refused even where bad rows are skipped."""
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(UserError, match=r"a.csv: (holds no rows|no row is a document)"):
        Corpus.check(str(tmp_path / "a.csv"), skip_bad_rows=True)


def test_empty_part(tmp_path: Path) -> None:
    """An empty file among others is no error."""
    (tmp_path / "a.jsonl").write_text("")
    write(tmp_path / "b.jsonl", [{"id": "1", "text": "x"}])
    assert ids(Corpus.check(str(tmp_path))) == ["1"]


@pytest.mark.parametrize("rows", [1, 700, 1024, 2500, 10_000])
def test_batch_size(flawed: str, rows: int) -> None:
    """Every batch but the last has the requested size, the last has the remainder; no document is lost between them."""
    sizes = [batch.num_rows for batch in Corpus.check(flawed, skip_bad_rows=True).batches(rows)]
    assert sizes == [rows] * (9_997 // rows) + ([9_997 % rows] if 9_997 % rows else [])


def test_batches_can_be_read_again(flawed: str) -> None:
    """Batches are the same each time they are read: a killed build can resume."""
    corpus = Corpus.check(flawed, skip_bad_rows=True)
    assert list(corpus.batches(512)) == list(corpus.batches(512))


def test_change_between_the_passes(tmp_path: Path) -> None:
    """A file that was changed, or removed, after the check is noticed before its rows are used."""
    spec = write(tmp_path / "a.csv", ROWS)
    corpus = Corpus.check(spec)
    os.utime(spec, ns=(1, 1))
    with pytest.raises(UserError, match=r"a\.csv: changed while it was read"):
        next(corpus.batches())
    Path(spec).unlink()
    with pytest.raises(UserError, match=r"a\.csv: not readable"):
        next(corpus.batches())


def test_memory_is_bounded(tmp_path: Path) -> None:
    """200,000 rows of 100 MB are checked and streamed in a fraction of that: batches are read, not the table."""
    rows, path = 200_000, tmp_path / "large.parquet"
    schema = pa.schema([("id", pa.int64()), ("text", pa.string())])
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, rows, 20_000):
            texts = [f"{row} " + "word " * 100 for row in range(start, start + 20_000)]
            writer.write_table(pa.table({"id": range(start, start + 20_000), "text": texts}, schema))
    del texts
    allocated = pa.total_allocated_bytes()
    peak = 0
    tracemalloc.start()
    try:
        corpus = Corpus.check(str(path))
        documents = 0
        for batch in corpus.batches():
            documents += batch.num_rows
            peak = max(peak, pa.total_allocated_bytes() - allocated)
        python_peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert documents == rows
    assert peak < 25_000_000  # Arrow's own memory: a row group of 20,000 rows decodes to 10 MB
    assert python_peak < 24_000_000  # digests and row numbers are 4.8 MB, their sorted order as much again


def test_a_key_twice_in_a_line_is_a_bad_row(tmp_path: Path) -> None:
    """A JSON line with a key twice is named with its key and line: the last value does not win silently."""
    path = tmp_path / "corpus.jsonl"
    path.write_text('{"id": "1", "text": "One."}\n{"id": "2", "text": "Two.", "text": "Three."}\n', encoding="utf-8")
    records = dict(JsonReader().read_records(path))
    assert records[1] == {"id": "1", "text": "One."}
    assert "'text' is there twice" in str(records[2])
