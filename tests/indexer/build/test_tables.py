"""Values sorted in ranges, the file of an exact index written in blocks, and threads that hand on."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa
import pytest

from indexer.build.shards.pipeline import Behind, ahead
from indexer.build.shards.tables import sorted_values
from indexer.errors import UserError
from indexer.index.dense import unit
from indexer.index.flat_file import FlatFile, write_flat


@pytest.mark.parametrize("together", [1, 7, 100, 10_000])
@pytest.mark.parametrize("distinct", [3, 1000])
def test_ranges_give_the_order_of_all(together: int, distinct: int) -> None:
    """Sorted range by range, values come in the order of their bytes, and equal ones in that of their rows."""
    rng = random.Random(together)
    letters = ["a", "Z", "é", "東", "🙂", "￿", "", "-"]
    values = [rng.choice(letters) + str(rng.randrange(distinct)) for _ in range(500)]
    column = pa.chunked_array([values[:100], [], values[100:]], pa.string())
    found = [
        (value, row)
        for part, rows in sorted_values(column, together)
        for value, row in zip(part.to_pylist(), rows.tolist(), strict=True)
    ]
    assert found == sorted(zip(values, range(500), strict=True), key=lambda pair: (pair[0].encode(), pair[1]))


def test_ranges_are_small() -> None:
    """No range holds much more than was asked for."""
    column = pa.chunked_array([[f"{number:05}" for number in range(40_000)]])
    sizes = [len(rows) for _, rows in sorted_values(column, 5_000)]
    assert len(sizes) == 8
    assert max(sizes) < 6_000


@pytest.mark.parametrize("rows", [0, 1, 1000])
def test_the_file_is_that_of_faiss(tmp_path: Path, rows: int) -> None:
    """Written in blocks, an exact index has the bytes that FAISS writes."""
    vectors = np.random.default_rng(0).normal(size=(rows, 7)).astype(np.float32)
    index = faiss.IndexFlatIP(7)
    index.add(unit(vectors))
    write_flat(tmp_path / "a", 7, rows, np.array_split(vectors, 3))
    assert (tmp_path / "a").read_bytes() == faiss.serialize_index(index).tobytes()


def test_rows_of_a_file(tmp_path: Path) -> None:
    """Vectors are read by their rows, in any order; another kind of index, or a part of one, is refused."""
    vectors = unit(np.random.default_rng(0).normal(size=(50, 7)).astype(np.float32))
    write_flat(tmp_path / "a", 7, 50, [vectors])
    rows = np.array([49, 3, 3, 0])
    assert np.allclose(FlatFile(tmp_path / "a").vectors(rows), vectors[rows], atol=1e-6)
    assert FlatFile(tmp_path / "a").vectors(rows[:0]).shape == (0, 7)
    content = (tmp_path / "a").read_bytes()
    other = faiss.serialize_index(faiss.IndexHNSWFlat(7, 4)).tobytes()
    for damaged in (content[:-4], content[:20], b"IxF2" + content[4:], other):
        (tmp_path / "b").write_bytes(damaged)
        with pytest.raises(UserError, match="not the file of an exact index"):
            FlatFile(tmp_path / "b")


def test_a_missing_vector_is_noticed(tmp_path: Path) -> None:
    """Fewer vectors than passages make no file that is taken for a whole one."""
    with pytest.raises(UserError, match="2 vectors for 3 passages"):
        write_flat(tmp_path / "a", 4, 3, [np.ones((2, 4), np.float32)])


def test_reading_ahead_is_bounded() -> None:
    """A reader makes only so many items before they are asked for, and none after its caller has stopped."""
    made: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(100):
            made.append(number)
            yield number

    items = ahead(numbers(), 3)
    assert next(items) == 0
    time.sleep(0.05)
    assert len(made) <= 5
    items.close()
    count = len(made)
    time.sleep(0.05)
    assert len(made) == count
    assert list(ahead(numbers(), 3)) == list(range(100))


def test_an_error_of_the_reader_comes_in_its_place() -> None:
    """What the reader raises reaches the caller after the items before it."""

    def numbers() -> Iterator[int]:
        yield 1
        raise UserError("row 2")

    items = ahead(numbers(), 3)
    assert next(items) == 1
    with pytest.raises(UserError, match="row 2"):
        next(items)


def test_writing_behind_keeps_the_order_and_is_bounded() -> None:
    """Calls are made in their order; the caller waits while too many are outstanding; the block's end waits for all."""
    done: list[int] = []
    gate = threading.Event()

    def write(number: int) -> None:
        gate.wait()
        done.append(number)

    with Behind(2) as behind:
        behind.put(write, 0)
        behind.put(write, 1)
        threading.Timer(0.05, gate.set).start()
        for number in range(2, 50):
            behind.put(write, number)
            assert len(done) >= number - 2
    assert done == list(range(50))


def test_an_error_of_the_writer_is_raised() -> None:
    """What a call raises is not lost, at the latest at the end."""

    def fail() -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"), Behind(2) as behind:
        behind.put(fail)
