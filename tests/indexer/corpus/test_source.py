"""Source: which files, rows and types are read from Parquet, CSV and JSON lines."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from indexer.corpus.chunks import CHUNK_ROWS, Roles
from indexer.corpus.source import Source, find_files
from indexer.errors import UserError

ROLES = Roles("id", None, "text")


def read(spec: Path) -> tuple[list[dict[str, Any]], dict[str, pa.DataType], list[tuple[int, str]]]:
    """Return documents, types of the metadata and bad rows, after both passes."""
    source = Source(str(spec))
    bad = [(row.row, row.reason) for chunk in source.chunks(ROLES) for row in chunk.rejects]
    types = source.types(ROLES)
    rows = [row for chunk in source.chunks(ROLES, types=types) for row in chunk.batch.to_pylist()]
    return rows, types, bad


def csv_types(tmp_path: Path, *values: str) -> pa.DataType:
    """Return the type of a CSV column with ``values``."""
    path = tmp_path / "types.csv"
    path.write_text("id,text,value\n" + "".join(f"{row},words,{value}\n" for row, value in enumerate(values)))
    return read(path)[1]["value"]


def json_types(tmp_path: Path, *values: Any) -> tuple[pa.DataType, list[Any]]:
    """Return the type of a JSON-lines column with ``values``, and the values as they are read back."""
    path = tmp_path / "types.jsonl"
    lines = [json.dumps({"id": row, "text": "words", "value": value}) + "\n" for row, value in enumerate(values)]
    path.write_text("".join(lines))
    rows, types, _ = read(path)
    return types["value"], [row["metadata"]["value"] for row in rows]


def test_folder_and_glob(tmp_path: Path) -> None:
    """A folder and a glob stand for their files in order of name; hidden files and other formats are left out."""
    for name in ("b.csv", "a.csv", "c.tsv", ".hidden.csv", "README.md"):
        (tmp_path / name).write_text("id,text\n1,words\n")
    assert [Path(file.name).name for file in find_files(str(tmp_path))] == ["a.csv", "b.csv", "c.tsv"]
    assert [file.name for file in find_files(f"{tmp_path}/*.csv")] == [f"{tmp_path}/a.csv", f"{tmp_path}/b.csv"]


def test_name_as_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file has the name that the user gave: messages match the command."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "corpus.csv").write_text("id,text\n1,words\n")
    assert find_files("corpus.csv")[0].name == "corpus.csv"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("absent.csv", "absent.csv: no such file"),
        ("empty", "empty: holds no corpus file"),
        ("no*.csv", r"no\*.csv: holds no corpus file"),
        ("notes.txt", "notes.txt: not a supported format"),
        ("mixed", "mixed: a.csv is CSV and b.jsonl is JSON lines"),
    ],
)
def test_no_such_corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str, message: str) -> None:
    """A path that is no corpus is refused with its name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "mixed").mkdir()
    for name in ("mixed/a.csv", "mixed/b.jsonl", "notes.txt"):
        (tmp_path / name).write_text("id,text\n1,words\n")
    with pytest.raises(UserError, match=f"^{message}"):
        find_files(spec)


