"""Training examples: every documented set of columns is read, and every fault is named with its file and row."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from indexer.errors import UserError
from trainer.finetune.examples import detect_columns, read_examples
from trainer.finetune.losses import Columns

PAIRS: dict[str, list[Any]] = {"query": ["a cat", "a dog"], "positive": ["the cat sleeps", "the dog runs"]}
TRIPLETS = PAIRS | {"negative": ["the king", "the queen"]}
MANY = PAIRS | {"negative_2": ["n2", "m2"], "negative_10": ["n10", "m10"], "negative_1": ["n1", "m1"]}
LISTS = MANY | {"scores": [[9.0, 1.0, 2.0, 3.0], [8.0, -1.0, 0.5, 0.25]]}
SCORED = {"sentence1": ["x", "y"], "sentence2": ["z", "w"], "score": [0.5, 1.0]}
LABELLED = {"sentence1": ["x", "y"], "sentence2": ["z", "w"], "label": [0, 1]}


def write(path: Path, columns: dict[str, list[Any]]) -> Path:
    """Write the columns as Parquet or, by the name's ending, as CSV with lists as JSON."""
    if path.suffix == ".parquet":
        pq.write_table(pa.table(columns), path)
        return path
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


@pytest.mark.parametrize("ending", ["parquet", "csv"])
@pytest.mark.parametrize(
    ("columns", "kind", "names"),
    [
        (PAIRS, "pairs", ["query", "positive"]),
        (TRIPLETS, "pairs", ["query", "positive", "negative"]),
        (MANY, "pairs", ["query", "positive", "negative_1", "negative_2", "negative_10"]),
        (LISTS, "pairs", ["query", "positive", "negative_1", "negative_2", "negative_10"]),
        (TRIPLETS, "plain-pairs", ["query", "positive"]),
        (LISTS, "listwise", ["query", "positive", "negative_1", "negative_2", "negative_10", "scores"]),
        (SCORED, "scored", ["sentence1", "sentence2", "score"]),
        (LABELLED, "scored", ["sentence1", "sentence2", "score"]),
        (LABELLED, "labelled", ["sentence1", "sentence2", "label"]),
        (PAIRS, "texts", ["text"]),
        ({"text": ["one", "two"]}, "texts", ["text"]),
    ],
)
def test_columns_in_the_order_of_the_losses(
    tmp_path: Path, ending: str, columns: dict[str, list[Any]], kind: Columns, names: list[str]
) -> None:
    """The losses go by the order of the columns, not by their names, so the order in the file must not matter."""
    shuffled = dict(reversed(list(columns.items())))
    examples = read_examples([write(tmp_path / f"examples.{ending}", shuffled)], kind)
    assert examples.column_names == names
    assert len(examples) == 2
    row = examples[1]
    for name in set(names) & set(columns):
        assert row[name] == columns[name][1]


def test_every_negative_makes_a_triplet(tmp_path: Path) -> None:
    """A loss with one negative a row sees them all, each with its own query."""
    examples = read_examples([write(tmp_path / "many.parquet", MANY)], "one-negative")
    rows = {(row["query"], row["positive"], row["negative"]) for row in examples}
    assert len(rows) == 6
    assert ("a dog", "the dog runs", "m10") in rows


def test_fewer_negatives_on_demand(tmp_path: Path) -> None:
    """A loss that takes one negative gets the first, which miners put first because it is the hardest."""
    examples = read_examples([write(tmp_path / "many.parquet", MANY)], "pairs", max_negatives=1)
    assert examples.column_names == ["query", "positive", "negative_1"]


def test_files_are_read_one_after_the_other(tmp_path: Path) -> None:
    """Examples may come in several files of either kind."""
    paths = [write(tmp_path / "a.parquet", PAIRS), write(tmp_path / "b.csv", PAIRS)]
    assert len(read_examples(paths, "pairs")) == 4


