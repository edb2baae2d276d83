"""Labels: their division into train, dev and test, their formats, and what is refused."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from indexer.errors import UserError
from trainer.data.labels import DEV_OF_TRAIN, Labels, QuerySet, label_files, load_labels, read_labels

DOCUMENTS = {f"d{number}" for number in range(200)}


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write rows as Parquet, CSV, TSV or JSON lines, as the name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix in {".csv", ".tsv"}:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def qrels_rows(pairs: list[tuple[Any, Any]] | list[tuple[Any, Any, Any]]) -> list[dict[str, Any]]:
    """Return rows of qrels."""
    return [dict(zip(("query_id", "doc_id", "relevance"), pair, strict=False)) for pair in pairs]


def query_rows(queries: dict[Any, str], splits: dict[Any, str] | None = None) -> list[dict[str, Any]]:
    """Return rows of queries."""
    rows: list[dict[str, Any]] = [{"id": query, "text": text} for query, text in queries.items()]
    return [row | {"split": splits[row["id"]]} for row in rows] if splits else rows


def labels(
    folder: Path, qrels: list[dict[str, Any]], queries: list[dict[str, Any]], suffix: str = ".parquet"
) -> Labels:
    """Write labels and read them."""
    path = write(folder / f"qrels{suffix}", qrels)
    write(folder / f"queries{suffix}", queries)
    return read_labels(path, None, DOCUMENTS, 0)


def many(folder: Path, splits: dict[str, str] | None = None, seed: int = 0) -> Labels:
    """Read 400 queries, two about each document."""
    queries = {f"q{number}": f"what is {number}" for number in range(400)}
    write(folder / "queries.parquet", query_rows(queries, splits))
    qrels = write(folder / "qrels.parquet", qrels_rows([(f"q{number}", f"d{number // 2}") for number in range(400)]))
    return read_labels(qrels, None, DOCUMENTS, seed)


# --- the three parts ------------------------------------------------------------------------------------------------


def test_a_split_column_is_followed(tmp_path: Path) -> None:
    """A column ``split`` of the queries decides their division."""
    splits = {f"q{number}": ("train", "dev", "test")[number % 3] for number in range(400)}
    result = many(tmp_path, splits)
    assert [set(part.texts) for part in (result.train, result.dev, result.test)] == [
        {query for query, split in splits.items() if split == side} for side in ("train", "dev", "test")
    ]
    assert result.test.texts["q2"] == "what is 2"
    assert result.test.qrels["q2"] == {"d1": 1}


def test_a_missing_dev_part_is_taken_from_train(tmp_path: Path) -> None:
    """Without a dev part some queries of train are drawn for it, as the seed says; test stays exactly as it is."""
    splits = {f"q{number}": "test" if number % 8 < 2 else "train" for number in range(400)}
    result = many(tmp_path, splits)
    assert set(result.test.texts) == {query for query, split in splits.items() if split == "test"}
    assert set(result.train.texts) | set(result.dev.texts) == {
        query for query, split in splits.items() if split == "train"
    }
    assert len(result.train) + len(result.dev) == 300
    assert 0.5 * DEV_OF_TRAIN < len(result.dev) / 300 < 1.5 * DEV_OF_TRAIN
    other = many(tmp_path / "other", splits, seed=1)
    assert other.test == result.test
    assert other.dev != result.dev


def test_without_a_split_column_documents_are_drawn(tmp_path: Path) -> None:
    """Without any division about a tenth is dev and a fifth test; both queries of a document are on one side."""
    result = many(tmp_path)
    sizes = [len(part) for part in (result.train, result.dev, result.test)]
    assert sum(sizes) == 400
    assert 240 < sizes[0] < 320
    assert 20 < sizes[1] < 60
    assert 50 < sizes[2] < 110
    parts = [part.documents for part in (result.train, result.dev, result.test)]
    assert not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]
    assert set().union(*parts) == DOCUMENTS


def test_more_labels_do_not_change_the_division(tmp_path: Path) -> None:
    """A query's side depends on its document and the seed alone: not on the other queries."""
    result = many(tmp_path)
    assert many(tmp_path / "again") == result
    assert many(tmp_path / "other", seed=1).test != result.test
    some = labels(
        tmp_path / "some",
        qrels_rows([(f"q{n}", f"d{n // 2}") for n in range(100)]),
        query_rows({f"q{n}": "x" for n in range(100)}),
    )
    assert set(some.test.texts) == {query for query in result.test.texts if int(query[1:]) < 100}