def test_corrupt_parquet(tmp_path: Path) -> None:
    """A damaged Parquet file is named, whether its end or its middle is broken."""
    path = tmp_path / "cut.parquet"
    pq.write_table(pa.table({"id": ["1"], "text": ["words"]}), path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    with pytest.raises(UserError, match=r"cut\.parquet: not readable"):
        read(path)
    path.write_bytes(whole[:4] + b"\xff" * 40 + whole[44:])
    with pytest.raises(UserError, match=r"cut\.parquet: not readable"):
        read(path)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiter(tmp_path: Path, delimiter: str) -> None:
    """The delimiter is that of the header, even where a quoted name holds more of the others."""
    path = tmp_path / "a.csv"
    path.write_text(f'id{delimiter}text{delimiter}"a;b,c|d;e,f|g"\n1{delimiter}words{delimiter}2\n')
    rows, _, bad = read(path)
    assert rows == [{"id": "1", "title": None, "text": "words", "metadata": {"a;b,c|d;e,f|g": 2}}]
    assert not bad


def test_csv_records(tmp_path: Path) -> None:
    """Records keep their numbers through quoted line ends and blank lines; unreadable ones get a reason."""
    path = tmp_path / "a.csv"
    path.write_bytes(
        b'\xef\xbb\xbfid,text\n1,"two\nlines, ""quoted"""\n\n3,a,b\n'
        b'4,caf\xe9\n5,caf\xc3\xa9\n6,"x"y\n7,z\n8,"open\n9,lost\n'
    )
    rows, _, bad = read(path)
    assert [(row["id"], row["text"]) for row in rows] == [("1", 'two\nlines, "quoted"'), ("5", "café"), ("7", "z")]
    assert [row for row, _ in bad] == [3, 4, 6, 8]
    assert [reason.partition(":")[0] for _, reason in bad] == [
        "3 fields where the header has 2", "invalid UTF-8", "broken CSV", "broken CSV",
    ]  # fmt: skip


def test_long_csv_field(tmp_path: Path) -> None:
    """A document may be longer than the 131,072 characters that the csv module allows by default."""
    path = tmp_path / "a.csv"
    path.write_text("id,text\n1," + "word " * 100_000 + "\n")
    assert len(read(path)[0][0]["text"]) == 500_000


@pytest.mark.parametrize(
    ("header", "message"),
    [(",,", "no header"), ("id,text,id", "two columns are called 'id'"), ("id,t\xe9xt", "no header in UTF-8")],
)
def test_csv_header(tmp_path: Path, header: str, message: str) -> None:
    """A header that cannot name the columns is refused."""
    (tmp_path / "a.csv").write_bytes(header.encode("latin-1") + b"\n1,2,3\n")
    with pytest.raises(UserError, match=f"a.csv: .*{message}"):
        Source(str(tmp_path / "a.csv"))


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "-20", ""], pa.int64()),
        (["9223372036854775807"], pa.int64()),
        (["9223372036854775808"], pa.string()),
        (["1", "007"], pa.string()),
        (["1", "2.5", "1e-3"], pa.float64()),
        (["9007199254740993", "2.5"], pa.string()),
        (["9007199254740993", "2"], pa.int64()),
        (["1", "2.5", "007.5"], pa.string()),
        (["true", "False", ""], pa.bool_()),
        (["true", "1"], pa.string()),
        (["2024-02-29", ""], pa.date32()),
        (["2023-02-29"], pa.string()),
        (["2024-02-29", "2024-02-29 10:30"], pa.timestamp("us")),
        (["2024-02-29T10:30:00.5Z", "2024-02-29T10:30:00+02:00"], pa.timestamp("us", "UTC")),
        (["2024-02-29T10:30:00Z", "2024-02-29T10:30:00"], pa.string()),
        (["1", "words"], pa.string()),
        (["", ""], pa.string()),
    ],
)
def test_csv_types(tmp_path: Path, values: list[str], kind: pa.DataType) -> None:
    """A CSV column gets the narrowest type that holds every value without loss."""
    assert csv_types(tmp_path, *values) == kind


def test_csv_type_over_all_rows(tmp_path: Path) -> None:
    """One value far beyond the first chunk decides the type: it is not guessed from a sample."""
    assert csv_types(tmp_path, *["1"] * (3 * CHUNK_ROWS), "2.5") == pa.float64()
    assert csv_types(tmp_path, *["1"] * (3 * CHUNK_ROWS), "n/a") == pa.string()


def test_csv_values(tmp_path: Path) -> None:
    """Typed CSV fields become values, and ids that look like numbers stay as they are written."""
    path = tmp_path / "a.csv"
    path.write_text("id,text,day,at,share\n007,12,2024-02-29,2024-02-29T12:00+02:00,nan\n")
    row = read(path)[0][0]
    assert (row["id"], row["text"]) == ("007", "12")
    assert row["metadata"]["day"] == date(2024, 2, 29)
    assert row["metadata"]["at"] == datetime(2024, 2, 29, 10, tzinfo=UTC)
    assert row["metadata"]["share"] != row["metadata"]["share"]


