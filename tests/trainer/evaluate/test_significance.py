"""Bootstrap intervals and randomisation tests: exact values, error rates, edge cases and memory."""

from __future__ import annotations

import tracemalloc
from itertools import product

import numpy as np
import pytest
from scipy import stats

from trainer.evaluate.significance import interval, paired

ZEROS = np.zeros


def test_few_queries_are_tested_exactly():
    """With few queries all sign patterns are counted, which gives the p of a plain loop and of scipy."""
    base, tuned = [0.1, 0.2, 0.3, 0.4, 0.5], [0.3, 0.2, 0.6, 0.35, 0.9]
    differences = np.subtract(tuned, base)
    sums = [abs(np.dot(signs, differences)) for signs in product([1, -1], repeat=5)]
    by_hand = np.mean([total >= abs(differences.sum()) - 1e-12 for total in sums])
    theirs = stats.permutation_test(
        (np.array(tuned), np.array(base)), lambda a, b: np.mean(a - b), permutation_type="samples", n_resamples=np.inf
    )
    result = paired(base, tuned, seed=0)
    assert result.p == pytest.approx(by_hand) == pytest.approx(theirs.pvalue)
    assert result.mean == pytest.approx(differences.mean())
    assert result.standard_error == pytest.approx(stats.sem(differences))
    assert result.queries == 5


def test_four_gains_of_four_cannot_be_significant():
    """Four queries that all gain the same give p = 2/16."""
    assert paired(ZEROS(4), np.full(4, 0.5), seed=0).p == pytest.approx(2 / 16)


@pytest.mark.parametrize("shift", [0.0, 0.02, 0.05])
def test_many_queries_agree_with_the_t_test(shift):
    """Sampled sign flips give the p of the t test, which is right for many well-behaved differences."""
    rng = np.random.default_rng(3)
    base = rng.random(400)
    tuned = base + rng.normal(shift, 0.3, 400)
    expected = stats.ttest_rel(tuned, base).pvalue
    assert paired(base, tuned, seed=1).p == pytest.approx(expected, abs=0.02)


def test_false_positives_have_their_nominal_rate():
    """Where nothing differs, about 5 % of comparisons have p ≤ .05 and 5 % of intervals miss zero."""
    rng = np.random.default_rng(0)
    alarms, missed = 0, 0
    for seed in range(400):
        differences = rng.normal(0, 0.2, 60) * (rng.random(60) < 0.7)  # many queries do not change
        result = paired(ZEROS(60), differences, seed, resamples=500)
        alarms += result.p <= 0.05
        missed += not result.low <= 0 <= result.high
    assert 8 <= alarms <= 34
    assert 8 <= missed <= 40


def test_a_clear_effect_is_found():
    """A gain of two thirds of the standard deviation over 100 queries is found, with the right sign."""
    rng = np.random.default_rng(1)
    for seed in range(40):
        base = rng.random(100)
        result = paired(base, base + rng.normal(0.1, 0.15, 100), seed, resamples=1000)
        assert result.p < 0.01
        assert 0 < result.low < result.mean < result.high


def test_two_sided():
    """A loss is as significant as the same gain, with the signs of mean and interval turned round."""
    rng = np.random.default_rng(2)
    base, tuned = rng.random(50), rng.random(50)
    one, other = paired(base, tuned, seed=5), paired(tuned, base, seed=5)
    assert one.p == other.p
    assert (one.mean, one.low, one.high) == pytest.approx((-other.mean, -other.high, -other.low), abs=0.005)


def test_nothing_changed():
    """Two equal systems do not differ: p is 1, not a division by zero."""
    result = paired([0.5, 0.25], [0.5, 0.25], seed=0)
    assert (result.mean, result.low, result.high, result.p) == (0, 0, 0, 1)


def test_no_p_is_zero():
    """A sampled p is never below what the number of samples can show."""
    assert paired(ZEROS(300), np.ones(300), seed=0, resamples=1000).p == pytest.approx(1 / 1001)


def test_interval_of_a_known_spread():
    """The interval of a mean is about ± 1.96 standard errors wide."""
    values = np.random.default_rng(4).normal(0.4, 0.2, 500)
    low, high = interval(values, seed=0)
    assert low == pytest.approx(values.mean() - 1.96 * stats.sem(values), abs=0.002)
    assert high == pytest.approx(values.mean() + 1.96 * stats.sem(values), abs=0.002)