def test_a_query_with_several_answers(tmp_path: Path) -> None:
    """It is on one side with all of its answers; which, does not depend on their order in the file."""
    answers = [("q0", "d9"), ("q0", "d3"), ("q0", "d150"), ("q1", "d3")]
    result = labels(tmp_path, qrels_rows(answers), query_rows({"q0": "a", "q1": "b"}))
    back = labels(tmp_path / "back", qrels_rows(answers[::-1]), query_rows({"q1": "b", "q0": "a"}))
    everything = {**result.train.qrels, **result.dev.qrels, **result.test.qrels}
    assert everything == {"q0": {"d9": 1, "d3": 1, "d150": 1}, "q1": {"d3": 1}}
    assert [set(part.texts) for part in (result.train, result.dev, result.test)] == [
        set(part.texts) for part in (back.train, back.dev, back.test)
    ]


def test_other_splits_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Queries of a split that is none of the three are left out, with a message."""
    splits = {"q0": "train", "q1": "dev", "q2": "test", "q3": "validation"}
    result = labels(
        tmp_path, qrels_rows([(query, "d1") for query in splits]), query_rows(dict.fromkeys(splits, "x"), splits)
    )
    assert [list(part.texts) for part in (result.train, result.dev, result.test)] == [["q0"], ["q1"], ["q2"]]
    assert "1 queries are left out" in capsys.readouterr().err


def test_copies_are_on_one_side(tmp_path: Path) -> None:
    """Copies under other ids are one document: never on two sides, drawn with or without a column for train and test."""
    copies = {f"d{number}": f"d{number % 100}" for number in range(200)}
    queries = {f"q{number}": "x" for number in range(200)}
    for folder, splits in (
        ("drawn", None),
        ("given", {query: "test" if int(query[1:]) % 5 == 0 else "train" for query in queries}),
    ):
        qrels = write(
            tmp_path / folder / "qrels.csv", qrels_rows([(f"q{number}", f"d{number}") for number in range(200)])
        )
        write(tmp_path / folder / "queries.csv", query_rows(queries, splits))
        result = read_labels(qrels, None, DOCUMENTS, 0, copies)
        parts = [{copies[name] for name in part.documents} for part in (result.train, result.dev, result.test)]
        assert all(parts)
        assert not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]
        torn = read_labels(qrels, None, DOCUMENTS, 0)
        assert {copies[name] for name in torn.train.documents} & {copies[name] for name in torn.dev.documents}


def test_queries_that_share_an_answer_are_on_one_side(tmp_path: Path) -> None:
    """Queries with several answers of which they share one are not torn either."""
    pairs = [(f"q{number}", f"d{number}") for number in range(200)]
    pairs += [(f"q{number}", f"d{number + 1}") for number in range(0, 200, 2)]
    write(tmp_path / "queries.csv", query_rows({f"q{number}": "x" for number in range(200)}))
    result = read_labels(write(tmp_path / "qrels.csv", qrels_rows(pairs)), None, DOCUMENTS, 0)
    parts = [part.documents for part in (result.train, result.dev, result.test)]
    assert all(parts)
    assert not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]


def test_splits_of_other_names_are_refused(tmp_path: Path) -> None:
    """A column of which no value is known is a mistake, not a reason to draw the sides."""
    splits = {"q0": "Training", "q1": "held out"}
    with pytest.raises(
        UserError, match=r"queries.parquet: the column 'split' holds 'Training', 'held out' and none of"
    ):
        labels(tmp_path, qrels_rows([("q0", "d1"), ("q1", "d2")]), query_rows({"q0": "x", "q1": "y"}, splits))


# --- relevance ------------------------------------------------------------------------------------------------------


def test_graded_relevance(tmp_path: Path) -> None:
    """Relevance is kept as it is graded; what was judged irrelevant is no answer, and without a column each counts 1."""
    qrels = qrels_rows(
        [("q0", "d1", 2), ("q0", "d2", 1), ("q0", "d3", 0), ("q0", "d4", -1), ("q1", "d5", 3), ("q2", "d5", 0)]
    )
    result = labels(
        tmp_path, qrels, query_rows(dict.fromkeys(("q0", "q1", "q2"), "x"), dict.fromkeys(("q0", "q1", "q2"), "test"))
    )
    assert result.test.qrels == {"q0": {"d1": 2, "d2": 1}, "q1": {"d5": 3}}
    plain = labels(tmp_path / "plain", qrels_rows([("q0", "d1")]), query_rows({"q0": "x"}, {"q0": "test"}))
    assert plain.test.qrels == {"q0": {"d1": 1}}


def test_absent_documents(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Judgements about documents that are not in the corpus are left out and counted, as are queries with no others."""
    qrels = qrels_rows([("q0", "d1"), ("q0", "gone"), ("q1", "gone"), ("q1", "away")])
    result = labels(tmp_path, qrels, query_rows({"q0": "x", "q1": "y"}, {"q0": "test", "q1": "test"}))
    assert result.test.qrels == {"q0": {"d1": 1}}
    assert "3 judgements are about documents that are not in the corpus" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["much", "", None, 0.5, "nan", float("inf")])
