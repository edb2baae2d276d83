"""Spool: types, bytes and lifetime of the file with a database's rows."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from indexer.corpus.sql.spool import RowWriter, claim_folder
from indexer.errors import UserError


class Owner:
    """Something that uses a folder."""


def write(path: Path, names: list[str], *batches: list[tuple[Any, ...]]) -> pa.Table:
    """Write batches of rows and return what was stored."""
    with RowWriter(path, names) as writer:
        for batch in batches:
            writer.add(batch)
    assert list(path.parent.iterdir()) == [path]  # no pieces are left
    return pq.read_table(path)


def test_types_from_late_rows(tmp_path: Path) -> None:
    """A column that starts with NULLs, or with narrower values, gets the type that holds all its rows."""
    names = ["late", "wider", "mixed", "never"]
    table = write(
        tmp_path / "a.parquet", names, [(None, 1, 1, None)] * 2, [(b"x", 0.5, "a", None)], [(None, 2, 3, None)]
    )
    assert table.schema.types == [pa.binary(), pa.float64(), pa.string(), pa.string()]
    assert table.to_pydict() == {
        "late": [None, None, b"x", None],
        "wider": [1.0, 1.0, 0.5, 2.0],
        "mixed": ["1", "1", "a", "3"],
        "never": [None] * 4,
    }


def test_no_rows(tmp_path: Path) -> None:
    """A statement without a result still gives a file with its columns."""
    assert write(tmp_path / "a.parquet", ["id", "text"]).schema.names == ["id", "text"]


def test_same_rows_same_bytes(tmp_path: Path) -> None:
    """The checksum of the file tells whether a table has changed."""
    rows = [[(number, f"text {number}", None if number < 90 else 0.5)] * 10 for number in range(100)]
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "a.parquet", ["id", "text", "late"], *rows)
    assert (tmp_path / "one" / "a.parquet").read_bytes() == (tmp_path / "two" / "a.parquet").read_bytes()


def test_failure_leaves_no_file(tmp_path: Path) -> None:
    """Rows that break off do not leave a file that looks complete."""
    with pytest.raises(ValueError), RowWriter(tmp_path / "a.parquet", ["id", "text"]) as writer:
        writer.add([(1, "a"), (2,)])
    assert not (tmp_path / "a.parquet").exists()


def test_folder_lives_as_long_as_its_owner(tmp_path: Path) -> None:
    """A folder is there while it is used and gone afterwards; what a killed process left goes with the next claim."""
    abandoned = tmp_path / ".spool" / "tmpabandoned"
    abandoned.mkdir(parents=True)
    (abandoned / ".lock").touch()
    first, second = Owner(), Owner()
    one = claim_folder(first, tmp_path)
    two = claim_folder(second, tmp_path)
    assert one.is_dir() and two.is_dir() and one != two
    assert not abandoned.exists()
    del first
    gc.collect()
    assert not one.exists() and two.is_dir()
    del second


def test_data_directory_that_is_none(tmp_path: Path) -> None:
    """A data directory that cannot be written to is named."""
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file/\.spool: not writable .*DOWSE_DATA"):
        claim_folder(Owner(), tmp_path / "file")
