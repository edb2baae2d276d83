"""Ridge regression from the vectors of one encoder to those of another: an affine map, in closed form.

Hoerl and Kennard, «Ridge Regression: Biased Estimation for Nonorthogonal Problems», 1970. The dimensions may differ. The
penalty is chosen on pairs that are left out, and the map is then fitted to all pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from indexer.index.dense import unit
from indexer.inference.encoder import Vectors

PENALTIES = (1e-4, 1e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0)
"""Penalties that are tried, as shares of the mean variance of a direction."""
HELD_OUT = 0.2
"""Share of the pairs that are left out."""

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class AffineMap:
    """A map x → Mx + b between vectors of two encoders, before the result gets unit length.

    Attributes:
        matrix: M, shape (old dimension, new dimension).
        bias: b, shape (old dimension,).
        penalty: with which it was fitted, as in `PENALTIES`.
        cosine: mean cosine to the old vectors of pairs that were left out, with this penalty.
    """

    matrix: Vectors
    bias: Vectors
    penalty: float
    cosine: float

    def apply(self, vectors: Vectors) -> Vectors:
        """Return ``vectors``, shape (rows, new dimension), mapped, with unit length."""
        return unit(vectors @ self.matrix.T + self.bias)


def fit_map(new: Vectors, old: Vectors, judged: npt.NDArray[np.bool_], seed: int = 0) -> AffineMap:
    """Return the map from ``new`` to ``old`` vectors with the best penalty.

    Args:
        new: unit vectors of texts by the one encoder, shape (pairs, new dimension).
        old: of the same texts by the other, shape (pairs, old dimension).
        judged: the pairs by whose cosine the penalty is chosen, shape (pairs,): those that are most like queries. Only
            those of them that are left out count.
        seed: of the choice of pairs that are left out.

    Raises:
        ValueError: there are fewer than five pairs, or none is judged.
    """
    if len(new) < 1 / HELD_OUT or not judged.any():
        raise ValueError(f"{len(new)} pairs, of which {int(judged.sum())} are judged")
    order = np.random.default_rng(seed).permutation(np.flatnonzero(judged))
    out = np.zeros(len(new), dtype=np.bool_)
    out[order[: max(round(HELD_OUT * len(order)), 1)]] = True
    maps = _fit(new[~out], old[~out])
    cosines = [float(np.einsum("ij,ij->i", unit(new[out] @ m.T + b), old[out]).mean()) for m, b in maps]
    best = int(np.argmax(cosines))
    matrix, bias = _fit(new, old)[best]
    return AffineMap(matrix, bias, PENALTIES[best], cosines[best])


def _fit(new: Vectors, old: Vectors) -> list[tuple[Vectors, Vectors]]:
    """Return matrix and bias for each of `PENALTIES`, by one eigenvalue decomposition."""
    means = new.mean(axis=0, dtype=np.float64), old.mean(axis=0, dtype=np.float64)
    inputs, targets = new - means[0], old - means[1]
    values, directions = np.linalg.eigh(inputs.T @ inputs)
    cross: Numbers = directions.T @ (inputs.T @ targets)
    share = max(float(values.mean()), 1e-12)
    maps = []
    for penalty in PENALTIES:
        matrix = (directions @ (cross / (np.maximum(values, 0) + penalty * share)[:, None])).T
        bias = means[1] - matrix @ means[0]
        maps.append((np.ascontiguousarray(matrix, dtype=np.float32), bias.astype(np.float32)))
    return maps