def test_the_seed_decides():
    """The same seed gives the same figures, another seed slightly other ones."""
    rng = np.random.default_rng(6)
    base, tuned = rng.random(80), rng.random(80)
    assert paired(base, tuned, seed=1) == paired(base, tuned, seed=1)
    assert paired(base, tuned, seed=1) != paired(base, tuned, seed=2)


# --- queries that share a document ----------------------------------------------------------------------------------


def test_clusters_of_one_query_change_nothing():
    """Where every query is its own cluster, all figures are those without clusters, to the last digit."""
    rng = np.random.default_rng(8)
    base, tuned = rng.random(70), rng.random(70)
    alone = paired(base, tuned, seed=3)
    assert paired(base, tuned, seed=3, clusters=[f"d{number}" for number in range(70)]) == alone
    assert alone.clusters == 70
    assert interval(base, seed=3, clusters=range(70)) == interval(base, seed=3)


def test_equal_queries_of_a_document_count_once():
    """Each query five times, in one cluster: the same mean, interval, error and p as once, not those of five times as many."""
    rng = np.random.default_rng(9)
    base = rng.random(24)
    tuned = base + rng.normal(0.05, 0.2, 24)
    once = paired(base, tuned, seed=1)
    rows = np.tile(np.arange(24), 5)
    often = paired(base[rows], tuned[rows], seed=1, clusters=rows.tolist())
    assert (often.queries, often.clusters) == (120, 24)
    assert often.mean == pytest.approx(once.mean)
    assert often.standard_error == pytest.approx(once.standard_error)
    assert often.p == pytest.approx(once.p, abs=0.01)
    assert (often.low, often.high) == pytest.approx((once.low, once.high), abs=0.01)
    blind = paired(base[rows], tuned[rows], seed=1)
    assert blind.p < 0.7 * once.p
    assert blind.high - blind.low < 0.6 * (often.high - often.low)


def test_false_positives_with_shared_documents():
    """Documents that differ by chance, with six queries each, give alarms at the nominal rate, and far more without clusters."""
    rng = np.random.default_rng(5)
    clusters = np.repeat(np.arange(30), 6)
    alarms, blind, missed = 0, 0, 0
    for seed in range(200):
        differences = rng.normal(0, 0.2, 30)[clusters] + rng.normal(0, 0.05, 180)
        result = paired(ZEROS(180), differences, seed, resamples=400, clusters=clusters.tolist())
        alarms += result.p <= 0.05
        missed += not result.low <= 0 <= result.high
        blind += paired(ZEROS(180), differences, seed, resamples=400).p <= 0.05
    assert 3 <= alarms <= 20
    assert 3 <= missed <= 26
    assert blind > 60


def test_clusters_of_different_sizes():
    """The mean is over queries: a document with many queries weighs more; two documents are tested exactly."""
    tuned = [0.3, 0.3, 0.3, 0.1]
    result = paired(ZEROS(4), tuned, seed=0, clusters=["a", "a", "a", "b"])
    assert result.mean == pytest.approx(0.25)
    assert result.p == pytest.approx(1 / 2)  # of ±.9 ± .1, two of four are as far from zero
    assert (result.low, result.high) == pytest.approx((0.1, 0.3))


def test_a_single_document_shows_nothing():
    """All queries are of one document: p is 1, whatever the gain; so it is where gains and losses of documents cancel out."""
    assert paired(ZEROS(50), np.full(50, 0.4), seed=0, clusters=["d"] * 50).p == 1
    assert paired(ZEROS(6), [0.3, -0.1, -0.2] * 2, seed=0, clusters=[1, 1, 1, 2, 2, 2]).p == 1


def test_clusters_that_do_not_pair_are_refused():
    """Another number of clusters than of queries is an error."""
    with pytest.raises(ValueError, match="3 values and 2 clusters"):
        paired(ZEROS(3), [0.1, 0.2, 0.3], seed=0, clusters=["a", "b"])


def test_memory_does_not_grow_with_the_queries():
    """Twenty thousand queries take the memory of a few blocks, not of queries times resamples (160 MB of signs)."""
    values = np.random.default_rng(0).normal(0, 1, 20_000)
    tracemalloc.start()
    paired(ZEROS(20_000), values, seed=0, resamples=1000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100e6


@pytest.mark.parametrize(("base", "tuned"), [([], []), ([0.1], [0.1, 0.2]), ([[0.1]], [[0.2]])])
def test_queries_that_do_not_pair_are_refused(base, tuned):
    """No queries, or queries of one system only, are an error and no figure."""
    with pytest.raises(ValueError, match=r"value|base"):
        paired(base, tuned, seed=0)
