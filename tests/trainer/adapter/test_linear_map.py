"""A linear map on frozen vectors: whitening, and training of the map."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from indexer.index.dense import unit
from trainer.adapter.linear_map import (
    VARIANCE_FLOOR,
    MapSettings,
    RankingExamples,
    apply,
    blend,
    learn,
    scaled,
    whitening,
)

DIMENSION = 8
QUICK = MapSettings(learning_rate=1e-2, epochs=5, batch_size=16, pull=1e-3)
Floats = NDArray[np.float32]


def noise(rows: int, seed: int, width: int = DIMENSION) -> Floats:
    """Return numbers from a normal distribution."""
    return np.random.default_rng(seed).normal(size=(rows, width)).astype(np.float32)


def rotation(seed: int) -> Floats:
    """Return an orthogonal matrix."""
    return np.linalg.qr(noise(DIMENSION, seed))[0].astype(np.float32)


@pytest.fixture(scope="module")
def stretched() -> Floats:
    """Vectors whose variances differ by a factor of four, along directions that are no axes."""
    return noise(4_000, 1) * np.linspace(1, 2, DIMENSION, dtype=np.float32) @ rotation(2)


@pytest.fixture(scope="module")
def examples() -> RankingExamples:
    """Queries that resemble their passages but for one strong random direction, which a map can remove."""
    passages = noise(60, 3)
    queries = passages + 0.3 * noise(60, 4)
    for vectors, seed in ((queries, 5), (passages, 6)):
        vectors[:, 0] = 4 * np.random.default_rng(seed).normal(size=60)
    candidates = np.stack([np.random.default_rng(row).permutation(60)[:20] for row in range(60)])
    candidates[:, 7] = np.arange(60)
    targets = np.where(candidates == np.arange(60)[:, None], 1, 0).astype(np.float32)
    targets /= targets.sum(1, keepdims=True)
    return RankingExamples(unit(queries), unit(passages), candidates, targets)


def loss(matrix: Floats, examples: RankingExamples, temperature: float = 0.05) -> float:
    """Return, without torch, the mean cross-entropy between the targets and the softmax over mapped candidates."""
    queries, passages = apply(matrix, examples.queries), apply(matrix, examples.passages)
    total = 0.0
    for query, candidates, targets in zip(queries, examples.candidates, examples.targets, strict=True):
        kept = targets >= 0
        scores = (passages[candidates[kept]] @ query / temperature).astype(np.float64)
        chosen = scores - scores.max() - np.log(np.exp(scores - scores.max()).sum())
        total -= float((targets[kept] * chosen).sum())
    return total / len(queries)


# --- whitening ------------------------------------------------------------------------------------------------------


def test_exponent_one_evens_variances_out(stretched: Floats) -> None:
    """With the exponent 1 all directions have nearly the same variance."""
    before = np.linalg.eigvalsh(np.cov(stretched.T))
    after = np.linalg.eigvalsh(np.cov((stretched @ whitening(stretched, 1).T).T))
    assert before[-1] / before[0] > 3.5
    assert after[-1] / after[0] < 1.06  # what the floor leaves


def test_exponent_zero_is_the_identity(stretched: Floats) -> None:
    """With the exponent 0 nothing changes."""
    assert np.allclose(whitening(stretched, 0), np.eye(DIMENSION), atol=1e-5)


def test_an_exponent_between_does_a_part(stretched: Floats) -> None:
    """The exponent decides how much of the difference is removed: the ratio of variances is raised to 1 − exponent."""
    before = np.linalg.eigvalsh(np.cov(stretched.T))
    after = np.linalg.eigvalsh(np.cov((stretched @ whitening(stretched, 0.4).T).T))
    assert after[-1] / after[0] == pytest.approx((before[-1] / before[0]) ** 0.6, rel=0.03)


def test_whitening_does_not_rotate(stretched: Floats) -> None:
    """The matrix is symmetric and positive: it stretches along the principal directions, and has the identity's norm."""
    matrix = whitening(stretched, 0.7)
    assert matrix.dtype == np.float32
    assert np.allclose(matrix, matrix.T, atol=1e-6)
    assert np.linalg.eigvalsh(matrix).min() > 0
    assert np.linalg.norm(matrix) == pytest.approx(np.sqrt(DIMENSION), rel=1e-5)
    _, directions = np.linalg.eigh(np.cov(stretched.T))
    along = directions.T @ matrix @ directions
    assert np.allclose(along, np.diag(np.diag(along)), atol=1e-5)


def test_rare_directions_are_not_amplified(stretched: Floats) -> None:
    """A direction without variance, as of fewer passages than dimensions, is stretched ten times at most."""
    for vectors in (stretched * np.array([1, 1, 1, 1, 1, 1, 1, 0], dtype=np.float32), stretched[:4]):
        stretches = np.linalg.eigvalsh(whitening(vectors, 1))
        assert np.isfinite(stretches).all()
        assert 5 < stretches[-1] / stretches[0] <= np.sqrt((1 + VARIANCE_FLOOR) / VARIANCE_FLOOR) * 1.001


# --- maps -----------------------------------------------------------------------------------------------------------


def test_apply() -> None:
    """A map gives unit vectors of the product, however long its rows and the vectors are; it may change the dimension."""
    matrix, vectors = noise(5, 7), noise(30, 8)
    mapped = apply(matrix, vectors)
    assert mapped.shape == (30, 5)
    assert np.allclose(mapped, unit(np.stack([matrix @ vector for vector in vectors])), atol=1e-6)
    assert np.allclose(apply(3 * matrix, 0.2 * vectors), mapped, atol=1e-6)


