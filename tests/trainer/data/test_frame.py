"""The training frame: checked when it is opened, filled completely or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from faulty_llm import write_frame

import trainer.data.frame
from indexer.errors import UserError
from trainer.data.frame import QUERY_COLUMNS, FrameRow, Pairs, choose_rows, fill_frame, open_frame, read_rows


def numbered(rows: list[FrameRow]) -> list[Pairs]:
    """Return as many queries as the number of the row says, five at most."""
    return [[("claim", f"{row.text[:8]} {position}") for position in range(row.number % 6)] for row in rows]


def test_rows_are_numbered_and_chosen(tmp_path: Path) -> None:
    """Rows come in order with their numbers, all of them or those that the mask names."""
    frame = write_frame(tmp_path / "frame.parquet", 2500, pieces=2)
    rows = list(read_rows(frame))
    assert [row.number for row in rows] == list(range(2500))
    assert rows[3] == FrameRow(3, "d1#1", "d1", "Title 3", rows[3].text)
    mask = np.arange(2500) % 7 == 0
    assert [row.number for row in read_rows(frame, mask)] == list(range(0, 2500, 7))


def test_filled_across_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every row gets its own queries, whatever the size of the batches; other columns and their types stay."""
    monkeypatch.setattr(trainer.data.frame, "FILL_ROWS", 7)
    frame = write_frame(tmp_path / "frame.parquet", 40)
    fill_frame(frame, tmp_path / "out.parquet", numbered)
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.schema.names == ["id", "document", "title", "text", "price", *QUERY_COLUMNS, "kinds"]
    assert table.schema.field("price").type == pa.float64()
    for number, row in enumerate(table.to_pylist()):
        wanted = number % 6
        assert row["kinds"] == ["claim"] * wanted
        queries = [row[name] for name in QUERY_COLUMNS]
        assert queries == [f"{row['text'][:8]} {position}" for position in range(wanted)] + [None] * (5 - wanted)


def test_filled_again(tmp_path: Path) -> None:
    """Earlier queries are replaced, also when the frame is filled in position."""
    frame = write_frame(tmp_path / "frame.parquet", 8)
    for _ in range(2):
        fill_frame(frame, frame, numbered)
    names = pq.read_schema(frame).names
    assert len(names) == len(set(names)) == 11


def test_a_failure_leaves_the_earlier_frame(tmp_path: Path) -> None:
    """A failure leaves the earlier frame unchanged, and no temporary file."""
    frame = write_frame(tmp_path / "frame.parquet", 8)
    before = frame.read_bytes()

    def broken(rows: list[FrameRow]) -> list[Pairs]:
        raise RuntimeError(len(rows))

    with pytest.raises(RuntimeError, match="8"):
        fill_frame(frame, frame, broken)
    assert frame.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["frame.parquet"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"id": ["a"], "document": ["a"], "title": ["t"]}, "has no column 'text' of texts"),
        ({"id": [1], "document": ["a"], "title": ["t"], "text": ["x"]}, "has no column 'id' of texts"),
        ({"id": ["a"], "document": ["a"], "text": ["x"]}, "has no column 'title' of texts"),
    ],
)
def test_other_parquet_files_are_refused(tmp_path: Path, table: dict[str, list[object]], message: str) -> None:
    """Another Parquet file is refused with the column that is missing and what makes a frame."""
    path = tmp_path / "other.parquet"
    pq.write_table(pa.table(table), path)
    with pytest.raises(UserError, match=f"^{path}: {message}; make it with `python -m trainer prepare`"):
        open_frame(path)


def test_a_frame_without_titles(tmp_path: Path) -> None:
    """A title column that is all null, whatever its type, is a frame."""
    path = tmp_path / "frame.parquet"
    pq.write_table(pa.table({"id": ["a"], "document": ["a"], "title": pa.nulls(1), "text": ["x"]}), path)
    assert next(read_rows(path)).title is None


def test_missing_and_broken_files(tmp_path: Path) -> None:
    """A missing file, and a file that is no Parquet, are a `UserError`."""
    with pytest.raises(UserError, match="no such file; make it with"):
        open_frame(tmp_path / "none.parquet")
    (tmp_path / "text.parquet").write_text("hello")
    with pytest.raises(UserError, match="not readable as Parquet"):
        open_frame(tmp_path / "text.parquet")


def test_documents_are_drawn_whole_by_seed(tmp_path: Path) -> None:
    """A limit draws whole documents, others with another seed, all where there are not so many."""
    frame = write_frame(tmp_path / "frame.parquet", 300, pieces=3)
    mask = choose_rows(frame, 10, seed=0)
    assert mask.sum() == 30 and mask.reshape(-1, 3).all(axis=1).sum() == 10
    assert (choose_rows(frame, 10, seed=0) == mask).all()
    assert (choose_rows(frame, 10, seed=1) != mask).any()
    assert (choose_rows(frame, 11, seed=0) >= mask).all()
    assert choose_rows(frame, 1000, seed=0).all() and choose_rows(frame, None, seed=0).all()
