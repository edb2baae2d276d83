"""The dense leg: exact, equal to brute force."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import faiss
import numpy as np
import pytest

from indexer.cache import owner
from indexer.index import dense
from indexer.index.dense import DenseIndex, largest, unit
from indexer.index.flat_file import write_flat

ROWS, DIMENSION = 500, 24


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    """Return vectors of different lengths, two of them the same."""
    rows = np.random.default_rng(1).normal(size=(ROWS, DIMENSION)).astype(np.float32)
    rows *= np.linspace(0.1, 9, ROWS, dtype=np.float32)[:, None]
    rows[77] = rows[33]
    return rows


@pytest.fixture(scope="module")
def index(vectors: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> DenseIndex:
    """Return an index of the vectors, written in blocks of different sizes."""
    path = tmp_path_factory.mktemp("dense") / "vectors.faiss"

    def yield_blocks() -> Iterator[np.ndarray]:
        yield vectors[:1]
        yield vectors[1:300]
        yield vectors[300:]

    write_flat(path, DIMENSION, ROWS, yield_blocks())
    return DenseIndex.open(path)


@pytest.fixture(scope="module")
def queries() -> np.ndarray:
    """Return queries that are not of unit length."""
    return 3 * np.random.default_rng(2).normal(size=(20, DIMENSION)).astype(np.float32)


def compute_cosines(vectors: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Return the cosine of a query to every vector, in double precision."""
    scaled = vectors.astype(np.float64) / np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    return scaled @ (query / np.linalg.norm(query.astype(np.float64)))


def test_search_is_exact(index: DenseIndex, vectors: np.ndarray, queries: np.ndarray) -> None:
    """The nearest passages and their cosines are those of brute force, best first."""
    for query in queries:
        expected = compute_cosines(vectors, query)
        cosines, rows = index.search(query, 10)
        assert set(rows.tolist()) == set(np.argsort(-expected)[:10].tolist())
        assert np.allclose(cosines, expected[rows], atol=1e-5)
        assert (cosines[:-1] >= cosines[1:]).all()


def test_scores_of_given_rows(index: DenseIndex, vectors: np.ndarray, queries: np.ndarray) -> None:
    """Scoring given passages gives their cosines, in the given order; a passage may be given twice."""
    rows = np.array([400, 3, 3, 77, 0, 499])
    for query in queries:
        assert np.allclose(index.scores(query, rows), compute_cosines(vectors, query)[rows], atol=1e-5)
    assert index.scores(queries[0], np.empty(0, dtype=np.int64)).shape == (0,)


@pytest.mark.parametrize("row", [-1, ROWS, 2**40])
def test_a_row_beyond_the_passages(index: DenseIndex, queries: np.ndarray, row: int) -> None:
    """A row beyond the vectors is an error; no other memory is read."""
    with pytest.raises(IndexError, match=str(ROWS)):
        index.scores(queries[0], np.array([0, row]))


def test_vectors_have_unit_length(index: DenseIndex, vectors: np.ndarray) -> None:
    """Stored vectors have unit length and are in the order of the blocks, whatever their length was."""
    rows = np.arange(ROWS)
    stored = index.vectors(rows)
    assert np.allclose(np.linalg.norm(stored, axis=1), 1, atol=1e-5)
    assert np.allclose(stored, unit(vectors), atol=1e-6)
    assert index.vectors(np.empty(0, dtype=np.int64)).shape == (0, DIMENSION)


def test_equal_vectors_have_equal_scores(index: DenseIndex, queries: np.ndarray) -> None:
    """Two passages of the same text get exactly the same score: ties can be broken by id."""
    for query in queries:
        cosines, rows = index.search(query, ROWS)
        score = dict(zip(rows.tolist(), cosines.tolist(), strict=True))
        assert score[33] == score[77]