def test_scaled() -> None:
    """A map is brought to the norm of the identity, which changes no cosine."""
    matrix = noise(DIMENSION, 9)
    assert np.linalg.norm(scaled(matrix)) == pytest.approx(np.sqrt(DIMENSION), rel=1e-5)
    assert np.allclose(apply(scaled(matrix), noise(9, 10)), apply(matrix, noise(9, 10)), atol=1e-6)


def test_blend() -> None:
    """Between the identity and a map are their weighted means, whatever the scale of the map."""
    matrix = noise(DIMENSION, 11)
    assert np.allclose(blend(matrix, 0), np.eye(DIMENSION))
    assert np.allclose(blend(matrix, 1), scaled(matrix), atol=1e-6)
    assert np.allclose(blend(7 * matrix, 0.25), 0.75 * np.eye(DIMENSION) + 0.25 * scaled(matrix), atol=1e-6)


# --- learning -------------------------------------------------------------------------------------------------------


def test_learning_lowers_the_loss(examples: RankingExamples) -> None:
    """The learned map ranks the candidates more like the teacher, and removes the misleading direction."""
    identity = np.eye(DIMENSION, dtype=np.float32)
    learned = learn(examples, identity, QUICK)
    assert learned.shape == (DIMENSION, DIMENSION)
    assert learned.dtype == np.float32
    assert np.linalg.norm(learned) == pytest.approx(np.sqrt(DIMENSION), rel=1e-5)
    assert loss(learned, examples) < 0.8 * loss(identity, examples)
    assert np.linalg.norm(learned[:, 0]) < 0.9 * np.linalg.norm(learned[:, 1:], axis=0).min()


def test_what_is_learned_comes_after_the_start(examples: RankingExamples) -> None:
    """From any start the result is one map for the original vectors, which includes the start, and it is better."""
    start = scaled(noise(DIMENSION, 15))
    learned = learn(examples, start, replace(QUICK, epochs=10))
    assert loss(learned, examples) < 0.8 * loss(start, examples)


def test_the_loss_that_is_reported(examples: RankingExamples) -> None:
    """The loss that is reported for a step is that of its batch; the first one is that of the start."""
    losses: list[tuple[int, float]] = []
    start = rotation(12)
    settings = replace(QUICK, batch_size=60)
    learn(examples, start, settings, lambda step, value: losses.append((step, value)) is None)
    assert losses[0] == (0, pytest.approx(loss(start, examples), rel=1e-3))
    assert [step for step, _ in losses] == list(range(5))
    assert losses[-1][1] < losses[0][1]


def test_every_query_in_every_epoch(examples: RankingExamples) -> None:
    """An epoch has as many steps as it takes to see each query once, the last batch being smaller."""
    steps: list[int] = []
    learn(examples, np.eye(DIMENSION, dtype=np.float32), QUICK, lambda step, _: steps.append(step) is None)
    assert len(steps) == 5 * 4  # 60 queries in batches of 16


def test_the_seed_decides(examples: RankingExamples) -> None:
    """Equal seeds give equal maps, bit by bit; another seed gives another."""
    identity = np.eye(DIMENSION, dtype=np.float32)
    first, again, other = (learn(examples, identity, replace(QUICK, seed=seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_what_is_left_out_plays_no_part(examples: RankingExamples) -> None:
    """A candidate with the target −1 has no effect: any other passage in its place gives the same map."""
    targets = examples.targets.copy()
    targets[:, 12:] = np.where(targets[:, 12:] > 0, targets[:, 12:], -1)
    masked = replace(examples, targets=targets)
    others = np.where(targets < 0, 59 - examples.candidates, examples.candidates)
    identity = np.eye(DIMENSION, dtype=np.float32)
    learned = learn(masked, identity, QUICK)
    assert np.isfinite(learned).all()
    assert np.allclose(learned, learn(replace(masked, candidates=others), identity, QUICK), atol=1e-6)
    assert not np.allclose(learned, learn(examples, identity, QUICK), atol=1e-3)


def test_a_query_without_candidates_does_no_harm(examples: RankingExamples) -> None:
    """A query whose candidates are all left out changes nothing, and gives no NaN."""
    targets = examples.targets.copy()
    targets[3] = -1
    assert np.isfinite(learn(replace(examples, targets=targets), np.eye(DIMENSION, dtype=np.float32), QUICK)).all()


def test_the_pull_keeps_near_the_start(examples: RankingExamples) -> None:
    """The stronger the pull, the nearer the learned map stays to where it began, wherever that is."""
    start = scaled(rotation(13))
    distances = [
        float(np.linalg.norm(learn(examples, start, replace(QUICK, pull=pull)) - start)) for pull in (1e-3, 30.0, 1e3)
    ]
    assert distances[0] > 2 * distances[1] > 4 * distances[2]


def test_it_begins_at_the_start(examples: RankingExamples) -> None:
    """Without a step nothing is learned: the map is the start, in its own scale."""
    start = 3 * noise(DIMENSION, 14)
    assert np.allclose(learn(examples, start, replace(QUICK, learning_rate=0.0)), scaled(start), atol=1e-5)


def test_learning_can_be_stopped(examples: RankingExamples) -> None:
    """When the callback returns False, training ends after that step and returns the map so far."""
    steps: list[int] = []

    def until_three(step: int, _: float) -> bool:
        steps.append(step)
        return step < 2

    identity = np.eye(DIMENSION, dtype=np.float32)
    stopped = learn(examples, identity, QUICK, until_three)
    assert steps == [0, 1, 2]
    assert not np.allclose(stopped, identity, atol=1e-3)
