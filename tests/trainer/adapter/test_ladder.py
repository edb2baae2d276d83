"""The ladder: a rung is kept only if dev agrees, and each starts from the best so far."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from tales import write_labelled

from indexer.artifacts.store import Store
from indexer.build.build import build
from indexer.build.settings import BuildSettings
from indexer.index.dense import unit
from indexer.index.index import Index
from trainer.adapter.distillation import all_passages
from trainer.adapter.ladder import EncodedQueries, Ladder
from trainer.adapter.linear_map import apply, blend, scaled
from trainer.data.labels import Labels, read_labels
from trainer.evaluate.rankings import WEIGHTS

COUNT = 96


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus with labels."""
    return write_labelled(tmp_path_factory.mktemp("ladder"), COUNT)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory, skewed_data: Path, corpus: Path) -> Index:
    """An index of it, with a model that can be improved."""
    data = Path(shutil.copytree(skewed_data, tmp_path_factory.mktemp("ladder-data") / "data"))
    manifest = build(str(corpus), BuildSettings(language="en", dense_weight=0.5), data, cores=1).manifest
    return Index.open(Store("index", data).path(manifest.id), cores=1)


@pytest.fixture(scope="module")
def labels(corpus: Path) -> Labels:
    """The labels."""
    return read_labels(corpus.with_name("qrels.parquet"), None, {f"t{row:03}" for row in range(COUNT)}, 0)


ROWS = {f"t{row:03}": row for row in range(COUNT)}


def encode(index: Index, labels: Labels, part: str) -> EncodedQueries:
    """Return the queries of one part with their vectors."""
    queries = getattr(labels, part)
    return EncodedQueries(queries, unit(index.encoder.encode_queries(list(queries.texts.values()))))


@pytest.fixture
def ladder(index: Index, labels: Labels) -> Ladder:
    """A ladder on which nothing was tried yet; the test queries serve as dev, since there are more of them."""
    return Ladder(index, list(ROWS), encode(index, labels, "test"), WEIGHTS, 0)


def some_map(seed: int) -> np.ndarray:
    """Return a map."""
    return scaled(np.random.default_rng(seed).normal(size=(32, 32)).astype(np.float32))


def set_scores(ladder: Ladder, known: Mapping[float, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the scores on dev of these maps by the given ones."""

    def measure(matrix: np.ndarray | None) -> float:
        assert matrix is not None
        return next(score for score, each in known.items() if np.allclose(each, matrix))

    monkeypatch.setattr(ladder, "measure", measure)


def test_before_any_rung(ladder: Ladder) -> None:
    """Before anything is tried the map is the identity, and the score that of the index as it is."""
    assert ladder.matrix is None
    assert np.array_equal(ladder.best, np.eye(32))
    assert ladder.score == ladder.measure(None) == pytest.approx(ladder.measure(np.eye(32, dtype=np.float32)), abs=1e-6)
    assert [(point.at, point.value) for point in ladder.points] == [("base", ladder.score)]


def test_the_score(ladder: Ladder) -> None:
    """The score is the mean of dense and hybrid nDCG@10, hybrid at the best of the weights that may be chosen."""
    ranked = ladder.rank(None, ladder.dev, "test")
    hybrid = [ranked.mean(weight) for weight in WEIGHTS]
    assert ladder.score == pytest.approx((ranked.mean(1) + max(hybrid)) / 2)
    assert len(set(hybrid)) > 3
    ladder.weights = (0.1,)
    assert ladder.measure(None) == pytest.approx((ranked.mean(1) + ranked.mean(0.1)) / 2)


def test_a_map_is_for_both_sides(ladder: Ladder) -> None:
    """A map is applied to the passages of the index and to the vectors of the queries."""
    matrix = some_map(0)
    retriever = ladder.retriever(matrix)
    assert np.allclose(all_passages(retriever.index), apply(matrix, all_passages(ladder.index)), atol=1e-5)
    ranked = ladder.rank(matrix, ladder.dev, "test")
    mapped = apply(matrix, ladder.dev.vectors)
    expected = retriever.search(next(iter(ladder.dev.queries.texts.values())), vector=mapped[0])
    assert ranked.rankings[0].rows.tolist() == expected.rows.tolist()
    assert ladder.retriever(None).index is ladder.index


def test_a_rung_that_helps_is_kept(ladder: Ladder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A map with a better score on dev becomes the best one, with which the next rung is compared."""
    first, second = some_map(1), some_map(2)
    before = ladder.score
    set_scores(ladder, {0.5: first, 0.1: blend(first, 0.5), 0.2: blend(first, 0.75)}, monkeypatch)
    ladder.score = 0.4
    ladder.attempt("one", lambda: first)
    assert np.array_equal(ladder.best, first)
    assert ladder.score == 0.5
    set_scores(ladder, {0.49: second, 0.48: blend(second, 0.5), 0.47: blend(second, 0.75)}, monkeypatch)
    ladder.attempt("two", lambda: second)
    assert np.array_equal(ladder.best, first)
    assert ladder.score == 0.5
    assert [(rung.name, rung.kept, rung.dev_before, rung.dev_after) for rung in ladder.rungs] == [
        ("one", True, 0.4, 0.5),
        ("two", False, 0.5, 0.49),
    ]
    assert [(point.at, point.value) for point in ladder.points] == [("base", before), ("one", 0.5), ("two", 0.49)]


def test_an_equal_score_is_not_kept(ladder: Ladder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A map with the same score is not kept: nothing is changed without a gain."""
    matrix = some_map(3)
    monkeypatch.setattr(ladder, "measure", lambda _: ladder.score)
    ladder.attempt("one", lambda: matrix)
    assert ladder.matrix is None
    assert not ladder.rungs[0].kept


def test_a_blend_is_kept(ladder: Ladder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A map between the identity and the learned one is kept where it is the best, and the rung says so."""
    matrix = some_map(4)
    set_scores(ladder, {0.6: matrix, 0.9: blend(matrix, 0.5), 0.8: blend(matrix, 0.75)}, monkeypatch)
    ladder.attempt("one", lambda: matrix)
    assert np.allclose(ladder.best, blend(matrix, 0.5))
    assert ladder.rungs[0].name == "one, merged with the base at 0.5"
    set_scores(ladder, {1.0: matrix}, monkeypatch)
    ladder.attempt("unblended", lambda: matrix, shares=())
    assert np.array_equal(ladder.best, matrix)


def test_each_rung_improves(ladder: Ladder, index: Index, labels: Labels) -> None:
    """Whitening, distillation and labels each improve a model in which three directions dominate."""
    start = ladder.score
    ladder.attempt("whitening", ladder.whiten, shares=())
    whitened = ladder.score
    assert whitened > start + 0.02
    before = ladder.best
    train = encode(index, labels, "train")
    learned = ladder.supervise(train, ROWS, before)
    assert learned.shape == (32, 32)
    assert 0 < np.linalg.norm(learned - before) < np.linalg.norm(before)  # near where it began
    assert ladder.measure(learned) > whitened
    distilled = ladder.distill(list(train.queries.texts.values()), train.vectors, before)
    assert 0 < np.linalg.norm(distilled - before) < np.linalg.norm(before)
    assert not np.allclose(distilled, learned, atol=1e-3)
    assert ladder.losses
    assert all(point.loss > 0 for point in ladder.losses)
