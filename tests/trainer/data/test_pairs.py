"""Pairs from a filled training frame."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from indexer.errors import UserError
from trainer.data.pairs import SCHEMA, pairs_of, read_pairs
from trainer.data.split import SCHEMA as SPLIT_SCHEMA

FRAME = {
    "id": ["a#0", "a#1", "b", "c"],
    "document": ["a", "a", "b", "c"],
    "title": ["A", "A", None, None],
    "text": ["first half", "second half", "whole", "no query"],
    "query_1": ["What is A?", "what is a?", None, None],
    "query_2": ["A", "the second half", "about b", None],
    "query_3": [None, None, "  ", None],
    "kinds": [["question", "title"], ["question", "sentence"], ["search"], []],
}


def test_queries_become_rows():
    """Every query of a frame is a pair with its document, piece and kind; a query that a document has twice is one."""
    pairs = pairs_of(pa.table(FRAME))
    assert pairs.schema == SCHEMA
    assert [tuple(row.values()) for row in pairs.to_pylist()] == [
        ("a#0/1", "What is A?", "a", "a#0", "question"),
        ("a#0/2", "A", "a", "a#0", "title"),
        ("a#1/2", "the second half", "a", "a#1", "sentence"),
        ("b/1", "about b", "b", "b", "search"),
    ]


def test_a_frame_without_kinds():
    """Queries of a frame without kinds have the default kind."""
    table = pa.table(FRAME).drop_columns(["kinds"])
    assert set(pairs_of(table)["kind"].to_pylist()) == {"search"}
    assert pairs_of(table.slice(0, 0)).schema == SCHEMA


def test_a_frame_is_read_as_pairs(tmp_path):
    """Pairs are read from a filled frame as from a file of pairs."""
    pq.write_table(pa.table(FRAME), tmp_path / "queries.parquet")
    assert read_pairs(tmp_path / "queries.parquet") == pairs_of(pa.table(FRAME))
    pq.write_table(pairs_of(pa.table(FRAME)), tmp_path / "pairs.parquet")
    assert read_pairs(tmp_path / "pairs.parquet") == pairs_of(pa.table(FRAME))


def test_only_one_side_of_a_split(tmp_path):
    """Only pairs whose document is on the given side of the split are read."""
    pq.write_table(pa.table(FRAME), tmp_path / "queries.parquet")
    sides = pa.table({"document": ["a", "b", "c"], "group": [0, 1, 2], "split": ["train", "test", "dev"]})
    pq.write_table(sides.cast(SPLIT_SCHEMA), tmp_path / "split.parquet")
    read = [read_pairs(tmp_path / "queries.parquet", tmp_path / "split.parquet", side) for side in ("train", "test")]
    assert [set(pairs["document"].to_pylist()) for pairs in read] == [{"a"}, {"b"}]
    with pytest.raises(UserError, match=r"no query for a document of dev in .*split\.parquet"):
        read_pairs(tmp_path / "queries.parquet", tmp_path / "split.parquet", "dev")


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"query": ["x"]}, "no column 'query_id'"),
        ({name: ["x", None] for name in SCHEMA.names}, "row 2: no query_id"),
        ({name: [[1]] for name in SCHEMA.names}, "'query_id' holds list"),
        ({name: pa.array([], pa.string()) for name in SCHEMA.names}, "no query"),
    ],
)
def test_broken_pairs_are_refused(tmp_path, columns, reason):
    """The message names the file, the row or column, and what to give instead."""
    pq.write_table(pa.table(columns), tmp_path / "pairs.parquet")
    with pytest.raises(UserError, match=rf"pairs\.parquet.*{reason}"):
        read_pairs(tmp_path / "pairs.parquet")
    with pytest.raises(UserError, match=r"none\.parquet: no such file"):
        read_pairs(tmp_path / "none.parquet")
    (tmp_path / "text.parquet").write_text("no parquet")
    with pytest.raises(UserError, match=r"text\.parquet: not readable as Parquet"):
        read_pairs(tmp_path / "text.parquet")
