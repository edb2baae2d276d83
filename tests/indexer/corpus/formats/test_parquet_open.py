"""Parquet files as old or odd writers leave them: every value is read as it was written, or refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from indexer.corpus.corpus import Corpus
from indexer.errors import UserError

BAD = pa.array([b"fine", b"\xe9\xff", b"good"]).view(pa.string())
OFFSETS = pa.array([0, 1, 2, 3], pa.int32())
FAR, FINE = 25 * 10**13, 5
"""A time in milliseconds that nanoseconds cannot express, and one in nanoseconds."""


def write(path: Path, columns: dict[str, Any], **options: Any) -> None:
    """Write a corpus of three rows with more columns."""
    pq.write_table(pa.table({"id": ["1", "2", "3"], "text": ["x", "y", "z"]} | columns), path, **options)


def values(corpus: Corpus, name: str) -> list[Any]:
    """Return one metadata column of the accepted rows."""
    return [value for batch in corpus.batches() for value in batch.column("metadata").field(name).to_pylist()]


@pytest.mark.parametrize("index", [pa.int8(), pa.int32(), pa.int64()])
@pytest.mark.parametrize("depth", [0, 1, 2])
def test_dictionary_with_invalid_utf8(tmp_path: Path, index: pa.DataType, depth: int) -> None:
    """A dictionary with one bad value costs the rows that have it, and what else is in the file keeps its type."""
    column = pa.DictionaryArray.from_arrays(pa.array([0, 1, 2], index), BAD)
    expected: list[Any] = ["fine", "good"]
    if depth > 0:
        column, expected = pa.StructArray.from_arrays([column], names=["m"]), [{"m": value} for value in expected]
    if depth > 1:
        column, expected = pa.ListArray.from_arrays(OFFSETS, column), [[value] for value in expected]
    lasts = pa.array([1, 2, 3], pa.duration("s"))
    write(tmp_path / "a.parquet", {"kind": column, "lasts": lasts, "all": pa.array([[n] for n in lasts.to_pylist()])})
    write(tmp_path / "b.parquet", {"id": ["4", "5", "6"], "lasts": pa.array([0, 0, 0], pa.duration("ms"))})
    corpus = Corpus.check(str(tmp_path), skip_bad_rows=True)
    assert [(reject.row, reject.reason) for reject in corpus.rejects] == [(2, "invalid UTF-8 in column 'kind'")]
    assert values(corpus, "kind")[:2] == expected
    assert [value.total_seconds() for value in values(corpus, "lasts")[:2]] == [1, 3]
    assert [value[0].total_seconds() for value in values(corpus, "all")[:2]] == [1, 3]


def test_bad_dictionary_far_in_the_file(tmp_path: Path) -> None:
    """Rows before the dictionary that cannot be restored are read once, and none is lost."""
    rows = 5000
    good = pa.array([b"fine"] * 4000).view(pa.string()).dictionary_encode()
    bad = pa.array([b"fine"] * 999 + [b"\xff"]).view(pa.string()).dictionary_encode()
    schema = pa.schema([("id", pa.string()), ("text", pa.string()), ("kind", pa.dictionary(pa.int8(), pa.string()))])
    with pq.ParquetWriter(tmp_path / "a.parquet", schema) as file:
        for start, column in ((0, good), (4000, bad)):
            column = pa.DictionaryArray.from_arrays(column.indices.cast(pa.int8()), column.dictionary)  # noqa: PLW2901
            ids = [str(start + row) for row in range(len(column))]
            file.write_table(pa.table([ids, ids, column], schema=schema), row_group_size=1000)
    corpus = Corpus.check(str(tmp_path / "a.parquet"), skip_bad_rows=True)
    assert [reject.row for reject in corpus.rejects] == [rows]
    ids = [value for batch in corpus.batches() for value in batch.column("id").to_pylist()]
    assert ids == [str(row) for row in range(rows - 1)]


@pytest.mark.parametrize("kind", [pa.list_view(pa.int32()), pa.large_list_view(pa.string())])
def test_list_views(tmp_path: Path, kind: pa.DataType) -> None:
    """Views of lists are lists."""
    written = [[1, 2], None, []] if pa.types.is_list_view(kind) else [["a"], [None], None]
    write(tmp_path / "a.parquet", {"several": pa.array(written, kind)})
    assert values(Corpus.check(str(tmp_path)), "several") == written


@pytest.mark.parametrize("restorable", [True, False])
def test_old_times(tmp_path: Path, restorable: bool) -> None:
    """Times in INT96 are right whether they are far, which nanoseconds cannot express, or fine; also within lists."""
    options = {"use_deprecated_int96_timestamps": True, "store_schema": restorable}
    for name, unit, numbers, kept in (
        ("far", "ms", [FAR, -FAR // 2, None], "us"),
        ("fine", "ns", [FINE, None, -FINE], "ns"),
    ):
        moments = pa.array(numbers, pa.timestamp(unit))
        path = tmp_path / f"{name}.parquet"
        write(path, {"at.utc": moments, "all": pa.ListArray.from_arrays(OFFSETS, moments)}, **options)
        corpus = Corpus.check(str(path))
        kind = pa.timestamp(kept)
        columns = {field.name: field.type for field in corpus.schema.field("metadata").type}
        assert columns["at.utc"] == kind and columns["all"].value_type == kind
        (batch,) = corpus.batches()
        metadata = batch.column("metadata")
        for column in (metadata.field("at.utc"), metadata.field("all").flatten()):
            assert column.equals(moments.cast(kind))


def test_old_times_that_no_unit_holds(tmp_path: Path) -> None:
    """Far dates beside nanoseconds are refused with file and columns, since one unit would change some."""
    far, fine = pa.array([FAR] * 3, pa.timestamp("ms")), pa.array([FINE] * 3, pa.timestamp("ns"))
    write(tmp_path / "a.parquet", {"until": far, "at": fine}, use_deprecated_int96_timestamps=True)
    with pytest.raises(UserError, match=r"a\.parquet: column 'until' holds dates .* and column 'at' nanoseconds"):
        Corpus.check(str(tmp_path))


def test_lists_of_nulls(tmp_path: Path) -> None:
    """Lists of nulls without a type are read, also where another file gives their elements a type."""
    nulls = [[None, None], None, [None, None, None]]
    write(tmp_path / "a.parquet", {"several": pa.array(nulls)})
    assert values(Corpus.check(str(tmp_path)), "several") == nulls
    write(tmp_path / "b.parquet", {"id": ["4", "5", "6"], "several": pa.array([[1], [], [None]])})
    assert values(Corpus.check(str(tmp_path)), "several") == [*nulls, [1], [], [None]]
