"""Significance: bootstrap intervals and paired randomisation tests over queries.

Queries that share a document are not independent. They form a cluster, and clusters are resampled as wholes: Davison and
Hinkley, «Bootstrap Methods and their Application», 1997, section 3.8. Where each query is its own cluster, this is the
bootstrap and the randomisation test over queries.

Smucker, Allan, Carterette, «A Comparison of Statistical Significance Tests for Information Retrieval Evaluation», CIKM
2007: randomisation, bootstrap and t test agree on retrieval measures; Wilcoxon and sign test should not be used.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field
from scipy import stats

Numbers = npt.NDArray[np.float64]
Values = Sequence[float] | Numbers

Z = 1.96
"""Standard errors of a difference that is certain: 95 %."""
RESAMPLES = 10_000
"""Resamples of a bootstrap or a randomisation test."""
MAX_CELLS = 1 << 20
"""Numbers in memory at a time: less than 100 MB for any number of queries."""
ROUNDING = 1e-12
"""Relative size below which a sum of differences is a rounding error."""


class Difference(BaseModel):
    """Paired difference of the tuned and the base system over the same queries."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mean: float = Field(description="mean over the queries of tuned − base")
    low: float = Field(description="lower end of the 95 % bootstrap interval of the mean")
    high: float = Field(description="upper end of the 95 % bootstrap interval of the mean")
    p: float = Field(description="two-sided p of the paired randomisation test: 1 where no query differs")
    standard_error: float = Field(description="standard error of the mean")
    queries: int = Field(description="number of queries")
    clusters: int | None = Field(
        default=None,
        description="number of clusters of queries that share a document: what was resampled; null where it is unknown",
    )