def test_relevance_that_is_no_number(tmp_path: Path, value: object) -> None:
    """A relevance that is no whole number is refused with its row, not read as something else."""
    qrels = [{"query_id": "q0", "doc_id": "d1", "relevance": 1}, {"query_id": "q1", "doc_id": "d1", "relevance": value}]
    with pytest.raises(UserError, match=r"qrels.jsonl row 2: the relevance is .*whole number"):
        labels(tmp_path, qrels, query_rows({"q0": "x", "q1": "y"}), ".jsonl")


# --- files ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".tsv", ".jsonl", ".ndjson"])
def test_formats(tmp_path: Path, suffix: str) -> None:
    """All formats give the same labels; ids stay what they are, with leading zeros, and texts keep commas and lines."""
    documents = {"007", "1e3", "12"}
    queries = {"01": 'who, "me"?\nyes', "1": "42", "NA": "null"}
    qrels = qrels_rows([("01", "007", 2), ("1", "1e3", 1), ("NA", "12", 1)])
    path = write(tmp_path / f"qrels{suffix}", qrels)
    named = write(tmp_path / f"named{suffix}", query_rows(queries, dict.fromkeys(queries, "test")))
    result = read_labels(path, named, documents, 0)
    assert result.test == QuerySet(queries, {"01": {"007": 2}, "1": {"1e3": 1}, "NA": {"12": 1}})


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_ids_that_are_numbers(tmp_path: Path, suffix: str) -> None:
    """Numbers as ids are the ids that the corpus has as text; so is a relevance that pandas made 1.0."""
    qrels = write(tmp_path / f"qrels{suffix}", qrels_rows([(5, 12, 1.0)]))
    write(tmp_path / f"queries{suffix}", query_rows({5: "x"}, {5: "test"}))
    assert read_labels(qrels, None, {"12"}, 0).test == QuerySet({"5": "x"}, {"5": {"12": 1}})


def test_the_files_of_the_labels(tmp_path: Path) -> None:
    """The queries are those named or those beside the qrels; without labels there are no files."""
    assert label_files(None, None) == []
    qrels = write(tmp_path / "qrels.csv", qrels_rows([("q0", "d1")]))
    beside = write(tmp_path / "queries.jsonl", query_rows({"q0": "x"}))
    other = write(tmp_path / "other" / "queries.csv", query_rows({"q0": "y"}))
    assert label_files(qrels, None) == [qrels, beside]
    assert label_files(qrels, other) == [qrels, other]
    assert read_labels(qrels, other, DOCUMENTS, 0) != read_labels(qrels, None, DOCUMENTS, 0)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    """Each message names the flag, the file and what to do."""
    qrels = write(tmp_path / "qrels.csv", qrels_rows([("q0", "d1")]))
    with pytest.raises(UserError, match=r"--qrels .*qrels.csv: there is no file of queries beside it; .*--queries"):
        label_files(qrels, None)
    queries = write(tmp_path / "queries.csv", query_rows({"q0": "x"}))
    with pytest.raises(UserError, match=r"--qrels .*none.parquet: no such file"):
        label_files(tmp_path / "none.parquet", None)
    with pytest.raises(UserError, match=r"--queries .*none.parquet: no such file"):
        label_files(qrels, tmp_path / "none.parquet")
    with pytest.raises(UserError, match=r"--queries .*queries.csv: .*give --qrels too"):
        label_files(None, queries)
    (tmp_path / "qrels.xml").write_text("q0 d1")
    with pytest.raises(UserError, match=r"--qrels .*qrels.xml: give a file that ends in one of .parquet"):
        label_files(tmp_path / "qrels.xml", queries)


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
@pytest.mark.parametrize("column", ["query_id", "doc_id", "id", "text"])
def test_a_missing_column(tmp_path: Path, column: str, suffix: str) -> None:
    """A file without a column that is needed is refused with the columns that it has."""
    qrels = [{name: value for name, value in row.items() if name != column} for row in qrels_rows([("q0", "d1", 1)])]
    queries = [
        {name: value for name, value in row.items() if name != column}
        for row in query_rows({"q0": "x"}, {"q0": "test"})
    ]
    file = "qrels" if column.endswith("_id") else "queries"
    with pytest.raises(UserError, match=rf"{file}{suffix}: has no column '{column}' \(there are .*\); rename") as error:
        labels(tmp_path, qrels, queries, suffix)
    assert "split" in str(error.value) or "relevance" in str(error.value)


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_an_empty_cell(tmp_path: Path, suffix: str) -> None:
    """A query without text, or a judgement without document, is refused with its row, and never read as «None»."""
    with pytest.raises(UserError, match=rf"queries{suffix} row 2: no text"):
        labels(tmp_path, qrels_rows([("q0", "d1"), ("q1", "d1")]), query_rows({"q0": "x", "q1": None}), suffix)  # type: ignore[dict-item]
    with pytest.raises(UserError, match=rf"qrels{suffix} row 2: no doc_id"):
        labels(tmp_path, qrels_rows([("q0", "d1"), ("q1", None)]), query_rows({"q0": "x", "q1": "y"}), suffix)