def test_json_records(tmp_path: Path) -> None:
    """Rows of JSON lines are called by their line; blank lines are skipped, unreadable ones named with the reason."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(
        b'\xef\xbb\xbf{"id": 1, "text": "a"}\n\n{"id": "3", "text": "b"\n[1]\n{"id": 5, "text": 7}\n'
        b'{"id": 6, "text": "\xff"}\n'
        b'{"id": 7, "text": "\\ud800"}\n{"id": 1.5, "text": "c"}\n{"id": true, "text": "d"}\n' + b"[" * 100_000 + b"\n"
        b'{"id": 11, "text": "e"}'
    )
    rows, _, bad = read(path)
    assert [(row["id"], row["text"]) for row in rows] == [("1", "a"), ("11", "e")]
    assert [row for row, _ in bad] == [3, 4, 5, 6, 7, 8, 9, 10]
    reasons = dict(bad)
    assert reasons[3].startswith("broken JSON: Expecting ',' delimiter at character ")
    assert reasons[4] == "the line holds no JSON object"
    assert reasons[5] == "column 'text' holds a number, not text"
    assert reasons[6] == reasons[7] == "invalid UTF-8"
    assert reasons[8] == "column 'id' holds a number, not text or a whole number"
    assert reasons[9] == "column 'id' holds true or false, not text or a whole number"
    assert reasons[10].startswith("broken JSON: ")


@pytest.mark.parametrize(
    ("values", "kind", "read_back"),
    [
        ([1, None, 2], pa.int64(), [1, None, 2]),
        ([1, 2.5], pa.float64(), [1.0, 2.5]),
        ([2**60, 2.5], pa.float64(), [float(2**60), 2.5]),
        ([2**60 + 1, 2.5], pa.string(), [str(2**60 + 1), "2.5"]),
        ([2**60 + 1, 1], pa.int64(), [2**60 + 1, 1]),
        ([[1, 2**60 + 1], [2]], pa.list_(pa.int64()), [[1, 2**60 + 1], [2]]),
        ([{"a": 1}, {"a": 2}], pa.struct([("a", pa.int64())]), [{"a": 1}, {"a": 2}]),
        ([True, False], pa.bool_(), [True, False]),
        (["2024-02-29", "soon"], pa.string(), ["2024-02-29", "soon"]),
        (["2024-02-29", None], pa.date32(), [date(2024, 2, 29), None]),
        ([1, "a", None, {"b": 1}], pa.string(), ["1", "a", None, '{"b": 1}']),
        ([True, 1], pa.string(), ["true", "1"]),
        ([2**70, 1], pa.string(), [str(2**70), "1"]),
        ([[1], [], [2.5]], pa.list_(pa.float64()), [[1.0], [], [2.5]]),
        ([[1, "a"]], pa.string(), ['[1, "a"]']),
        ([{"a": 1}, {"b": [None]}], pa.struct([("a", pa.int64()), ("b", pa.list_(pa.null()))]), None),
        ([{str(key): 1 for key in range(1000)}, {}], pa.string(), None),
        ([None, None], pa.string(), [None, None]),
    ],
)
def test_json_types(tmp_path: Path, values: list[Any], kind: pa.DataType, read_back: list[Any] | None) -> None:
    """A JSON column gets a type that holds all its values; where there is none it holds their JSON text."""
    inferred, rows = json_types(tmp_path, *values)
    assert inferred == kind
    if read_back is not None:
        assert rows == read_back


def test_json_type_over_all_rows(tmp_path: Path) -> None:
    """A type that changes, or a column that appears, far after the first chunk is still noticed."""
    kind, rows = json_types(tmp_path, *[1] * (3 * CHUNK_ROWS), "late")
    assert (kind, rows[0], rows[-1]) == (pa.string(), "1", "late")
    path = tmp_path / "late.jsonl"
    path.write_text('{"id": 1, "text": "a"}\n' * 2000 + '{"id": 2, "text": "b", "late": 5}\n')
    rows, types, _ = read(path)
    assert types == {"late": pa.int64()}
    assert (rows[0]["metadata"], rows[-1]["metadata"]) == ({"late": None}, {"late": 5})


def test_parquet_types(tmp_path: Path) -> None:
    """Parquet columns keep their types; a dictionary is decoded to its values."""
    columns = {
        "id": pa.array([1, 2], pa.uint16()),
        "text": pa.array(["a", "b"]).dictionary_encode(),
        "view": pa.array(["x", None], pa.string_view()),
        "kind": pa.array(["x", None]).dictionary_encode(),
        "small": pa.array([1, None], pa.int8()),
        "share": pa.array([float("nan"), None], pa.float32()),
        "at": pa.array([0, None], pa.timestamp("ms", "Europe/Berlin")),
        "tags": pa.array([["x"], None], pa.list_(pa.large_string())),
        "a.b": pa.array([{"c": 1}, None], pa.struct([("c", pa.int32())])),
    }
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table(columns), path)
    rows, types, _ = read(path)
    assert [(row["id"], row["text"]) for row in rows] == [("1", "a"), ("2", "b")]
    assert types.pop("kind") == types.pop("view") == pa.string()
    assert types == {name: columns[name].type for name in ("small", "share", "at", "tags", "a.b")}
    assert rows[0]["metadata"]["share"] != rows[0]["metadata"]["share"]
    assert rows[1]["metadata"] == dict.fromkeys(["view", "kind", "small", "share", "at", "tags", "a.b"])


def test_parquet_schemas(tmp_path: Path) -> None:
    """Files of one folder may differ: types are widened, an absent metadata column is null, a conflict is named."""
    pq.write_table(pa.table({"id": ["1"], "text": ["a"], "n": pa.array([1], pa.int32())}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"id": ["2"], "text": ["b"], "n": [2.5], "new": ["x"]}), tmp_path / "b.parquet")
    rows, types, _ = read(tmp_path)
    assert types == {"n": pa.float64(), "new": pa.string()}
    assert [row["metadata"] for row in rows] == [{"n": 1.0, "new": None}, {"n": 2.5, "new": "x"}]
    pq.write_table(pa.table({"id": ["3"], "text": ["c"], "n": ["many"]}), tmp_path / "c.parquet")
    with pytest.raises(UserError, match=r"c.parquet: column 'n' holds string where .* double"):
        read(tmp_path)


def test_parquet_invalid_utf8(tmp_path: Path) -> None:
    """Bytes that are not UTF-8 are found in Parquet too, whose reader does not check them."""
    text = pa.Array.from_buffers(pa.string(), 3, pa.array([b"a", b"\xff", b"c"]).buffers())
    pq.write_table(pa.table({"id": ["1", "2", "3"], "text": text}), tmp_path / "a.parquet")
    rows, _, bad = read(tmp_path / "a.parquet")
    assert [row["text"] for row in rows] == ["a", "c"]
    assert bad == [(2, "invalid UTF-8 in column 'text'")]


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_chunks_are_bounded(tmp_path: Path, suffix: str) -> None:
    """No chunk is larger than `CHUNK_ROWS`, and reading stops at the limit."""
    path, rows = tmp_path / f"a.{suffix}", 3 * CHUNK_ROWS + 5
    if suffix == "parquet":
        pq.write_table(pa.table({"id": list(map(str, range(rows))), "text": ["words"] * rows}), path)
    elif suffix == "csv":
        path.write_text("id,text\n" + "".join(f"{row},words\n" for row in range(rows)))
    else:
        path.write_text("".join(f'{{"id": {row}, "text": "words"}}\n' for row in range(rows)))
    source = Source(str(path))
    assert [len(chunk.numbers) for chunk in source.chunks(ROLES)] == [CHUNK_ROWS] * 3 + [5]
    limited = list(source.chunks(ROLES, limit=CHUNK_ROWS + 7))
    assert [len(chunk.numbers) for chunk in limited] == [CHUNK_ROWS, 7]
    assert limited[-1].numbers[-1] == CHUNK_ROWS + 7


def test_compressed(tmp_path: Path) -> None:
    """Text files may be compressed by gzip or zstandard; the rows are those of the plain file."""
    rows = b'{"id": "x", "text": "one", "n": 1}\n\n{"id": "y", "text": "two", "n": 2}\n'
    expected = [("x", 1), ("y", 2)]
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(rows))
    (tmp_path / "b.CSV.GZ").write_bytes(gzip.compress(b"id;text;n\nx;one;1\ny;two;2\n"))
    with pa.output_stream(str(tmp_path / "c.tsv.zst"), compression="zstd") as file:
        file.write(b"id\ttext\tn\nx\tone\t1\ny\ttwo\t2\n")
    for name in ("a.jsonl.gz", "b.CSV.GZ", "c.tsv.zst"):
        read_rows, _, bad = read(tmp_path / name)
        assert [(row["id"], row["metadata"]["n"]) for row in read_rows] == expected and not bad
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(rows * 100)[:-20])
    with pytest.raises(UserError, match=r"cut\.jsonl\.gz: not readable"):
        read(tmp_path / "cut.jsonl.gz")


@pytest.mark.parametrize(
    "content",
    [
        '[{"id": 1, "text": "é]["},\n {"id": 2.0, "text": "b"}]',
        '\ufeff[\n{"id": 1,\n "text": "é]["}\n,\n{"id": 2, "text": "b"}\n]\n',
        '{"id": 1, "text": "é]["}\n{"id": 2, "text": "b"}\n',
    ],
)
def test_json_array_or_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    """A `.json` file holds an array or lines; elements may end anywhere in what is read at once."""
    monkeypatch.setattr("indexer.corpus.formats.json_array.READ_BYTES", 3)
    (tmp_path / "a.json").write_text(content)
    rows, _, bad = read(tmp_path / "a.json")
    assert [(row["id"], row["text"]) for row in rows] == [("1", "é]["), ("2", "b")] and not bad


@pytest.mark.parametrize("content", ['[{"id": 1, "text": "a"}, {"id": 2', '[{"id": 1, "text": "a"}, {"id": "2}]', "[1"])
def test_broken_json_array(tmp_path: Path, content: str) -> None:
    """A broken array is refused with the number of the element: nobody knows where the next one begins."""
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(UserError, match=r"a\.json: element [12] is broken JSON"):
        read(tmp_path / "a.json")


def test_folders_of_folders(tmp_path: Path) -> None:
    """Folders ``name=value`` become columns with a type; hidden folders and those of a writer's log are passed over."""
    for place, key in (("year=2019/kind=a%20b", "x"), ("year=2020/kind=__HIVE_DEFAULT_PARTITION__", "y")):
        (tmp_path / place).mkdir(parents=True)
        pq.write_table(pa.table({"id": [key], "text": ["words"]}), tmp_path / place / "part.parquet")
    for place in ("_delta_log", ".cache"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "a.csv").write_text("id,text\n1,words\n")
    for spec in (tmp_path, tmp_path / "year=*/**/*.parquet"):
        rows, types, _ = read(spec)
        assert types == {"year": pa.int64(), "kind": pa.string()}
        assert [row["metadata"] for row in rows] == [{"year": 2019, "kind": "a b"}, {"year": 2020, "kind": None}]


