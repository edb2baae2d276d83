"""Recall of passages in lists: measured in Milvus against exact search, and what sets the effort of a search.

The lists have full vectors, so a score is always the exact cosine. What may differ is which passages are found.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from indexer.artifacts.manifest import Manifest
from indexer.errors import UserError
from indexer.index.approximate.kinds import count_lists
from indexer.index.dense import unit
from indexer.index.index import Index
from indexer.inference.encoder import Vectors
from indexer.milvus.engine import Engine
from indexer.progress import Bar, say

NEAREST = 10
"""Recall is that of so many nearest passages, the usual page of results."""
BATCH = 100
"""Queries that are searched at once."""
EXACT = 0.999
"""Recall of an exact search; the rest are ties."""
TOLERANCE = 1e-5
"""Difference of cosines below which two passages are equally near: Milvus adds up in another order."""


@dataclass(frozen=True)
class Point:
    """How many lists a search reads, and the share of the nearest passages that it finds then."""

    nprobe: int
    recall: float


def lists_for(index: Index) -> int:
    """Return in how many lists the passages of an index are kept in Milvus; 0 for an index that is searched exactly.

    That is as the index was built: in files it may have codes besides, which Milvus does without.
    """
    return 0 if index.manifest.config["dense"].startswith("flat") else count_lists(len(index.dense))


def efforts(lists: int) -> Iterator[int]:
    """Yield numbers of lists to read: each twice the one before, and in the end all."""
    effort = 1
    while effort < lists:
        yield effort
        effort *= 2
    yield lists


def measure(engine: Engine, collection: str, index: Index, queries: Vectors, lists: int) -> list[Point]:
    """Return the recall at each effort, until it reaches what the index was built for.

    Args:
        engine: the connection.
        collection: of the passages.
        index: the artifact that was copied there.
        queries: vectors, shape (queries, dimension).
        lists: in which the passages are.

    Raises:
        UserError: a search that reads all lists is not exact, on which filters and scores of given documents rest.
    """
    exact = index.searched_exactly().dense
    batches = [unit(queries[start : start + BATCH]) for start in range(0, len(queries), BATCH)]
    nearest = [exact.search_many(batch, NEAREST)[0] for batch in batches]

    def recall(effort: int) -> float:
        found = [engine.search(collection, "vector", batch.tolist(), NEAREST, probes=effort) for batch in batches]
        shares = [
            np.count_nonzero(np.array([cosine for _, cosine in hits]) >= expected[-1] - TOLERANCE) / len(expected)
            for batch, expectations in zip(found, nearest, strict=True)
            for hits, expected in zip(batch, expectations, strict=True)
        ]
        return float(np.mean(shares))

    if recall(lists) < EXACT:
        raise UserError(
            f"Milvus at {engine.uri} misses passages though it reads all {lists} lists of {collection}: it has another "
            "index than IVF_FLAT; build with --dense flat"
        )
    points: list[Point] = []
    steps = list(efforts(lists))
    with Bar("measure the recall", len(steps), "efforts") as bar:
        for effort in steps:
            points.append(Point(effort, recall(effort)))
            bar.advance(1)
            if points[-1].recall >= target(index.manifest):
                break
    say(f"Milvus: {points[-1].nprobe} of {lists} lists are read, recall {points[-1].recall:.3f}")
    return points


def target(manifest: Manifest) -> float:
    """Return the recall that an index was built for; one that is searched exactly in files need not say."""
    return float(manifest.config.get("dense_index", {}).get("target", 1.0))


def described(index: Index, lists: int, points: list[Point]) -> Manifest:
    """Return the manifest with the kind of dense index that Milvus has, and what was measured there."""
    config: dict[str, Any] = index.manifest.config
    facts = config.get("dense_index", {})
    kept = {name: facts[name] for name in ("requested", "target") if name in facts}
    kept |= {"bytes_per_passage": 4 * index.dense.dimension}
    if lists:
        curve = [{"nprobe": point.nprobe, "recall": round(point.recall, 4)} for point in points]
        kept |= {"lists": lists, **curve[-1], "curve": curve}
    kind = "ivf-flat" if lists else "flat"
    return index.manifest.model_copy(update={"config": config | {"dense": kind, "dense_index": kept}})