def test_numbers_as_texts_in_csv_stay_texts(tmp_path: Path) -> None:
    """A query «2024» is text although all of a column's values look like numbers."""
    path = write(tmp_path / "years.csv", {"query": ["2024", "2025"], "positive": ["a", "b"]})
    assert read_examples([path], "pairs")[0]["query"] == "2024"


@pytest.mark.parametrize(
    ("columns", "kind"), [(PAIRS, "pairs"), (LISTS, "pairs"), (SCORED, "scored"), (LABELLED, "labelled")]
)
def test_the_kind_is_seen_from_the_columns(tmp_path: Path, columns: dict[str, list[Any]], kind: str) -> None:
    """The dev split's metric follows from what it holds."""
    assert detect_columns(write(tmp_path / "dev.parquet", columns)) == kind


@pytest.mark.parametrize(
    ("columns", "kind", "message"),
    [
        ({"query": ["a"]}, "pairs", "no column 'positive' among 'query'; choose a --loss"),
        (PAIRS, "one-negative", "no column 'negative'"),
        (TRIPLETS, "listwise", "no column 'scores'"),
        (PAIRS, "scored", "no column 'sentence1', 'sentence2'"),
        (SCORED, "labelled", "no column 'label'"),
        ({"id": ["a"]}, "texts", "no column 'positive'"),
        (PAIRS | {"positive": ["x", None]}, "pairs", "row 2: positive is empty"),
        (PAIRS | {"query": ["  ", "b"]}, "pairs", "row 1: query is empty"),
        (TRIPLETS | {"negative": ["x", ""]}, "pairs", "row 2: negative is empty"),
        (PAIRS | {"query": [1, 2]}, "pairs", "column 'query' holds int64, not text"),
        (
            LISTS | {"scores": [[1.0, 2.0, 3.0, 4.0], [1.0, 2.0]]},
            "listwise",
            "row 2: scores is [1.0, 2.0]; write a list of 4",
        ),
        (LISTS | {"scores": [[1.0, 2.0, 3.0, float("nan")]] * 2}, "listwise", "row 1: scores"),
        (LISTS | {"scores": [None, None]}, "listwise", "row 1: scores"),
        (SCORED | {"score": [0.5, None]}, "scored", "row 2: score is not a number"),
        (SCORED | {"score": ["high", "low"]}, "scored", "column 'score' holds string, not numbers"),
        (LABELLED | {"label": [1, 2]}, "labelled", "row 2: label is 2; write 1"),
        ({"query": pa.array([], pa.string()), "positive": pa.array([], pa.string())}, "pairs", "no example"),
    ],
)
def test_faults_are_named(tmp_path: Path, columns: dict[str, list[Any]], kind: Columns, message: str) -> None:
    """What cannot be learned from is refused before any work, in one line that says where and what to do."""
    path = write(tmp_path / "examples.parquet", columns)
    with pytest.raises(UserError) as error:
        read_examples([path], kind)
    assert message in str(error.value)
    assert "examples.parquet" in str(error.value)
    assert "\n" not in str(error.value)


def test_files_that_do_not_fit_together(tmp_path: Path) -> None:
    """A second file with other columns is named, not silently cut to what both have."""
    paths = [write(tmp_path / "a.parquet", PAIRS), write(tmp_path / "b.parquet", TRIPLETS)]
    with pytest.raises(UserError, match=r"b\.parquet: gives the columns"):
        read_examples(paths, "pairs")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """A missing file and one of another format are refused by name."""
    with pytest.raises(UserError, match=r"absent\.parquet: no such file"):
        read_examples([tmp_path / "absent.parquet"], "pairs")
    (tmp_path / "notes.parquet").write_text("no parquet", encoding="utf-8")
    with pytest.raises(UserError, match=r"notes\.parquet: not readable as Parquet or CSV"):
        read_examples([tmp_path / "notes.parquet"], "pairs")
