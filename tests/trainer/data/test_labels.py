"""Labels: which queries are learned from, which choose and which decide; and what is refused."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from indexer.errors import UserError
from trainer.data.labels import DEV_OF_TRAIN, Labels, QuerySet, label_files, read_labels

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


def judge(pairs: list[tuple[Any, Any]] | list[tuple[Any, Any, Any]]) -> list[dict[str, Any]]:
    """Return rows of qrels."""
    return [dict(zip(("query_id", "doc_id", "relevance"), pair, strict=False)) for pair in pairs]


def ask(queries: dict[Any, str], splits: dict[Any, str] | None = None) -> list[dict[str, Any]]:
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
    write(folder / "queries.parquet", ask(queries, splits))
    qrels = write(folder / "qrels.parquet", judge([(f"q{number}", f"d{number // 2}") for number in range(400)]))
    return read_labels(qrels, None, DOCUMENTS, seed)


# --- the three parts ------------------------------------------------------------------------------------------------


def test_a_split_column_is_followed(tmp_path: Path) -> None:
    """Where people have divided the queries, that is how they are divided."""
    splits = {f"q{number}": ("train", "dev", "test")[number % 3] for number in range(400)}
    found = many(tmp_path, splits)
    assert [set(part.texts) for part in (found.train, found.dev, found.test)] == [
        {query for query, split in splits.items() if split == side} for side in ("train", "dev", "test")
    ]
    assert found.test.texts["q2"] == "what is 2"
    assert found.test.qrels["q2"] == {"d1": 1}


def test_a_missing_dev_part_is_taken_from_train(tmp_path: Path) -> None:
    """Without a dev part some queries of train are drawn for it, as the seed says; test stays exactly as it is."""
    splits = {f"q{number}": "test" if number % 8 < 2 else "train" for number in range(400)}
    found = many(tmp_path, splits)
    assert set(found.test.texts) == {query for query, split in splits.items() if split == "test"}
    assert set(found.train.texts) | set(found.dev.texts) == {
        query for query, split in splits.items() if split == "train"
    }
    assert len(found.train) + len(found.dev) == 300
    assert 0.5 * DEV_OF_TRAIN < len(found.dev) / 300 < 1.5 * DEV_OF_TRAIN
    other = many(tmp_path / "other", splits, seed=1)
    assert other.test == found.test
    assert other.dev != found.dev


def test_without_a_split_column_documents_are_drawn(tmp_path: Path) -> None:
    """Without any division about a tenth is dev and a fifth test; both queries of a document are on one side."""
    found = many(tmp_path)
    sizes = [len(part) for part in (found.train, found.dev, found.test)]
    assert sum(sizes) == 400
    assert 240 < sizes[0] < 320
    assert 20 < sizes[1] < 60
    assert 50 < sizes[2] < 110
    parts = [part.documents for part in (found.train, found.dev, found.test)]
    assert not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]
    assert set().union(*parts) == DOCUMENTS


def test_the_seed_draws_and_more_labels_move_nobody(tmp_path: Path) -> None:
    """A query's side depends on its document and the seed alone: not on the other queries."""
    found = many(tmp_path)
    assert many(tmp_path / "again") == found
    assert many(tmp_path / "other", seed=1).test != found.test
    some = labels(
        tmp_path / "some", judge([(f"q{n}", f"d{n // 2}") for n in range(100)]), ask({f"q{n}": "x" for n in range(100)})
    )
    assert set(some.test.texts) == {query for query in found.test.texts if int(query[1:]) < 100}


def test_a_query_with_several_answers(tmp_path: Path) -> None:
    """It is on one side with all of its answers; which, does not depend on their order in the file."""
    answers = [("q0", "d9"), ("q0", "d3"), ("q0", "d150"), ("q1", "d3")]
    found = labels(tmp_path, judge(answers), ask({"q0": "a", "q1": "b"}))
    back = labels(tmp_path / "back", judge(answers[::-1]), ask({"q1": "b", "q0": "a"}))
    whole = {**found.train.qrels, **found.dev.qrels, **found.test.qrels}
    assert whole == {"q0": {"d9": 1, "d3": 1, "d150": 1}, "q1": {"d3": 1}}
    assert [set(part.texts) for part in (found.train, found.dev, found.test)] == [
        set(part.texts) for part in (back.train, back.dev, back.test)
    ]


