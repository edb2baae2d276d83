"""Dense legs that find passages by codes: recall, exact scores, and as many results as exact search, also under filters."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from indexer.errors import UserError
from indexer.index import dense
from indexer.index.approximate import codes
from indexer.index.approximate import leg as approximate
from indexer.index.approximate.codes import Lists, make_codes
from indexer.index.approximate.kinds import (
    AUTO_KINDS,
    KINDS,
    MAX_FLAT_PASSAGES,
    DenseKind,
    candidate_kinds,
    count_lists,
)
from indexer.index.approximate.leg import ApproximateDense, open_dense
from indexer.index.dense import DenseIndex, write_faiss
from indexer.index.document_mask import DocumentMask
from indexer.index.flat_file import write_flat

ROWS, DIMENSION, COUNT, CENTRES = 4_000, 64, 10, 40
CODED: tuple[DenseKind, ...] = tuple(kind for kind in KINDS if kind != "flat")
EFFORTS = {"ivf-int8": {"nprobe": 32}, "ivf-1bit": {"nprobe": 32}, "hnsw": {"efSearch": 64}}


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    """Return vectors around some centres, as texts of some topics have, two of them the same."""
    rng = np.random.default_rng(1)
    centres = rng.normal(size=(CENTRES, DIMENSION))
    rows = centres[np.arange(ROWS) % CENTRES] + 1.2 * rng.normal(size=(ROWS, DIMENSION))
    rows[77] = rows[37]
    return rows.astype(np.float32)


@pytest.fixture(scope="module")
def queries(vectors: np.ndarray) -> np.ndarray:
    """Return queries near passages, not of unit length."""
    rng = np.random.default_rng(2)
    return 3 * vectors[::100] + rng.normal(size=(ROWS // 100, DIMENSION)).astype(np.float32)


@pytest.fixture(scope="module")
def folders(vectors: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the folder of an index of each kind."""
    folders = {}
    for kind in CODED:
        folders[kind] = tmp_path_factory.mktemp(kind)
        write_flat(folders[kind] / dense.FILE, DIMENSION, len(vectors), [vectors])
        index = make_codes(kind, DIMENSION, ROWS)
        full = DenseIndex.of(vectors).vectors(np.arange(ROWS))
        index.train(full)
        index.add(full)
        write_faiss(folders[kind] / codes.FILE, index)
    return folders