def test_a_duplicate_query(tmp_path: Path) -> None:
    """Two queries with one id are refused: one of them would be lost."""
    with pytest.raises(UserError, match=r"queries.parquet row 2: a second query with the id 'q0'"):
        labels(tmp_path, qrels_rows([("q0", "d1")]), [{"id": "q0", "text": "x"}, {"id": "q0", "text": "y"}])


def test_two_judgements_of_one_pair(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two rows that contradict each other are refused; the same row twice counts once; unknown queries are counted."""
    queries = query_rows({"q0": "x"}, {"q0": "test"})
    with pytest.raises(
        UserError, match=r"qrels.csv row 2: relevance 0 of 'd1' for the query 'q0', and 2 in an earlier row"
    ):
        labels(tmp_path, qrels_rows([("q0", "d1", 2), ("q0", "d1", 0)]), queries, ".csv")
    result = labels(tmp_path, qrels_rows([("q0", "d1", 2), ("q0", "d1", 2), ("q9", "d1", 1)]), queries, ".csv")
    assert result.test.qrels == {"q0": {"d1": 2}}
    assert "1 queries are left out, since queries.csv does not have them" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["  ", ["a", "b"], {"en": "a"}])
def test_a_text_that_is_none(tmp_path: Path, value: object) -> None:
    """White space, a list or an object is no text of a query."""
    with pytest.raises(UserError, match=r"queries.jsonl row 1: (no text|text is .*; give one text)"):
        labels(tmp_path, qrels_rows([("q0", "d1")]), query_rows({"q0": value}), ".jsonl")  # type: ignore[dict-item]


def test_labels_about_another_corpus(tmp_path: Path) -> None:
    """Where no query has an answer in the corpus, the message says which ids have to agree."""
    for qrels, message in (
        (
            [("q0", "elsewhere")],
            r"has an answer in the corpus; check that doc_id .*\('elsewhere' here, 'd.*' … there\)",
        ),
        ([("unknown", "d1")], r"has an answer here; check that query_id .*\('unknown' here, 'q0' there\)"),
        ([("q0", "d1", 0)], r"has an answer here; give a relevance above 0"),
    ):
        with pytest.raises(UserError, match=rf"qrels.parquet: no query of queries.parquet {message}"):
            labels(tmp_path, qrels_rows(qrels), query_rows({"q0": "x"}))


@pytest.mark.parametrize("name", ["qrels.txt", "q.qrels", "qrels.tsv", "qrels.csv", "qrels.trec.gz"])
@pytest.mark.parametrize("sign", [" ", "\t"])
def test_trec_qrels(tmp_path: Path, name: str, sign: str) -> None:
    """TREC's qrels are read without a header, whatever the fields hold."""
    content = "\ufeff1 0 d1 1\n\n1 Q0 d2 0\n2 0 d3 -1\n2 0 d4 2\n".replace(" ", sign).encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    queries = write(tmp_path / "queries.csv", query_rows({"1": "one", "2": "two"}))
    files = load_labels(tmp_path / name, queries)
    assert files.answers == {"1": {"d1": 1}, "2": {"d4": 2}}


def test_files_that_are_not_readable(tmp_path: Path) -> None:
    """A file that is broken is refused with its name, and with the row where there is one."""
    write(tmp_path / "queries.parquet", query_rows({"q0": "x"}))
    broken = {
        "a.parquet": (b"no parquet", r"a.parquet: not readable"),
        "b.jsonl": (b'{"query_id": "q0", "doc_id": "d1"}\n{"query_id": \n', r"b.jsonl row 2: broken JSON"),
        "e.tsv": (
            b"q0\td1\t1\nq1\td2\t1\n",
            r"e.tsv: has no column 'query_id' .*, or write query_id, doc_id in the first",
        ),
        "f.txt": (b"q0 0 d1 1\nq0 d1 1\n", r"f.txt row 2: 3 fields where TREC's qrels have 4"),
        "g.qrels": (b"q0 0 d1 one\n", r"g.qrels row 1: the relevance is 'one'"),
        "c.csv": (b"query_id,doc_id\nq0,d1\nq1\n", r"c.csv row 2: 1 fields where the header has 2"),
        "d.csv": (b"", r"d.csv: has no column 'query_id' \(it is empty\)"),
    }
    for name, (content, message) in broken.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=message):
            read_labels(tmp_path / name, tmp_path / "queries.parquet", DOCUMENTS, 0)


