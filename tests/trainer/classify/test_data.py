"""Labelled texts: what is read, what is refused, and how rows are split."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from indexer.errors import UserError
from trainer.classify.data import assign_sides, collect_labels, make_splits, read_rows
from trainer.classify.settings import LabelledSettings


def write_table(path, **columns):
    """Write columns as Parquet and return the path."""
    pq.write_table(pa.table(columns), path)
    return str(path)


def test_a_csv_with_columns_of_any_name(tmp_path):
    """Numbers as labels, other column names, and sides under their common names are read from a CSV file."""
    path = tmp_path / "rows.csv"
    path.write_text("body,stars,part\ngood,5,training\nbad,1,validation\nfine,5,TEST\n")
    rows = read_rows(str(path), LabelledSettings(text_column="body", label_column="stars", split_column="part"))
    assert rows.texts == ["good", "bad", "fine"]
    assert rows.labels == [("5",), ("1",), ("5",)]
    assert rows.sides == ["train", "dev", "test"]
    assert not rows.multi_label


def test_lists_and_separators_are_several_labels(tmp_path):
    """A list column, or text with a separator, gives several labels; an empty list or cell gives none."""
    lists = write_table(tmp_path / "a.parquet", text=["a", "b", "c"], label=[["x", "y", "x"], [], ["y"]])
    assert read_rows(lists, LabelledSettings()).labels == [("x", "y"), (), ("y",)]
    (tmp_path / "b.csv").write_text("text,label\na,x| y\nb,\nc,y\n")
    rows = read_rows(str(tmp_path / "b.csv"), LabelledSettings(label_separator="|"))
    assert rows.labels == [("x", "y"), (), ("y",)]
    assert rows.multi_label


def test_labels_are_written_as_json_has_them(tmp_path):
    """True is true as in JSON, and 1.0, which is how pandas stores 1 in a column with gaps, is 1."""
    truths = read_rows(write_table(tmp_path / "a.parquet", text=["a", "b"], label=[True, False]), LabelledSettings())
    assert truths.labels == [("true",), ("false",)]
    floats = read_rows(write_table(tmp_path / "b.parquet", text=["a", "b"], label=[1.0, 2.5]), LabelledSettings())
    assert floats.labels == [("1",), ("2.5",)]
    assert collect_labels([("10",), ("9",), ("b",), ("a",)]) == ["9", "10", "a", "b"]


def test_rows_without_a_label_are_refused_by_name(tmp_path):
    """A missing label is an error that names the rows; with --skip-bad-rows they are left out and counted."""
    path = write_table(tmp_path / "a.parquet", id=["p", "q", "r"], text=["a", "b", "c"], label=["x", None, " "])
    with pytest.raises(UserError, match=r"2 rows have no label in 'label' \(id 'q', 'r'\); .*--skip-bad-rows"):
        read_rows(path, LabelledSettings())
    rows = read_rows(path, LabelledSettings(skip_bad_rows=True))
    assert rows.texts == ["a"]
    assert rows.notes == ["2 rows without a label were left out (id 'q', 'r')"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"text": ["a"], "topic": ["x"]}, r"no column 'label' .* 'topic'; .*--label-column"),
        ({"text": ["a"], "label": ["x"], "split": ["holdout"]}, r"says 'holdout'; .*--split-column"),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path, columns, message):
    """A missing label column and an unknown side are named with their remedies."""
    with pytest.raises(UserError, match=message):
        read_rows(write_table(tmp_path / "a.parquet", **columns), LabelledSettings())


def read_texts(tmp_path, texts, labels, **more):
    """Write these texts and labels to a file and read it."""
    return read_rows(write_table(tmp_path / "rows.parquet", text=texts, label=labels, **more), LabelledSettings())


def test_the_division_is_stratified_and_seeded(tmp_path):
    """Every label has its share of each side; the seed decides which rows, and equal seeds give equal splits."""
    rows = read_texts(tmp_path, [f"text {number}" for number in range(200)], ["rare"] * 20 + ["often"] * 180)
    sides = assign_sides(rows, dev=0.1, test=0.2, seed=3)
    assert Counter(sides[:20]) == {"train": 14, "test": 4, "dev": 2}
    assert Counter(sides[20:]) == {"train": 126, "test": 36, "dev": 18}
    assert assign_sides(rows, dev=0.1, test=0.2, seed=3) == sides
    assert assign_sides(rows, dev=0.1, test=0.2, seed=4) != sides


def test_equal_texts_stay_together(tmp_path):
    """Rows with the same text are on one side, whatever their case, white space and labels: no test row is memorised."""
    texts = [f"  Text  {number % 30}" if number // 30 % 2 else f"text {number % 30} " for number in range(120)]
    rows = read_texts(tmp_path, texts, ["a" if number % 3 else "b" for number in range(120)])
    sides = assign_sides(rows, dev=0.2, test=0.2, seed=0)
    seen = {}
    for text, side in zip(rows.texts, sides, strict=True):
        assert seen.setdefault(text.split()[1], side) == side
    assert set(sides) == {"train", "dev", "test"}


def test_given_sides_are_kept_and_missing_ones_drawn_from_train(tmp_path):
    """A file with train and test keeps both, and dev is taken from train only."""
    split = ["test" if number % 4 == 0 else "train" for number in range(80)]
    rows = read_texts(tmp_path, [f"text {number}" for number in range(80)], ["a", "b"] * 40, split=split)
    sides = assign_sides(rows, dev=0.1, test=0.2, seed=0)
    assert [side for side, given in zip(sides, split, strict=True) if given == "test"] == ["test"] * 20
    assert Counter(sides) == {"test": 20, "train": 54, "dev": 6}


def test_texts_that_test_shares_with_train_are_marked(tmp_path):
    """Where the file itself has a text on two sides, the test row is marked as seen."""
    rows = read_texts(
        tmp_path,
        ["one", "two", "three", "four", "five", "six", "ONE ", "new"],
        ["a", "b", "a", "b", "a", "b", "a", "b"],
        split=["train"] * 4 + ["dev"] * 2 + ["test"] * 2,
    )
    examples = make_splits(rows, assign_sides(rows, dev=0.1, test=0.1, seed=0))
    assert examples.test.seen.tolist() == [True, False]
    assert examples.test.truth.tolist() == [[True, False], [False, True]]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["a"] * 20, "all rows have the label 'a'"),
        (["a"] * 19 + ["b"], "label 'b': 1 training rows, at least 2"),
    ],
)
def test_what_cannot_be_learned_is_refused(tmp_path, labels, message):
    """One label alone, or a label with one row, is an error that names the label."""
    rows = read_texts(tmp_path, [f"text {number}" for number in range(20)], labels)
    with pytest.raises(UserError, match=message):
        make_splits(rows, assign_sides(rows, dev=0.1, test=0.2, seed=0))
