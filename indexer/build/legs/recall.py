"""Recall of a dense index of codes: measured against exact search, and what sets the effort of a search.

The queries are sentences of the corpus's own documents, encoded as queries, and what people have searched for and judged.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from indexer.index.approximate.leg import ApproximateDense
from indexer.index.dense import DenseIndex
from indexer.inference.encoder import Vectors
from indexer.progress import Bar

NEAREST = 10
"""Recall is that of so many nearest passages, the usual page of results."""
DEEPER = 100
"""The curve has the recall of so many, too: hybrid search takes its candidates from there."""
EXTRAS = (8, 40, 90, 190, 390)
"""Numbers of passages whose full vectors are compared beyond those that are asked for."""
FULL_COST = 10
"""Time of comparing a full vector, which lies anywhere in its file, to that of comparing a code in a list."""
ENOUGH = 0.999
"""The curve ends at this recall."""
LEVEL = 0.0005
"""It ends, too, where it has reached the target and twice the effort finds no more than this."""
TIMED_QUERIES = 50
BATCH = 100
"""Queries that are searched exactly at once."""
TOLERANCE = 1e-6
"""Difference of cosines below which two passages are equally near."""


@dataclass(frozen=True)
class Point:
    """One setting of a search, and what it gives.

    Attributes:
        effort: see `indexer.index.approximate.codes.Codes`.
        extra: see `ApproximateDense`.
        recall: share of the `NEAREST` passages that are found, over all queries.
        deeper: the same of the `DEEPER` nearest.
    """

    effort: int
    extra: int
    recall: float
    deeper: float


def find_nearest(exact: DenseIndex, queries: Vectors) -> Vectors:
    """Return the cosines of the `DEEPER` nearest passages of each query, best first, shape (queries, at most that)."""
    batches = []
    with Bar("search exactly", len(queries), "queries") as bar:
        for start in range(0, len(queries), BATCH):
            batch = queries[start : start + BATCH]
            batches.append(exact.search_many(batch, DEEPER)[0])
            bar.advance(len(batch))
    return np.concatenate(batches)


def measure(leg: ApproximateDense, queries: Vectors, nearest: Vectors, target: float = ENOUGH) -> list[Point]:
    """Return the points of all extras for each effort, until one finds `ENOUGH`, or more than the target and no more.

    Args:
        leg: what is measured.
        queries: shape (queries, dimension).
        nearest: what `find_nearest` returns for them.
        target: recall that shall be reached.
    """
    points: list[Point] = []
    efforts = leg.codes.efforts()
    with Bar("measure the recall", len(efforts), "efforts") as bar:
        for effort in efforts:
            found: dict[int, list[Vectors]] = {}
            for extra in EXTRAS:
                recalls = []
                for count in (NEAREST, DEEPER):
                    # Of most codes, the best of a deep search are what a shallow one finds.
                    depth = DEEPER + max(EXTRAS) if leg.codes.nested else count + extra
                    if depth not in found:
                        found[depth] = [_cosines(leg, query, depth, effort) for query in queries]
                    recalls.append(_recall(found[depth], nearest, count, extra))
                points.append(Point(effort, extra, *recalls))
            bar.advance(1)
            if points[-1].recall >= ENOUGH or _levelled_off(points, target):
                break
    return points


def _levelled_off(points: Sequence[Point], target: float) -> bool:
    """Say whether the last effort has reached the target and finds hardly more than the one before."""
    if len(points) <= len(EXTRAS) or points[-1].recall < target:
        return False
    last, before = points[-1], points[-1 - len(EXTRAS)]
    return max(last.recall - before.recall, last.deeper - before.deeper) < LEVEL


def choose(points: Sequence[Point], target: float, leg: ApproximateDense) -> Point:
    """Return the point that reaches the recall ``target`` at the least cost; without one, the point of the best recall.

    The cost is counted and not timed: two builds of the same corpus choose alike.
    """
    fitting = [point for point in points if point.recall >= target]
    if not fitting:
        return max(points, key=lambda point: (point.recall, -point.effort, -point.extra))
    return min(fitting, key=lambda point: leg.codes.compared(point.effort) + FULL_COST * point.extra)


def describe(leg: ApproximateDense, point: Point, points: Sequence[Point], queries: Vectors) -> dict[str, Any]:
    """Return the chosen point and the curve of the effort for the manifest.

    The curve has recall and time of one query at each effort, with the extra passages that were chosen.
    """
    name = leg.codes.parameter
    curve = [
        ({name: other.effort} if name else {})
        | {
            "recall": round(other.recall, 4),
            "recall_at_100": round(other.deeper, 4),
            "milliseconds": _time(leg.with_effort(other.effort, other.extra), queries),
        }
        for other in points
        if other.extra == point.extra
    ]
    chosen = {name: point.effort} if name else {}
    return chosen | {"extra": point.extra, "recall": round(point.recall, 4), "curve": curve}


def _cosines(leg: ApproximateDense, query: Vectors, depth: int, effort: int) -> Vectors:
    """Return the exact cosines of the passages with the nearest codes, in the order of the codes."""
    return leg.scores(query, leg.find(query, min(depth, len(leg)), effort))


def _recall(found: Sequence[Vectors], nearest: Vectors, count: int, extra: int) -> float:
    """Return the share of the ``count`` nearest that are found among the first codes, over all queries.

    It goes by cosines and not by rows: of passages that are equally near any may be found.
    """
    shares = []
    for cosines, expected in zip(found, nearest[:, :count], strict=True):
        best = np.sort(cosines[: count + extra])[::-1][: len(expected)]
        shares.append(np.count_nonzero(best >= expected[-1] - TOLERANCE) / len(expected))
    return float(np.mean(shares))


def _time(leg: ApproximateDense, queries: Vectors) -> float:
    """Return the median time of a search in milliseconds, on one thread."""
    took = []
    for query in queries[:TIMED_QUERIES]:
        started = time.perf_counter()
        leg.search(query, NEAREST)
        took.append((time.perf_counter() - started) * 1e3)
    return round(float(np.median(took)), 3)