@pytest.mark.parametrize("count", [1, ROWS, ROWS + 1, 10 * ROWS])
def test_count(index: DenseIndex, queries: np.ndarray, count: int) -> None:
    """There are ``count`` results, or as many as there are passages; each passage comes once."""
    cosines, rows = index.search(queries[0], count)
    assert len(cosines) == len(rows) == len(set(rows.tolist())) == min(count, ROWS)
    assert rows.min() >= 0
    assert (len(index), index.dimension) == (ROWS, DIMENSION)


def test_unit() -> None:
    """Vectors are scaled to length one along the last axis; a zero vector stays zero and gives no warning."""
    assert unit(np.array([[3.0, 4.0], [0.0, 0.0]], dtype=np.float32)).tolist() == [
        [pytest.approx(0.6), pytest.approx(0.8)],
        [0, 0],
    ]
    assert unit(np.array([0.0, 5.0], dtype=np.float32)).tolist() == [0, 1]


def test_a_query_without_direction(index: DenseIndex) -> None:
    """A zero vector, should a model ever give one, is no error: all its scores are zero."""
    cosines, rows = index.search(np.zeros(DIMENSION, dtype=np.float32), 5)
    assert cosines.tolist() == [0] * 5
    assert len(rows) == 5


def test_from_eight_threads(index: DenseIndex, queries: np.ndarray) -> None:
    """Several threads at once get the results of a single one."""
    alone = [index.search(query, 20)[1].tolist() for query in queries] * 20
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda query: index.search(query, 20)[1].tolist(), [*queries] * 20)) == alone


def test_searches_use_no_helper_threads(index: DenseIndex, queries: np.ndarray) -> None:
    """OpenMP has a limit of threads for each calling thread: a search of any thread stays on one core."""

    def search_and_count(query: np.ndarray) -> int:
        faiss.omp_set_num_threads(2)
        index.search(query, 20)
        return int(faiss.omp_get_max_threads())

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(search_and_count, queries)) == [1] * len(queries)


def test_a_full_disk_is_noticed(vectors: np.ndarray) -> None:
    """Even the last block, which stays in a buffer until the file is closed, is not lost silently."""
    for rows in (1, ROWS):
        with pytest.raises(OSError, match="No space left on device"):
            write_flat(Path("/dev/full"), DIMENSION, rows, [vectors[:rows]])


def test_kept_cosines_change_nothing(index: DenseIndex, vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    """Passages that are scored after a search have the bits that they have without one, for this vector and for others."""
    one, other = vectors[3], vectors[5]
    rows = np.array([7, 400, 33, 7])
    alone = [index.scores(vector, rows) for vector in (one, other)]
    found = index.search(one, 40)
    assert np.array_equal(index.scores(one, rows), alone[0])
    assert np.array_equal(index.scores(other, rows), alone[1])
    assert np.array_equal(index.scores(one, found[1]), found[0])
    with pytest.raises(IndexError):
        index.scores(one, np.array([-1]))
    monkeypatch.setattr(dense, "MOST_KEPT", 10)
    scanned = DenseIndex(index._faiss)
    assert all(np.array_equal(mine, faiss_own) for mine, faiss_own in zip(found, scanned.search(one, 40), strict=True))


def test_nobody_finds_the_cosines_of_another(
    index: DenseIndex, vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is kept of a query is used for its owner alone: a quicker answer would tell that somebody has just asked it."""
    compared = []
    compare = DenseIndex._compare
    monkeypatch.setattr(DenseIndex, "_compare", lambda *args: compared.append(1) or compare(*args))
    index.search(vectors[3], 5)
    index.scores(vectors[3], np.array([1]))
    assert len(compared) == 1
    token = owner.set("another key")
    try:
        index.scores(vectors[3], np.array([1]))
    finally:
        owner.reset(token)
    assert len(compared) == 2


@pytest.mark.parametrize("count", [1, 3, 6, 9])
def test_of_equal_scores_the_lower_rows(count: int) -> None:
    """Where equal scores stand on both sides of the border, the lower rows are returned, in their order."""
    scores = np.array([0.5, 0.9, 0.5, 0.1, 0.9, 0.5], dtype=np.float32)
    assert largest(count, scores)[1].tolist() == [1, 4, 0, 2, 5, 3][:count]
