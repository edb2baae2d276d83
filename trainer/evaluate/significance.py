"""Significance: bootstrap intervals and paired randomisation tests over queries.

Smucker, Allan, Carterette, «A Comparison of Statistical Significance Tests for Information Retrieval Evaluation», CIKM
2007: randomisation, bootstrap and t test agree on retrieval measures; Wilcoxon and sign test should not be used.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field
from scipy import stats

Numbers = npt.NDArray[np.float64]
Values = Sequence[float] | Numbers

RESAMPLES = 10_000
"""Resamples of a bootstrap or a randomisation test."""
MAX_CELLS = 1 << 20
"""Numbers in memory at a time: less than 100 MB for any number of queries."""


class Difference(BaseModel):
    """Paired difference of the tuned and the base system over the same queries."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mean: float = Field(description="mean over the queries of tuned − base")
    low: float = Field(description="lower end of the 95 % bootstrap interval of the mean")
    high: float = Field(description="upper end of the 95 % bootstrap interval of the mean")
    p: float = Field(description="two-sided p of the paired randomisation test: 1 where no query differs")
    standard_error: float = Field(description="standard error of the mean")
    queries: int = Field(description="number of queries")


def interval(values: Values, seed: int, resamples: int = RESAMPLES) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of the mean of ``values``, shape (queries,).

    Raises:
        ValueError: there are no values.
    """
    numbers = _checked(values)
    if (numbers == numbers[0]).all():  # also a single value, which cannot be resampled
        return float(numbers[0]), float(numbers[0])
    bounds = stats.bootstrap(
        (numbers,), np.mean, n_resamples=resamples, batch=_batch(numbers), method="percentile", rng=seed
    ).confidence_interval
    return float(bounds.low), float(bounds.high)


def paired(base: Values, tuned: Values, seed: int, resamples: int = RESAMPLES) -> Difference:
    """Compare two systems on the same queries; both have shape (queries,), in the same order.

    Raises:
        ValueError: there are no queries, or the two lengths differ.
    """
    before, after = _checked(base), _checked(tuned)
    if before.shape != after.shape:
        raise ValueError(f"{len(before)} values of the base and {len(after)} of the tuned system")
    differences = after - before
    count = len(differences)
    low, high = interval(differences, seed, resamples)
    return Difference(
        mean=float(differences.mean()),
        low=low,
        high=high,
        p=_randomisation(differences, seed, resamples),
        standard_error=float(differences.std(ddof=1) / np.sqrt(count)) if count > 1 else 0.0,
        queries=count,
    )


def _randomisation(differences: Numbers, seed: int, resamples: int) -> float:
    """Return the two-sided p: how often random swaps of the two systems per query give a mean as far from zero.

    Exact where few queries differ. With random samples the observed one counts too, so no p is zero (Phipson and Smyth
    2010).
    """
    changed = differences[differences != 0]  # a query without a difference has no sign to flip
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


def _batch(numbers: Numbers) -> int:
    """Return the number of resamples that are in memory at a time."""
    return max(1, MAX_CELLS // len(numbers))


def _checked(values: Values) -> Numbers:
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1 or not len(numbers):
        raise ValueError(f"one value per query is needed, not an array of shape {numbers.shape}")
    return numbers