def test_other_splits_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Queries of a split that is none of the three are left out, and that is said."""
    splits = {"q0": "train", "q1": "dev", "q2": "test", "q3": "validation"}
    found = labels(tmp_path, judge([(query, "d1") for query in splits]), ask(dict.fromkeys(splits, "x"), splits))
    assert [list(part.texts) for part in (found.train, found.dev, found.test)] == [["q0"], ["q1"], ["q2"]]
    assert "1 queries are left out" in capsys.readouterr().err


# --- relevance ------------------------------------------------------------------------------------------------------


def test_graded_relevance(tmp_path: Path) -> None:
    """Relevance is kept as it is graded; what was judged irrelevant is no answer, and without a column each counts 1."""
    qrels = judge(
        [("q0", "d1", 2), ("q0", "d2", 1), ("q0", "d3", 0), ("q0", "d4", -1), ("q1", "d5", 3), ("q2", "d5", 0)]
    )
    found = labels(
        tmp_path, qrels, ask(dict.fromkeys(("q0", "q1", "q2"), "x"), dict.fromkeys(("q0", "q1", "q2"), "test"))
    )
    assert found.test.qrels == {"q0": {"d1": 2, "d2": 1}, "q1": {"d5": 3}}
    plain = labels(tmp_path / "plain", judge([("q0", "d1")]), ask({"q0": "x"}, {"q0": "test"}))
    assert plain.test.qrels == {"q0": {"d1": 1}}


def test_absent_documents(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is judged of documents that the corpus has not is left out and counted; so are queries with nothing else."""
    qrels = judge([("q0", "d1"), ("q0", "gone"), ("q1", "gone"), ("q1", "away")])
    found = labels(tmp_path, qrels, ask({"q0": "x", "q1": "y"}, {"q0": "test", "q1": "test"}))
    assert found.test.qrels == {"q0": {"d1": 1}}
    assert "3 judgements are about documents that the corpus has not" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["much", "", None, 0.5, "nan", float("inf")])
def test_relevance_that_is_none(tmp_path: Path, value: object) -> None:
    """A relevance that is no whole number is refused with its row, not read as something else."""
    qrels = [{"query_id": "q0", "doc_id": "d1", "relevance": 1}, {"query_id": "q1", "doc_id": "d1", "relevance": value}]
    with pytest.raises(UserError, match=r"qrels.jsonl row 2: the relevance is .*whole number"):
        labels(tmp_path, qrels, ask({"q0": "x", "q1": "y"}), ".jsonl")


# --- files ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".tsv", ".jsonl", ".ndjson"])
def test_formats(tmp_path: Path, suffix: str) -> None:
    """All formats give the same labels; ids stay what they are, with leading zeros, and texts keep commas and lines."""
    documents = {"007", "1e3", "12"}
    queries = {"01": 'who, "me"?\nyes', "1": "42", "NA": "null"}
    qrels = judge([("01", "007", 2), ("1", "1e3", 1), ("NA", "12", 1)])
    path = write(tmp_path / f"qrels{suffix}", qrels)
    named = write(tmp_path / f"asked{suffix}", ask(queries, dict.fromkeys(queries, "test")))
    found = read_labels(path, named, documents, 0)
    assert found.test == QuerySet(queries, {"01": {"007": 2}, "1": {"1e3": 1}, "NA": {"12": 1}})


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_ids_that_are_numbers(tmp_path: Path, suffix: str) -> None:
    """Numbers as ids are the ids that the corpus has as text; so is a relevance that pandas made 1.0."""
    qrels = write(tmp_path / f"qrels{suffix}", judge([(5, 12, 1.0)]))
    write(tmp_path / f"queries{suffix}", ask({5: "x"}, {5: "test"}))
    assert read_labels(qrels, None, {"12"}, 0).test == QuerySet({"5": "x"}, {"5": {"12": 1}})


