"""Files of a corpus: layouts of folders, compression and encodings as people have them."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from indexer.corpus.corpus import Corpus
from indexer.corpus.files import find_files
from indexer.corpus.formats.text_file import open_bytes
from indexer.errors import UserError

ROW = '{"id": 1, "text": "words"}\n'


@pytest.mark.parametrize("beside", ["queries/part-0.parquet", "qrels/test.parquet", "qrels/notes.txt"])
def test_beir_layout_in_folders(tmp_path: Path, beside: str) -> None:
    """In the Hub's copies of BEIR corpus and queries are folders of Parquet files; only the corpus is read."""
    for name in ("corpus/part-0.parquet", "corpus/part-1.parquet", beside):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        pq.write_table(pa.table({"_id": [name], "text": ["words"]}), tmp_path / name)
    assert [file.path.parent.name for file in find_files(str(tmp_path))] == ["corpus", "corpus"]


def test_compressed_json_array(tmp_path: Path) -> None:
    """An array in JSON may be compressed, too."""
    path = tmp_path / "a.json.gz"
    path.write_bytes(gzip.compress(json.dumps([{"id": 1, "text": "a"}, {"id": 2, "text": "b"}]).encode()))
    assert Corpus.check(str(path)).documents == 2


def test_several_members(tmp_path: Path) -> None:
    """Compressed files that were put together are read to their end."""
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(ROW.encode()) + gzip.compress(ROW.replace("1", "2").encode()))
    assert Corpus.check(str(path)).documents == 2


@pytest.mark.parametrize("ending", ["gz", "zst"])
def test_compressed_without_saying_so(tmp_path: Path, ending: str) -> None:
    """A compressed file is named as one where its name does not say it."""
    codec = {"gz": "gzip", "zst": "zstd"}[ending]
    (tmp_path / "a.jsonl").write_bytes(pa.compress(ROW.encode() * 9, codec=codec, asbytes=True))
    with pytest.raises(UserError, match=rf"a\.jsonl: is compressed; let its name end in \.{ending}"):
        Corpus.check(str(tmp_path / "a.jsonl"))


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.csv.gz", b"id,text\n1,a\n", "is not compressed; let its name end without .gz"),
        ("a.jsonl.gz", pa.compress(b"{}" * 9, codec="zstd", asbytes=True), "is compressed; let its name end in .zst"),
        # Without a time: the content is in the test's name, which has to be the same in every process.
        ("a.jsonl.zst", gzip.compress(b"{}", mtime=0), "is compressed; let its name end in .gz"),
        ("a.csv", b"PK\x03\x04\x14\0", "is a ZIP archive or an Excel workbook"),
        ("a.csv.gz", b"PK\x03\x04\x14\0", "is a ZIP archive or an Excel workbook"),
        ("a.jsonl", b"BZh91AY&SY", "is compressed with bzip2"),
        ("a.csv", b"PAR1\x15\x04", "is a Parquet file; let its name end in .parquet"),
        ("a.csv", b"SQLite format 3\0", "is an SQLite database; give sqlite:///"),
    ],
)
def test_another_format_than_the_name_says(tmp_path: Path, name: str, content: bytes, problem: str) -> None:
    """A file that is something else than its name says is refused as what it is, with the remedy."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=re.escape(f"{name}: {problem}")):
        Corpus.check(str(tmp_path / name))


def test_parts_without_rows_and_locks(tmp_path: Path) -> None:
    """Empty part files, as Spark writes them, and the lock files of office programs are no faults of a folder."""
    (tmp_path / "part-0.csv").write_bytes(b"")
    (tmp_path / "part-1.csv.gz").write_bytes(b"")
    (tmp_path / "part-2.csv").write_text("id,text\n1,a\n")
    (tmp_path / "~$part-2.csv").write_bytes(b"\x04user")
    assert Corpus.check(str(tmp_path)).documents == 1
    (tmp_path / "part-2.csv").write_bytes(b"")
    with pytest.raises(UserError, match="holds no rows"):
        Corpus.check(str(tmp_path))


@pytest.mark.parametrize(
    ("before", "sign"), [("sep=^\n", "^"), ("SEP=^\r\n", "^"), ("\n\r\n", ","), ("\ufeffsep=^\n", "^")]
)
def test_lines_before_the_header(tmp_path: Path, before: str, sign: str) -> None:
    """Blank lines, and the line in which Excel states the delimiter, come before the header; rows count from there."""
    (tmp_path / "a.csv").write_text(before + "id^text\n1^a\n2^b^c\n".replace("^", sign), newline="")
    corpus = Corpus.check(str(tmp_path / "a.csv"), skip_bad_rows=True)
    assert corpus.documents == 1
    assert [(reject.row, reject.reason) for reject in corpus.rejects] == [(2, "3 fields where the header has 2")]


def test_beir_layout_in_a_folder_of_its_own(tmp_path: Path) -> None:
    """The layout is known in the folder that an archive was unpacked to, too."""
    for name in ("corpus.jsonl", "queries.jsonl", "qrels/test.tsv"):
        path = tmp_path / "unpacked" / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(ROW)
    assert Corpus.check(str(tmp_path / "unpacked")).documents == 1


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        ('{"id": "1", "text": "' + "漢字だけの長い文章です" * 30 + '"}\n', "UTF-16LE"),
        ("id;text\n1;mañana\n", "UTF-16BE"),
        ("номер;текст\nодин;привет\n", "UTF-16LE"),
        ("номер;текст\nодин;привет\n", "UTF-16BE"),
        ("id;text\n1;mañana\n", "UTF-32LE"),
        ("id;text\n1;mañana\n", "UTF-32BE"),
    ],
)
def test_encodings_without_a_mark(tmp_path: Path, content: str, encoding: str) -> None:
    """Without a byte order mark an encoding shows by the zeros, whatever the script of the texts; the remedy works."""
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(content.encode(encoding)))
    with pytest.raises(UserError, match=rf"is {encoding}, not UTF-8; .* gzip -dc a\.jsonl\.gz \| iconv -f {encoding} "):
        open_bytes(path)


def test_code_page(tmp_path: Path) -> None:
    """Rows in a code page are named, with the remedy."""
    (tmp_path / "a.csv").write_bytes("id;text\n1;mañana\n2;noche\n".encode("cp1252"))
    with pytest.raises(UserError, match=r"a\.csv row 1: invalid UTF-8; if the file is in a code page"):
        Corpus.check(str(tmp_path / "a.csv"))
    (tmp_path / "a.csv").write_bytes("id;text\n1;mañana\n".encode("cp1252"))
    with pytest.raises(UserError, match=r"no row is a document: .*; if the file is in a code page"):
        Corpus.check(str(tmp_path / "a.csv"), skip_bad_rows=True)


def test_values_of_folders_count_as_content(tmp_path: Path) -> None:
    """The same file below another folder ``name=value`` is another input: an index of it is built anew."""
    checksums = []
    for place in ("year=2020", "year=2021", "plain"):
        folder = tmp_path / place / "x"
        folder.mkdir(parents=True)
        (folder / "a.jsonl").write_text(ROW)
        checksums += [entry.sha256 for entry in Corpus.check(f"{tmp_path}/{place[:4]}*{place[4:]}/x/a.jsonl").inputs]
    assert len(set(checksums)) == 3


def test_array_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An array that is one long line is read piece by piece; numbers may be long."""
    monkeypatch.setattr("indexer.corpus.formats.json_array.READ_BYTES", 64)
    rows = [{"id": row, "text": "é" * row, "n": 10**row} for row in range(1, 200)]
    (tmp_path / "a.json").write_text(json.dumps(rows, ensure_ascii=False))
    corpus = Corpus.check(str(tmp_path / "a.json"))
    assert [row["text"] for batch in corpus.batches() for row in batch.to_pylist()] == [row["text"] for row in rows]


