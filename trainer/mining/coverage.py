"""Documents that deserve written queries: typical ones from all parts of a corpus.

A written query costs seconds, and a random sample has many documents of the largest subjects. Greedy farthest-point sampling
(Gonzalez, «Clustering to minimize the maximum intercluster distance», 1985) covers the corpus, but prefers outliers, which
are often junk. So each of its centres is replaced by the document that is nearest to the mean of the centre's cluster.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from indexer.inference.encoder import Vectors

MAX_CANDIDATES = 20_000
"""Documents among which are chosen, drawn at random from more: the time grows with this number times the chosen ones."""


def representatives(vectors: Vectors, rows: Sequence[int], count: int, seed: int) -> list[int]:
    """Return up to ``count`` of ``rows`` that represent them all, in their order.

    Args:
        vectors: unit vectors of all documents, shape (documents, dimension).
        rows: of the documents that may be chosen.
        count: how many are chosen.
        seed: of the first centre, and of the candidates where there are too many.
    """
    if count >= len(rows):
        return sorted(rows)
    rng = np.random.default_rng(seed)
    candidates = np.asarray(rows)
    if len(candidates) > MAX_CANDIDATES:
        candidates = rng.choice(candidates, max(MAX_CANDIDATES, count), replace=False)
    points = vectors[candidates]
    clusters = _nearest_centres(points, count, int(rng.integers(len(points))))
    means = np.zeros((count, points.shape[1]), dtype=np.float32)
    np.add.at(means, clusters, points)
    typical = np.einsum("pd,pd->p", points, means[clusters])
    order = np.lexsort((candidates, -typical, clusters))
    _, first = np.unique(clusters[order], return_index=True)
    chosen: list[int] = candidates[order[first]].tolist()
    return sorted(chosen)


def _nearest_centres(points: Vectors, count: int, first: int) -> npt.NDArray[np.int64]:
    """Return the number of the nearest of ``count`` farthest-point centres for each point, shape (points,)."""
    nearest = points @ points[first]
    clusters = np.zeros(len(points), dtype=np.int64)
    for number in range(1, count):
        centre = int(nearest.argmin())  # the point that is farthest from all centres
        cosines = points @ points[centre]
        closer = cosines > nearest
        closer[centre] = True  # copies of a centre: each still gets a cluster of its own
        clusters[closer], nearest[closer] = number, cosines[closer]
        nearest[centre] = np.inf
    return clusters
