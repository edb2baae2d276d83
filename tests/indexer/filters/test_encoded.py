"""Encoded columns: counts and masks are those of the values themselves, of built and of live documents."""

from __future__ import annotations

import math
from collections import Counter
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from indexer.filters import encoded
from indexer.filters.encoded import EncodedColumn, compares_codes, encoded_column
from indexer.filters.fields import find_field
from indexer.index.arrow import ArrowTable
from indexer.index.document_mask import DocumentMask

COLUMNS: dict[str, tuple[pa.DataType, list[Any], list[Any]]] = {
    "texts": (pa.string(), ["b", None, "d", "b", ""], ["a", "d", "c", None]),
    "numbers": (pa.int64(), [5, 3, 5, None, -1], [4, 5]),
    "doubles": (pa.float64(), [0.5, math.nan, -0.0, 0.0, None], [-0.0, 0.25, math.nan]),
    "booleans": (pa.bool_(), [True, False, True, None, True], [False]),
    "dates": (pa.date32(), [date(2026, 1, 2), None, date(2025, 1, 1)], [date(2025, 6, 1)]),
    "nothing": (pa.null(), [None, None], [None]),
    "empty": (pa.string(), [], ["a", "b", "a"]),
    "lists": (pa.list_(pa.string()), [["b", "a", "b"], [], None, ["c", None], ["a"]], [["0", "c", "0"], []]),
    "nested": (pa.list_(pa.list_(pa.int32())), [[[1, 2], [2]], [[]], [[3]], None], [[[2], [9, 9]]]),
    "structs": (pa.list_(pa.struct([("n", pa.string())])), [[{"n": "x"}, {"n": "x"}], [{"n": None}], []], [[{"n": "w"}]]),
}  # fmt: skip


class Opened:
    """A stand-in for an opened index with one metadata column, perhaps with live documents over it."""

    def __init__(self, documents: ArrowTable) -> None:
        self.contents = type("Contents", (), {"documents": documents})

    def column(self, name: str) -> pa.ChunkedArray:
        """Return the column."""
        return self.contents.documents.column("metadata", name)  # type: ignore[attr-defined]


def batch(kind: pa.DataType, values: list[Any]) -> pa.RecordBatch:
    """Return documents with a column."""
    return pa.record_batch({"metadata": pa.array([{"field": value} for value in values], pa.struct([("field", kind)]))})


def leaves(value: Any) -> set[Any]:
    """Return the different values of a document; neither null nor NaN is one."""
    if isinstance(value, list):
        return set().union(*map(leaves, value)) if value else set()
    if isinstance(value, dict):
        return leaves(value["n"])
    return set() if value is None or value != value else {value}  # noqa: PLR0124 - NaN


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("pieces", [1, 2])
def test_counts_and_masks(name: str, pieces: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the type, whatever the documents, and with live documents over the built ones: counts are those of Python."""
    kind, built, live = COLUMNS[name]
    table = ArrowTable(batch(kind, built).schema, [batch(kind, built[i : i + 2]) for i in range(0, len(built), 2)])
    if pieces == 2:
        table = table.with_batch(batch(kind, live))
    values = built + (live if pieces == 2 else [])
    path = find_field("field.n" if name == "structs" else "field", {"field": kind})
    column = encoded_column(Opened(table), path)  # type: ignore[arg-type]
    assert column.nbytes >= 0
    different = column.values.to_pylist()
    ordered = [different[at] for at in np.argsort(column.in_order(np.arange(len(different))))]
    assert ordered == sorted(set().union(*map(leaves, values)))
    rng = np.random.default_rng(0)
    masks = [np.ones(len(values), dtype=bool), *(rng.random(len(values)) < 0.5 for _ in range(5))]
    for few, compared in ((1, 0), (10**6, 10**6)):
        monkeypatch.setattr(encoded, "COMPARED", compared)
        monkeypatch.setattr(encoded, "FEW", few)
        for mask in masks:
            documents = DocumentMask(mask, np.arange(len(values) + 1))
            chosen = [leaves(value) for value, is_in in zip(values, mask, strict=True) if is_in]
            counts, missing = column.counts(documents)
            expected = Counter(value for each in chosen for value in each)
            assert dict(zip(different, counts.tolist(), strict=True)) == {value: expected[value] for value in different}
            assert missing == sum(not each for each in chosen)
            truth = rng.random(len(different)) < 0.5
            wanted = {value for value, is_true in zip(different, truth, strict=True) if is_true}
            assert column.count_any(truth, documents) == sum(bool(each & wanted) for each in chosen)
            assert column.mask(truth).tolist() == [bool(leaves(value) & wanted) for value in values]


def test_a_column_is_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The column of a built index is encoded once, whatever is written over it later; then only live values are."""
    kind, built, live = COLUMNS["lists"]
    lengths = []
    original = EncodedColumn.of.__func__  # type: ignore[attr-defined]

    def of(cls: type[EncodedColumn], column: pa.ChunkedArray, path: Any) -> EncodedColumn:
        lengths.append(len(column))
        return original(cls, column, path)  # type: ignore[no-any-return]

    monkeypatch.setattr(EncodedColumn, "of", classmethod(of))
    table = ArrowTable(batch(kind, built).schema, [batch(kind, built)])
    path = find_field("field", {"field": kind})
    for each in (table, table, table.with_batch(batch(kind, live)), table.with_batch(batch(kind, live[:1]))):
        encoded_column(Opened(each), path)  # type: ignore[arg-type]
    assert lengths == [5, 2, 1]


def test_a_column_of_many_values_takes_few_bytes() -> None:
    """Up to 254 different values a value takes one byte, up to 65,534 two."""
    for different, bytes_each in ((254, 1), (255, 2), (60_000, 2), (70_000, 4)):
        column = pa.chunked_array([pa.array(range(different)), pa.array(range(different))])
        made = EncodedColumn.of(column, find_field("field", {"field": pa.int64()}))
        assert made.codes.nbytes == 2 * different * bytes_each
        assert pc.min_max(made.values)["max"].as_py() == different - 1


def test_which_columns_are_compared_by_codes() -> None:
    """Lists, and values that repeat; not values that are all different."""
    rows = range(100)
    columns: dict[str, tuple[pa.DataType, list[Any]]] = {
        "few": (pa.string(), [f"v{row % 10}" for row in rows]),
        "different": (pa.string(), [f"v{row}" for row in rows]),
        "numbers": (pa.int64(), [row % 10 for row in rows]),
        "different numbers": (pa.int64(), list(rows)),
        "lists": (pa.list_(pa.string()), [[f"v{row}"] for row in rows]),
    }
    found = {}
    for name, (kind, values) in columns.items():
        table = ArrowTable(batch(kind, values).schema, [batch(kind, values)]).with_batch(batch(kind, values[:1]))
        found[name] = compares_codes(Opened(table), find_field("field", {"field": kind}))  # type: ignore[arg-type]
    kind = pa.list_(pa.struct([("n", pa.string())]))
    table = ArrowTable(batch(kind, [[{"n": "x"}]] * 4).schema, [batch(kind, [[{"n": "x"}]] * 4)])
    assert not compares_codes(Opened(table), find_field("field", {"field": kind}))  # type: ignore[arg-type]
    assert compares_codes(Opened(table), find_field("field.n", {"field": kind}))  # type: ignore[arg-type]
    assert found == {"few": True, "different": False, "numbers": True, "different numbers": False, "lists": True}