@pytest.mark.parametrize(
    ("element", "reason"),
    [
        (b'{"id": 2, "text": }', "broken JSON: Expecting value at character 19"),
        (b"{'id': 2, 'text': [\"},\\\\\"]}", "broken JSON: Expecting property name"),
        (b'{"id": 2, "text": "caf\xe9"}', "invalid UTF-8"),
        (b"\xe9", "invalid UTF-8"),
    ],
)
@pytest.mark.parametrize("read_bytes", [8, 1 << 20])
def test_broken_element_of_an_array(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, element: bytes, reason: str, read_bytes: int
) -> None:
    """A broken element is one bad row, however few bytes are read at a time; the elements after it are documents."""
    monkeypatch.setattr("indexer.corpus.formats.json_array.READ_BYTES", read_bytes)
    (tmp_path / "a.json").write_bytes(
        b'[{"id": 1, "text": "a\\\\},"},\n' + element + b',\n {"id": 3, "text": "[\\"{"}]'
    )
    with pytest.raises(UserError, match=r"a\.json row 2.*leave them out with --skip-bad-rows"):
        Corpus.check(str(tmp_path / "a.json"))
    corpus = Corpus.check(str(tmp_path / "a.json"), skip_bad_rows=True)
    assert [(reject.row, reject.reason[: len(reason)]) for reject in corpus.rejects] == [(2, reason)]
    assert [row["id"] for batch in corpus.batches() for row in batch.to_pylist()] == ["1", "3"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"id": 1, "text": "a"}, {"id": 2, "text": "b]', "element 2 is broken JSON"),
        ("[" * 100_000, "element 1 is nested too deeply"),
        ('[{"id": 1, "text": "a"}]\n[{"id": 2, "text": "b"}]', "more text after the end of the array"),
        ('{\n"documents": [\n{"id": 1, "text": "a"}]}', "holds one object, not"),
        ('{"documents": [\n{"id": 1, "text": "a"}]}', "holds one object, not"),
        ('{"data": [{"id": 1, "text": "a"}], "schema": {}}', "holds one object, not"),
        ('{"a": {"text": "x"}, "b": {"text": "y"}}', "holds one object, not"),
        ('{ "id": 1,\n "text": "a" }', "holds one object, not"),
    ],
)
def test_json_that_is_no_corpus(tmp_path: Path, content: str, message: str) -> None:
    """JSON of which some would be lost, or nothing understood, is refused with what it is."""
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(UserError, match=rf"a\.json: .*{message}"):
        Corpus.check(str(tmp_path / "a.json"))