def test_the_files_of_the_labels(tmp_path: Path) -> None:
    """The queries are those named or those beside the qrels; without labels there are no files."""
    assert label_files(None, None) == []
    qrels = write(tmp_path / "qrels.csv", judge([("q0", "d1")]))
    beside = write(tmp_path / "queries.jsonl", ask({"q0": "x"}))
    other = write(tmp_path / "other" / "asked.csv", ask({"q0": "y"}))
    assert label_files(qrels, None) == [qrels, beside]
    assert label_files(qrels, other) == [qrels, other]
    assert read_labels(qrels, other, DOCUMENTS, 0) != read_labels(qrels, None, DOCUMENTS, 0)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    """Each message names the flag, the file and what to do."""
    qrels = write(tmp_path / "qrels.csv", judge([("q0", "d1")]))
    with pytest.raises(UserError, match=r"--qrels .*qrels.csv: there is no file of queries beside it; .*--queries"):
        label_files(qrels, None)
    queries = write(tmp_path / "queries.csv", ask({"q0": "x"}))
    with pytest.raises(UserError, match=r"--qrels .*none.parquet: no such file"):
        label_files(tmp_path / "none.parquet", None)
    with pytest.raises(UserError, match=r"--queries .*none.parquet: no such file"):
        label_files(qrels, tmp_path / "none.parquet")
    with pytest.raises(UserError, match=r"--queries .*queries.csv: .*give --qrels too"):
        label_files(None, queries)
    (tmp_path / "qrels.txt").write_text("q0 d1")
    with pytest.raises(UserError, match=r"--qrels .*qrels.txt: give a file that ends in one of .parquet"):
        label_files(tmp_path / "qrels.txt", queries)


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
@pytest.mark.parametrize("column", ["query_id", "doc_id", "id", "text"])
def test_a_missing_column(tmp_path: Path, column: str, suffix: str) -> None:
    """A file without a column that is needed is refused with the columns that it has."""
    qrels = [{name: value for name, value in row.items() if name != column} for row in judge([("q0", "d1", 1)])]
    queries = [
        {name: value for name, value in row.items() if name != column} for row in ask({"q0": "x"}, {"q0": "test"})
    ]
    file = "qrels" if column.endswith("_id") else "queries"
    with pytest.raises(UserError, match=rf"{file}{suffix}: has no column '{column}' \(there are .*\); rename") as error:
        labels(tmp_path, qrels, queries, suffix)
    assert "split" in str(error.value) or "relevance" in str(error.value)


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_an_empty_cell(tmp_path: Path, suffix: str) -> None:
    """A query without text, or a judgement without document, is refused with its row: never asked as «None»."""
    with pytest.raises(UserError, match=rf"queries{suffix} row 2: no text"):
        labels(tmp_path, judge([("q0", "d1"), ("q1", "d1")]), ask({"q0": "x", "q1": None}), suffix)  # type: ignore[dict-item]
    with pytest.raises(UserError, match=rf"qrels{suffix} row 2: no doc_id"):
        labels(tmp_path, judge([("q0", "d1"), ("q1", None)]), ask({"q0": "x", "q1": "y"}), suffix)


def test_a_query_that_is_there_twice(tmp_path: Path) -> None:
    """Two queries of one id are refused: one of them would vanish."""
    with pytest.raises(UserError, match=r"queries.parquet row 2: a second query with the id 'q0'"):
        labels(tmp_path, judge([("q0", "d1")]), [{"id": "q0", "text": "x"}, {"id": "q0", "text": "y"}])


def test_labels_about_another_corpus(tmp_path: Path) -> None:
    """Where no query has an answer in the corpus, the message says which ids have to agree."""
    for qrels in ([("q0", "elsewhere")], [("unknown", "d1")], [("q0", "d1", 0)]):
        with pytest.raises(
            UserError, match=r"no query of queries.parquet has an answer in the corpus; check that doc_id"
        ):
            labels(tmp_path, judge(qrels), ask({"q0": "x"}))


def test_files_that_are_not_readable(tmp_path: Path) -> None:
    """A file that is broken is refused with its name, and with the row where there is one."""
    write(tmp_path / "queries.parquet", ask({"q0": "x"}))
    broken = {
        "a.parquet": (b"no parquet", r"a.parquet: not readable"),
        "b.jsonl": (b'{"query_id": "q0", "doc_id": "d1"}\n{"query_id": \n', r"b.jsonl row 2: broken JSON"),
        "c.csv": (b"query_id,doc_id\nq0,d1\nq1\n", r"c.csv row 2: 1 fields where the header has 2"),
        "d.csv": (b"", r"d.csv: the first line is no header"),
    }
    for name, (content, message) in broken.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=message):
            read_labels(tmp_path / name, tmp_path / "queries.parquet", DOCUMENTS, 0)


# --- questions ------------------------------------------------------------------------------------------------------


def test_unseen_questions() -> None:
    """Unseen is a question none of whose answers was trained on: one answer in common is enough to have seen it."""
    asked = QuerySet({"a": "1", "b": "2", "c": "3"}, {"a": {"x": 1, "y": 1}, "b": {"z": 2}, "c": {"y": 1}})
    assert asked.documents == {"x", "y", "z"}
    assert len(asked) == 3
    assert asked.unseen({"x"}) == QuerySet({"b": "2", "c": "3"}, {"b": {"z": 2}, "c": {"y": 1}})
    assert asked.unseen(set()) == asked
    assert not len(asked.unseen({"y", "z"}))
    assert list(asked.only(["c", "a", "nobody"]).texts) == ["a", "c"]