def test_beir_layout(tmp_path: Path) -> None:
    """Of a folder with corpus, queries and judgements only the corpus is read."""
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "dev.tsv").write_text("query-id\tcorpus-id\tscore\nq\td\t1\n")
    for name in ("corpus.jsonl", "queries.jsonl"):
        (tmp_path / name).write_text('{"_id": "d", "text": "words"}\n')
    assert [Path(file.name).name for file in find_files(str(tmp_path))] == ["corpus.jsonl"]
    (tmp_path / "corpus.jsonl").rename(tmp_path / "more.jsonl")
    (tmp_path / "qrels" / "dev.tsv").unlink()
    assert len(find_files(str(tmp_path))) == 2


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.json"])
def test_other_encodings(tmp_path: Path, name: str, encoding: str) -> None:
    """A file in UTF-16 or UTF-32 is named with its encoding and the remedy."""
    (tmp_path / name).write_bytes('{"id": 1, "text": "naïve words"}\n'.encode(encoding))
    with pytest.raises(UserError, match=rf"{name}: is UTF-(16|32).*; save it as UTF-8"):
        Source(str(tmp_path / name))


@pytest.mark.parametrize("url", ["s3://b/c.parquet", "hf://datasets/a/b", "https://example.org/c.csv", "GS://b/c"])
def test_remote_files(url: str) -> None:
    """The URL of a remote file is no database: the sentence is about files on this machine."""
    with pytest.raises(UserError, match="files are read from this machine only; fetch the file first"):
        Source(url)


def test_file_url(tmp_path: Path) -> None:
    """A file URL is the path that it names."""
    (tmp_path / "two words.csv").write_text("id,text\n1,words\n")
    assert len(Source((tmp_path / "two words.csv").as_uri()).files) == 1
