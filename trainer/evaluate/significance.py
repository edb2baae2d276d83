"""Is a difference real? Intervals by the bootstrap and tests by paired randomisation, over queries.

Smucker, Allan, Carterette, «A Comparison of Statistical Significance Tests for Information Retrieval Evaluation», CIKM
2007: randomisation, bootstrap and t test agree on retrieval measures; Wilcoxon and sign test should not be used.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

Numbers = npt.NDArray[np.float64]
Values = Sequence[float] | Numbers

RESAMPLES = 10_000
CELLS = 1 << 21
"""Random numbers held at a time: memory stays below 100 MB whatever the number of queries."""


class Difference(BaseModel):
    """How much better the tuned system is than the base, over the same queries."""

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
    random = np.random.default_rng(seed)
    means = np.empty(resamples)
    for part in _parts(resamples, len(numbers)):
        chosen = random.integers(0, len(numbers), (part.stop - part.start, len(numbers)), dtype=np.int32)
        means[part] = numbers[chosen].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def paired(base: Values, tuned: Values, seed: int, resamples: int = RESAMPLES) -> Difference:
    """Compare two systems on the same queries; both have shape (queries,), in the same order.

    Raises:
        ValueError: there are no queries, or the two have not the same number.
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
    """Return how often chance alone, which swaps the systems of each query, gives a mean as far from zero."""
    changed = differences[differences != 0]  # a query that did not change has no sign to flip
    if not len(changed):
        return 1.0
    observed = abs(changed.sum())
    least = observed - 1e-9 * np.abs(changed).sum()  # equal but for the order of summation is equal
    exact = 2 ** len(changed) <= resamples
    drawn = _all_signs(len(changed)) if exact else _random_signs(len(changed), seed, resamples)
    extreme = sum(int((np.abs(signs @ changed) >= least).sum()) for signs in drawn)
    # Among random samples the observed one counts too, so that no p is zero (Phipson and Smyth 2010).
    return extreme / 2 ** len(changed) if exact else (extreme + 1) / (resamples + 1)


def _all_signs(count: int) -> Iterator[Numbers]:
    codes = np.arange(2**count)
    for part in _parts(len(codes), count):
        yield (1 - 2 * ((codes[part, None] >> np.arange(count)) & 1)).astype(np.float64)


def _random_signs(count: int, seed: int, resamples: int) -> Iterator[Numbers]:
    random = np.random.default_rng(seed)
    for part in _parts(resamples, count):
        bits = random.integers(0, 256, (part.stop - part.start, -(-count // 8)), dtype=np.uint8)
        yield 1 - 2 * np.unpackbits(bits, axis=1, count=count).astype(np.float64)


def _parts(rows: int, columns: int) -> Iterator[slice]:
    size = max(1, CELLS // columns)
    for start in range(0, rows, size):
        yield slice(start, min(start + size, rows))


def _checked(values: Values) -> Numbers:
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1 or not len(numbers):
        raise ValueError(f"one value per query is needed, not an array of shape {numbers.shape}")
    return numbers