@pytest.fixture(params=CODED)
def leg(folders: dict[str, Path], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ApproximateDense:
    """Return a leg of each kind, which also uses its codes for filters that leave few passages."""
    monkeypatch.setattr(approximate, "MAX_EXACT_PASSAGES", 0)
    return open_leg(folders, request.param)


def open_leg(folders: dict[str, Path], kind: str) -> ApproximateDense:
    """Open an index of a kind."""
    leg = open_dense(folders[kind], {"dense": kind, "dense_index": {"extra": 190} | EFFORTS.get(kind, {})})
    assert isinstance(leg, ApproximateDense)
    return leg


def measure(leg: Any, queries: np.ndarray, allowed: DocumentMask | None = None) -> float:
    """Return the recall against exact search; check scores, order and number of results on the way."""
    found = 0
    for query in queries:
        cosines, rows = leg.search(query, COUNT, allowed)
        expected_cosines, expected = leg.exact.search(query, COUNT, allowed)
        assert len(rows) == len(set(rows.tolist())) == len(expected)
        assert np.array_equal(cosines, leg.exact.scores(query, rows))
        assert (cosines[:-1] >= cosines[1:]).all()
        assert allowed is None or allowed.mask[rows].all()
        found += np.count_nonzero(cosines >= expected_cosines[-1] - 1e-6) / len(expected)
    return round(float(found) / len(queries), 6)


def mask(chosen: np.ndarray) -> DocumentMask:
    """Return a filter that only some of the rows pass."""
    return DocumentMask(chosen, np.arange(ROWS + 1))


def test_recall(leg: ApproximateDense, queries: np.ndarray) -> None:
    """Nearly all of the nearest passages are found, with their exact cosines."""
    assert measure(leg, queries) >= 0.95


@pytest.mark.parametrize("share", [0.9, 0.3, 0.05, 0.005])
def test_a_filter(leg: ApproximateDense, queries: np.ndarray, share: float) -> None:
    """Under a filter as many come back as by exact search, and nearly the same ones."""
    assert measure(leg, queries, mask(np.random.default_rng(3).random(ROWS) < share)) >= 0.99


def test_a_filter_that_leaves_nothing_near(leg: ApproximateDense, queries: np.ndarray) -> None:
    """Where all allowed passages are of other topics than the queries, the nearest of them are found nonetheless."""
    topics = np.arange(ROWS) % CENTRES
    near = topics[::100][: len(queries)]
    assert set(near.tolist()) == {0, 20}
    leg = leg.with_effort(min(leg.effort, 4), 10)
    assert measure(leg, queries, mask((topics % 20 >= 10) & (topics % 20 < 14))) >= 0.99


def test_a_filter_reads_more_lists(
    folders: dict[str, Path], queries: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under a filter so many lists are read that more allowed passages are compared than passages without one."""
    monkeypatch.setattr(approximate, "MAX_EXACT_PASSAGES", 0)
    leg = open_leg(folders, "ivf-int8").with_effort(2, 2)
    allowed = mask(np.random.default_rng(3).random(ROWS) < 0.5)
    assert measure(leg, queries, allowed) > measure(leg, queries) + 0.05


def test_more_lists_where_few_hold_too_little(
    folders: dict[str, Path], queries: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the lists of the chosen effort hold too few passages, more are read; not all full vectors."""
    leg = open_leg(folders, "ivf-int8").with_effort(1, 8)
    monkeypatch.setattr(leg.exact, "search", None)
    assert len(leg.search(queries[0], 500)[1]) == 500


def test_few_allowed_passages_are_compared_exactly(folders: dict[str, Path], queries: np.ndarray) -> None:
    """A filter that leaves few passages makes the search exact."""
    allowed = mask(np.random.default_rng(4).random(ROWS) < 0.5)
    leg = open_leg(folders, "ivf-1bit").with_effort(1, 0)
    assert measure(leg, queries) < 0.9
    assert measure(leg, queries, allowed) == 1


@pytest.mark.parametrize("count", [1, 500, ROWS, ROWS + 5])
def test_count(leg: ApproximateDense, queries: np.ndarray, count: int) -> None:
    """There are ``count`` results, or as many as there are passages, however small the effort."""
    leg = leg.with_effort(1, 8)
    for allowed, available in ((None, ROWS), (mask(np.arange(ROWS) < 300), 300), (mask(np.zeros(ROWS, dtype=bool)), 0)):
        _, rows = leg.search(queries[0], count, allowed)
        assert len(rows) == len(set(rows.tolist())) == min(count, available)


def test_equal_vectors(leg: ApproximateDense, vectors: np.ndarray) -> None:
    """Two passages with the same vector have the same score, and the first row comes first."""
    cosines, rows = leg.search(vectors[77], 2)
    assert rows.tolist() == [37, 77]
    assert cosines[0] == cosines[1]


def test_full_vectors(leg: ApproximateDense, queries: np.ndarray) -> None:
    """Vectors and scores of given rows are those of the exact index; several queries give what each gives alone."""
    rows = np.array([5, 3_999, 5])
    assert np.array_equal(leg.vectors(rows), leg.exact.vectors(rows))
    assert np.array_equal(leg.scores(queries[0], rows), leg.exact.scores(queries[0], rows))
    cosines, found = leg.search_many(queries[:3], 7)
    for query in range(3):
        alone = leg.search(queries[query], 7)
        assert np.array_equal(cosines[query], alone[0]) and np.array_equal(found[query], alone[1])
    assert (len(leg), leg.dimension) == (ROWS, DIMENSION)


def test_from_eight_threads(leg: ApproximateDense, queries: np.ndarray) -> None:
    """Several threads at once get the results of a single one, also under one filter."""
    allowed = mask(np.random.default_rng(5).random(ROWS) < 0.4)
    alone = [leg.search(query, 20, allowed)[1].tolist() for query in queries]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda query: leg.search(query, 20, allowed)[1].tolist(), [*queries])) == alone