# --- queries --------------------------------------------------------------------------------------------------------


def test_unseen_queries() -> None:
    """A query is unseen if none of its answers was trained on; one trained answer is enough to have seen it."""
    queries = QuerySet({"a": "1", "b": "2", "c": "3"}, {"a": {"x": 1, "y": 1}, "b": {"z": 2}, "c": {"y": 1}})
    assert queries.documents == {"x", "y", "z"}
    assert len(queries) == 3
    assert queries.unseen({"x"}) == QuerySet({"b": "2", "c": "3"}, {"b": {"z": 2}, "c": {"y": 1}})
    assert queries.unseen(set()) == queries
    assert not len(queries.unseen({"y", "z"}))
    copies = {"x": "w", "w": "w", "z": "z"}
    assert list(queries.unseen({"w"}, copies).texts) == ["b", "c"]
    assert list(queries.unseen({"x"}, {"y": "x", "x": "x"}).texts) == ["b"]
    assert list(queries.only(["c", "a", "nobody"]).texts) == ["a", "c"]


def test_beir_names(tmp_path: Path) -> None:
    """Judgements and queries with BEIR's columns are read, the queries from beside the folder of the judgements."""
    (tmp_path / "qrels").mkdir()
    qrels = tmp_path / "qrels" / "dev.tsv"
    qrels.write_text("query-id\tcorpus-id\tscore\n" + "".join(f"q{n}\td{n}\t2\n" for n in range(30)))
    (tmp_path / "queries.jsonl").write_text("".join(f'{{"_id": "q{n}", "text": "words {n}"}}\n' for n in range(30)))
    labels = read_labels(qrels, None, {f"d{n}" for n in range(30)}, seed=0)
    parts = (labels.train, labels.dev, labels.test)
    assert sum(map(len, parts)) == 30
    assert {grade for part in parts for answers in part.qrels.values() for grade in answers.values()} == {2}


@pytest.mark.parametrize("ending", ["jsonl.gz", "csv.zst", "json", "json.gz", "parquet"])
def test_labels_are_opened_as_a_corpus_is(tmp_path: Path, ending: str) -> None:
    """Labels may be compressed, arrays, or Parquet; numbers with a point and bytes are the ids that they are in a corpus."""
    rows = range(30)
    judged = [{"query_id": float(row), "doc_id": f"d{row}", "relevance": 1} for row in rows]
    queries = [{"id": float(row), "text": f"words {row}"} for row in rows]
    for name, content in (("qrels", judged), ("queries", queries)):
        path = tmp_path / f"{name}.{ending}"
        if ending == "parquet":
            table = pa.Table.from_pylist(content)
            ids = table["doc_id"] if name == "qrels" else table["text"]
            column = ids.cast(pa.binary())
            pq.write_table(table.set_column(1, "doc_id" if name == "qrels" else "text", column), path)
        elif "json" in ending:
            lines = "\n".join(map(json.dumps, content)) if "jsonl" in ending else json.dumps(content, indent=1)
            path.write_bytes(gzip.compress(lines.encode()) if ending.endswith("gz") else lines.encode())
        else:
            text = "\n".join([",".join(content[0]), *(",".join(map(str, row.values())) for row in content)])
            with pa.output_stream(str(path), compression="zstd") as file:
                file.write(text.encode())
    labels = read_labels(tmp_path / f"qrels.{ending}", None, {f"d{row}" for row in rows}, seed=0)
    texts = labels.train.texts | labels.dev.texts | labels.test.texts
    assert texts.keys() == {f"{row}.0" if "csv" in ending else str(row) for row in rows}
    assert set(texts.values()) == {f"words {row}" for row in rows}
