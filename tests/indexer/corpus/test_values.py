"""Values of Parquet columns: what no answer could hold is a reject by name, and odd but sound values stay."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from indexer.corpus.corpus import Corpus
from indexer.errors import UserError

BAD = pa.array([b"fine", b"\xe9\xff", None]).view(pa.string())
OFFSETS = pa.array([0, 1, 2, 3], pa.int32())
KEYS = pa.array(["a", "b", "c"])


def check(path: Path, **columns: Any) -> Corpus:
    """Check a corpus of three rows with more columns."""
    pq.write_table(pa.table({"id": ["1", "2", "3"], "text": ["x", "y", "z"]} | columns), path / "a.parquet")
    return Corpus.check(str(path / "a.parquet"), skip_bad_rows=True)


@pytest.mark.parametrize(
    "column",
    [
        BAD,
        BAD.cast(pa.large_string()),
        pa.ListArray.from_arrays(OFFSETS, BAD),
        pa.FixedSizeListArray.from_arrays(BAD, 1),
        pa.StructArray.from_arrays([BAD], names=["m"]),
        pa.MapArray.from_arrays(OFFSETS, KEYS, BAD),
        pa.ListArray.from_arrays(OFFSETS, pa.StructArray.from_arrays([BAD], names=["m"])),
    ],
    ids=lambda column: str(column.type),
)
def test_invalid_utf8(tmp_path: Path, column: pa.Array) -> None:
    """A value that is not UTF-8 makes its row a reject, however deep it is, and no other row."""
    corpus = check(tmp_path, note=column)
    assert [(reject.id, reject.reason) for reject in corpus.rejects] == [("2", "invalid UTF-8 in column 'note'")]
    assert [row["id"] for batch in corpus.batches() for row in batch.to_pylist()] == ["1", "3"]


@pytest.mark.parametrize("zone", ["tzutc()", "utc", "UTC+1", "US/Pacific-New", "-0330"])
def test_unknown_zones(tmp_path: Path, zone: str) -> None:
    """Moments in a zone that nobody knows are kept in UTC; a known zone stays."""
    column = pa.array([0, 1, 2], pa.timestamp("us", zone))
    corpus = check(tmp_path, at=column, kept=column.cast(pa.timestamp("us", "Europe/Berlin")))
    kinds = {field.name: field.type for field in corpus.schema.field("metadata").type}
    assert kinds == {"at": pa.timestamp("us", "UTC"), "kept": pa.timestamp("us", "Europe/Berlin")}


def test_times_that_cannot_be_written(tmp_path: Path) -> None:
    """A date beyond what can be written is a reject; one beyond the year 9999 is a value."""
    corpus = check(tmp_path, day=pa.array([2**31 - 1, 10_000_000, 0], pa.int32()).view(pa.date32()))
    assert [(reject.id, reject.reason) for reject in corpus.rejects] == [
        ("1", "a date beyond the year 32000 in column 'day'")
    ]


def test_two_members_of_one_name(tmp_path: Path) -> None:
    """A struct with two members of one name is refused with file, column and member."""
    column = pa.ListArray.from_arrays(OFFSETS, pa.StructArray.from_arrays([KEYS, KEYS], names=["m", "m"]))
    with pytest.raises(UserError, match=r"a\.parquet: two members in column 'note' are called 'm'; rename one"):
        check(tmp_path, note=column)


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([Decimal("7.00"), Decimal("7.50"), None]), ["7"]),
        (pa.array([12.0, 0.5, float("nan")]), ["12"]),
        (pa.array([b"k\xc3\xa9y", b"\xff", None]), ["kéy"]),
        (
            pa.array([UUID(int=5).bytes, b"sixteen letters!", None], pa.binary(16)),
            [str(UUID(int=5)), "sixteen letters!"],
        ),
    ],
    ids=["decimal", "float", "binary", "uuid"],
)
def test_ids(tmp_path: Path, column: pa.Array, expected: list[str]) -> None:
    """Whole decimals and floats, UUIDs and binary text are ids; other values are rejects."""
    corpus = check(tmp_path, id=column)
    assert [row["id"] for batch in corpus.batches() for row in batch.to_pylist()] == expected
    assert len(corpus.rejects) == 3 - len(expected)


def test_common_type_that_does_not_hold_a_value(tmp_path: Path) -> None:
    """Files with nanoseconds and microseconds become microseconds where these hold all; else the row is named."""
    far = pa.array([253_402_000_000_000_000], pa.timestamp("us"))
    pq.write_table(pa.table({"id": ["1"], "text": ["x"], "at": far}), tmp_path / "a.parquet")
    for odd in (0, 1):
        fine = pa.array([10**18 + odd], pa.timestamp("ns"))
        pq.write_table(pa.table({"id": ["2"], "text": ["x"], "at": fine}), tmp_path / "b.parquet")
        corpus = Corpus.check(str(tmp_path), skip_bad_rows=True)
        assert [reject.reason.partition(",")[0] for reject in corpus.rejects] == [
            "column 'at' holds 9999-12-28 12:26:40"
        ] * odd


def test_durations_of_two_units(tmp_path: Path) -> None:
    """Durations longer than nanoseconds can express become microseconds beside others that need no nanoseconds."""
    long = 400 * 365 * 86_400
    for name, lasts in (("a", pa.array([long], pa.duration("s"))), ("b", pa.array([5000], pa.duration("ns")))):
        pq.write_table(pa.table({"id": [name], "text": ["x"], "lasts": lasts}), tmp_path / f"{name}.parquet")
    corpus = Corpus.check(str(tmp_path))
    seconds = [row["metadata"]["lasts"].total_seconds() for batch in corpus.batches() for row in batch.to_pylist()]
    assert seconds == [long, 5e-6]


@pytest.mark.parametrize("members", [False, True])
def test_decimals_beside_whole_numbers(tmp_path: Path, members: bool) -> None:
    """Decimals of one file and whole numbers of another have a type that holds both, or the row is named."""
    columns = [pa.array([Decimal("1.5")], pa.decimal128(5, 1)), pa.array([10**18])]
    for number, column in enumerate(columns):
        values = pa.StructArray.from_arrays([column], names=["m"]) if members else column
        pq.write_table(pa.table({"id": [str(number)], "text": ["x"], "v": values}), tmp_path / f"{number}.parquet")
    corpus = Corpus.check(str(tmp_path), skip_bad_rows=True)
    rows = [row["metadata"]["v"] for batch in corpus.batches() for row in batch.to_pylist()]
    if members:
        assert [reject.reason.partition(",")[0] for reject in corpus.rejects] == [f"column 'v' holds {{'m': {10**18}}}"]
    else:
        assert rows == [Decimal("1.5"), 10**18]


def test_ids_that_are_no_text_name_the_remedy(tmp_path: Path) -> None:
    """Binary ids and floats beyond exact whole numbers are refused with what to write in their place."""
    for ids, reason in (
        (pa.array([b"\xff" * 16]), "invalid UTF-8 in column 'id', which is binary; write it as text"),
        (pa.array([1e20]), f"column 'id' holds 1e+20, not a whole number up to {2**53}; write it as text"),
    ):
        pq.write_table(pa.table({"id": ids, "text": ["x"]}), tmp_path / "a.parquet")
        with pytest.raises(UserError, match=re.escape(reason)):
            Corpus.check(str(tmp_path / "a.parquet"))
