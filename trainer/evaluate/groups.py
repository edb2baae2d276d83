"""Figures of the report for a group of queries: means, differences, biggest changes, histograms of cosines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from trainer.evaluate.metrics import METRICS
from trainer.evaluate.report import Group, Leg, Separation, Summary
from trainer.evaluate.significance import interval, paired

if TYPE_CHECKING:
    from trainer.evaluate.significance import Values

PerQuery = Mapping[str, Mapping[str, float]]
"""Measure → query id → value, as `trainer.evaluate.metrics.per_query` gives it."""

BINS = 24
"""Bins of the histograms of cosines."""


def group(
    systems: Mapping[str, PerQuery], queries: Sequence[str], seed: int, clusters: Mapping[str, str] | None = None
) -> Group:
    """Return the figures of each system over ``queries``, and the difference of tuned and base in each leg.

    Args:
        systems: name (`trainer.evaluate.report.SYSTEMS`) → values; a leg is compared where both its systems are given.
        queries: ids of the queries of this group, at least one.
        seed: of the bootstrap and of the test.
        clusters: of each query (`trainer.data.clusters`); by default each query is its own.
    """
    members = [clusters[query] if clusters else query for query in queries]
    means = {}
    for system, values in systems.items():
        means[system] = {name: _summary([values[name][query] for query in queries], seed, members) for name in METRICS}
    legs: tuple[Leg, ...] = ("dense", "hybrid")
    differences = {
        leg: {
            name: paired(
                [systems[f"base {leg}"][name][query] for query in queries],
                [systems[f"tuned {leg}"][name][query] for query in queries],
                seed,
                clusters=members,
            )
            for name in METRICS
        }
        for leg in legs
        if {f"base {leg}", f"tuned {leg}"} <= systems.keys()
    }
    return Group(queries=len(queries), systems=means, differences=differences)


def biggest_changes(
    base: Mapping[str, float], tuned: Mapping[str, float], queries: Sequence[str], count: int = 10
) -> tuple[list[str], list[str]]:
    """Return the ids of the queries that gained most and of those that lost most, biggest change first.

    Queries that did not change are in neither list; equal changes are in the order of their ids.
    """
    changes = sorted((tuned[query] - base[query], query) for query in queries)
    losses = [query for change, query in changes if change < 0]
    gains = [query for change, query in sorted(changes, key=lambda pair: (-pair[0], pair[1])) if change > 0]
    return gains[:count], losses[:count]


def separation(relevant: Values, irrelevant: Values) -> Separation:
    """Return histograms of two sets of cosines over the same `BINS` bins.

    Args:
        relevant: cosines of the queries with their relevant documents.
        irrelevant: cosines of the queries with their best document that is not relevant.

    Raises:
        ValueError: there are none.
    """
    cosines = np.concatenate([np.asarray(relevant, dtype=np.float64), np.asarray(irrelevant, dtype=np.float64)])
    if not len(cosines):
        raise ValueError("no cosines to count")
    edges = np.histogram_bin_edges(cosines, BINS)
    counts = [np.histogram(side, edges)[0].tolist() for side in (relevant, irrelevant)]
    return Separation(edges=edges.tolist(), relevant=counts[0], irrelevant=counts[1])


def _summary(values: Sequence[float], seed: int, clusters: Sequence[str]) -> Summary:
    low, high = interval(values, seed, clusters=clusters)
    return Summary(mean=float(np.mean(values)), low=low, high=high)
