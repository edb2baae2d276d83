"""Files of a corpus: layouts of folders, compression and encodings as people have them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from indexer.corpus.corpus import Corpus
from indexer.corpus.files import find_files
from indexer.corpus.text_file import open_bytes
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
    ("content", "encoding"),
    [
        ('{"id": "1", "text": "' + "漢字だけの長い文章です" * 30 + '"}\n', "UTF-16LE"),
        ("id;text\n1;mañana\n", "UTF-16BE"),
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
    monkeypatch.setattr("indexer.corpus.json_array.READ_BYTES", 64)
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
    monkeypatch.setattr("indexer.corpus.json_array.READ_BYTES", read_bytes)
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
        ('{\n"documents": [\n{"id": 1, "text": "a"}]}', "one object over several lines"),
    ],
)
def test_json_that_is_no_corpus(tmp_path: Path, content: str, message: str) -> None:
    """JSON of which some would be lost, or nothing understood, is refused with what it is."""
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(UserError, match=rf"a\.json: .*{message}"):
        Corpus.check(str(tmp_path / "a.json"))