def test_more_effort_finds_more(folders: dict[str, Path], queries: np.ndarray) -> None:
    """Recall grows with the lists that are looked into, and with the full vectors that are compared."""
    by_lists = [measure(open_leg(folders, "ivf-int8").with_effort(lists, 0), queries) for lists in (1, 4, 32)]
    by_extra = [measure(open_leg(folders, "ivf-1bit").with_effort(32, extra), queries) for extra in (0, 20, 200)]
    assert by_lists == sorted(by_lists) and by_lists[0] < by_lists[-1]
    assert by_extra == sorted(by_extra) and by_extra[0] < by_extra[-1]


def test_codes_are_smaller(folders: dict[str, Path]) -> None:
    """What a search reads is smaller than the vectors; codes of one bit are the smallest."""
    sizes = {kind: (folders[kind] / codes.FILE).stat().st_size / ROWS for kind in CODED}
    assert sizes["ivf-1bit"] < sizes["flat-int8"] < sizes["ivf-int8"] < sizes["flat-fp16"] < 4 * DIMENSION


def test_the_lists_of_a_filter_are_counted_once(folders: dict[str, Path]) -> None:
    """How many allowed passages each list holds is kept as long as the filter lives, and not longer."""
    leg = open_leg(folders, "ivf-int8")
    assert isinstance(leg.codes, Lists)
    allowed = mask(np.arange(ROWS) % 2 == 0)
    counts = leg.codes._count_allowed(allowed)
    assert counts.sum() == allowed.passage_count and leg.codes._count_allowed(allowed) is counts
    del allowed
    assert len(leg.codes._counts) == 0


def test_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    """An index of a kind that a later version has made is refused by name."""
    with pytest.raises(UserError, match=r"'quantum'.*flat, flat-fp16"):
        open_dense(tmp_path, {"dense": "quantum"})


def test_files_that_do_not_belong_together(folders: dict[str, Path], tmp_path: Path, vectors: np.ndarray) -> None:
    """Codes of other passages, or no codes at all, are refused."""
    write_flat(tmp_path / dense.FILE, DIMENSION, len(vectors) - 1, [vectors[:-1]])
    (tmp_path / codes.FILE).write_bytes((folders["flat-int8"] / codes.FILE).read_bytes())
    with pytest.raises(UserError, match="does not belong to vectors"):
        open_dense(tmp_path, {"dense": "flat-int8", "dense_index": {"extra": 8}})
    (tmp_path / codes.FILE).write_bytes(b"nonsense")
    with pytest.raises(UserError, match="not readable as codes"):
        open_dense(tmp_path, {"dense": "flat-int8", "dense_index": {"extra": 8}})


def test_the_kind_follows_from_the_size() -> None:
    """Exact up to a bound; above it codes of one bit, and of eight bits where these find too little."""
    assert candidate_kinds("auto", MAX_FLAT_PASSAGES) == ("flat",)
    assert candidate_kinds("auto", MAX_FLAT_PASSAGES + 1) == AUTO_KINDS == ("ivf-1bit", "ivf-int8")
    assert candidate_kinds("hnsw", 3) == ("hnsw",)
    assert [count_lists(passages) for passages in (0, 1, 38, 100, 4_000, 1_000_000)] == [1, 1, 1, 2, 102, 4_000]