def interval(
    values: Values, seed: int, resamples: int = RESAMPLES, clusters: Sequence[Hashable] | None = None
) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of the mean of ``values``, shape (queries,).

    Args:
        values: one for each query.
        seed: of the resamples.
        resamples: their number.
        clusters: of each query; by default each query is its own.

    Raises:
        ValueError: there are no values, or their number is not that of the clusters.
    """
    numbers = _checked(values)
    sums, sizes = _cluster_sums(numbers, clusters)
    if (numbers == numbers[0]).all():  # also a single value, which cannot be resampled
        return float(numbers[0]), float(numbers[0])
    if len(sums) == 1:  # nor can a single cluster
        return float(numbers.mean()), float(numbers.mean())
    if len(sums) == len(numbers):
        bounds = stats.bootstrap(
            (numbers,), np.mean, n_resamples=resamples, batch=_batch(numbers), method="percentile", rng=seed
        ).confidence_interval
    else:
        bounds = stats.bootstrap(
            (sums, sizes),
            _mean_of_clusters,
            paired=True,
            vectorized=True,
            n_resamples=resamples,
            batch=_batch(sums),
            method="percentile",
            rng=seed,
        ).confidence_interval
    return float(bounds.low), float(bounds.high)


def paired(
    base: Values,
    tuned: Values,
    seed: int,
    resamples: int = RESAMPLES,
    clusters: Sequence[Hashable] | None = None,
) -> Difference:
    """Compare two systems on the same queries; both have shape (queries,), in the same order.

    Args:
        base: values of the one system.
        tuned: values of the other system.
        seed: of the resamples.
        resamples: their number.
        clusters: of each query; by default each query is its own.

    Raises:
        ValueError: there are no queries, or the lengths differ.
    """
    before, after = _checked(base), _checked(tuned)
    if before.shape != after.shape:
        raise ValueError(f"{len(before)} values of the base and {len(after)} of the tuned system")
    differences = after - before
    count = len(differences)
    low, high = interval(differences, seed, resamples, clusters)
    sums, sizes = _cluster_sums(differences, clusters)
    return Difference(
        mean=float(differences.mean()),
        low=low,
        high=high,
        p=_randomisation(sums, seed, resamples),
        standard_error=_standard_error(sums, sizes),
        queries=count,
        clusters=len(sums),
    )


def weighted_mean(parts: Sequence[tuple[float, Difference]]) -> Difference:
    """Return the weighted mean of differences over independent questions, with interval and p by the normal distribution.

    Args:
        parts: weight and difference of each kind of question.
    """
    weights = np.array([weight for weight, _ in parts])
    mean = float(weights @ [each.mean for _, each in parts] / weights.sum())
    errors = np.array([each.standard_error for _, each in parts])
    error = float(np.sqrt(weights**2 @ errors**2) / weights.sum())
    clusters = [each.clusters for _, each in parts if each.clusters is not None]
    return Difference(
        mean=mean,
        low=mean - Z * error,
        high=mean + Z * error,
        p=float(2 * stats.norm.sf(abs(mean) / error)) if error else 1.0,
        standard_error=error,
        queries=sum(each.queries for _, each in parts),
        clusters=sum(clusters) if len(clusters) == len(parts) else None,
    )


def _randomisation(differences: Numbers, seed: int, resamples: int) -> float:
    """Return the two-sided p: how often random swaps of the two systems per cluster give a mean as far from zero.

    Exact where few clusters differ. With random samples the observed one counts too, so no p is zero (Phipson and Smyth
    2010).

    Args:
        differences: sum of the differences of each cluster.
        seed: of the samples.
        resamples: their number.
    """
    changed = differences[differences != 0]  # a cluster without a difference has no sign to flip
    if len(changed) < 2:  # the sign of a single difference is as likely either way
        return 1.0
    test = stats.permutation_test(
        (changed,),
        _distance,
        permutation_type="samples",
        alternative="greater",  # of the distance from zero: two-sided
        vectorized=True,
        n_resamples=resamples,
        batch=_batch(changed),
        rng=seed,
    )
    return float(test.pvalue)


def _distance(differences: Numbers, axis: int) -> Numbers:
    distance: Numbers = np.abs(differences.sum(axis=axis))
    return distance


def _mean_of_clusters(sums: Numbers, sizes: Numbers, axis: int) -> Numbers:
    """Return the mean over the queries of the resampled clusters, which are of different sizes."""
    mean: Numbers = sums.sum(axis=axis) / sizes.sum(axis=axis)
    return mean


def _standard_error(sums: Numbers, sizes: Numbers) -> float:
    """Return the standard error of the mean over the queries; it is 0 where there is one cluster."""
    count, queries = len(sums), sizes.sum()
    if count == 1:
        return 0.0
    if count == queries:
        return float(sums.std(ddof=1) / np.sqrt(count))
    residuals = sums - sizes * (sums.sum() / queries)
    return float(np.sqrt(count / (count - 1) * (residuals**2).sum()) / queries)


def _cluster_sums(numbers: Numbers, clusters: Sequence[Hashable] | None) -> tuple[Numbers, Numbers]:
    """Return the sum of the values of each cluster, and its number of queries, in the order of the first queries."""
    if clusters is None or len(set(clusters)) == len(clusters) == len(numbers):
        return numbers, np.ones(len(numbers))
    if len(clusters) != len(numbers):
        raise ValueError(f"{len(numbers)} values and {len(clusters)} clusters")
    rows: dict[Hashable, int] = {}
    row = np.array([rows.setdefault(cluster, len(rows)) for cluster in clusters])
    sums = np.bincount(row, weights=numbers).astype(np.float64)
    sums[np.abs(sums) < ROUNDING * np.bincount(row, weights=np.abs(numbers))] = 0  # gains and losses that cancel out
    return sums, np.bincount(row).astype(np.float64)


def _batch(numbers: Numbers) -> int:
    """Return the number of resamples that are in memory at a time."""
    return max(1, MAX_CELLS // len(numbers))


def _checked(values: Values) -> Numbers:
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1 or not len(numbers):
        raise ValueError(f"one value per query is needed, not an array of shape {numbers.shape}")
    return numbers
