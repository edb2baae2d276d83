"""Approximate dense leg: passages are found by their codes, and scored by their full vectors.

A score is therefore always the exact cosine, whichever kind the index is of. What may differ is which passages are found;
the build has measured how often that happens (`indexer.build.legs.recall`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np

from indexer.errors import UserError
from indexer.index import dense
from indexer.index.approximate import codes
from indexer.index.approximate.codes import Codes, open_codes
from indexer.index.approximate.kinds import KINDS
from indexer.index.dense import DenseIndex, best_first, unit
from indexer.index.document_mask import DocumentMask, Rows
from indexer.index.legs import DenseLeg
from indexer.inference.encoder import Vectors

MAX_EXACT_PASSAGES = 5_000
"""Up to this many passages that a filter allows are compared by their full vectors: some 1.5 ms."""
FILTER_EXTRA = 4
"""Times as many full vectors are compared beyond those asked for under a filter, which is to find nearly all."""


class ApproximateDense:
    """Passage vectors that are searched by codes; safe to use from several threads.

    Args:
        exact: the full vectors of the same passages.
        found_by: the codes.
        effort: of a search, in terms of the codes.
        extra: passages whose full vectors are compared beyond those that are asked for, since codes err.
    """

    def __init__(self, exact: DenseIndex, found_by: Codes, effort: int, extra: int) -> None:
        self.exact, self.codes, self.effort, self.extra = exact, found_by, effort, extra

    def __len__(self) -> int:
        return len(self.exact)

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self.exact.dimension

    def with_effort(self, effort: int, extra: int) -> Self:
        """Return the same vectors, searched with another effort."""
        return type(self)(self.exact, self.codes, effort, extra)

    def search(self, vector: Vectors, count: int, allowed: DocumentMask | None = None) -> tuple[Vectors, Rows]:
        """Return cosine and row of the ``count`` nearest passages that are found, best first.

        There are as many as `DenseIndex.search` returns. Where ``allowed`` leaves few, the search is exact.
        """
        available = len(self) if allowed is None else allowed.passage_count
        wanted = min(count, available)
        if allowed is not None and available <= MAX_EXACT_PASSAGES:
            return self.exact.search(vector, count, allowed)
        extra = self.extra if allowed is None else FILTER_EXTRA * self.extra
        rows = self.find(vector, min(wanted + extra, available), self.effort, allowed, least=wanted)
        if len(rows) < wanted:  # nobody is to get fewer results than there are
            return self.exact.search(vector, count, allowed)
        return best_first(count, self.exact.scores(vector, rows), rows)

    def find(
        self, vector: Vectors, count: int, effort: int, allowed: DocumentMask | None = None, *, least: int = 0
    ) -> Rows:
        """Return the ``count`` rows whose codes are nearest, as `Codes.find` does, for a vector of any length.

        Codes of the first components are compared with those of the query.
        """
        return self.codes.find(unit(vector[: self.codes.index.d]), count, effort, allowed, least=least)

    def search_many(self, vectors: Vectors, count: int) -> tuple[Vectors, Rows]:
        """Return what `search` returns for each of several vectors, shape (vectors, count)."""
        results = [self.search(vector, count) for vector in vectors]
        return np.stack([scores for scores, _ in results]), np.stack([rows for _, rows in results])

    def scores(self, vector: Vectors, rows: Rows) -> Vectors:
        """Return the exact cosine of ``vector`` to each passage of ``rows``, shape (len(rows),)."""
        return self.exact.scores(vector, rows)

    def vectors(self, rows: Rows) -> Vectors:
        """Return the full vectors of passages, shape (len(rows), dimension)."""
        return self.exact.vectors(rows)


def open_dense(folder: Path, config: Mapping[str, Any]) -> DenseLeg:
    """Open the dense leg in the folder of an index with this configuration; files are memory-mapped.

    Raises:
        UserError: the kind is not known to this version, or the files do not belong together.
    """
    kind = config["dense"]
    if kind not in KINDS:
        raise UserError(
            f"{folder}: dense index of the kind {kind!r}, this Dowse knows {', '.join(KINDS)}; build it again"
        )
    exact = DenseIndex.open(folder / dense.FILE)
    if kind == "flat":
        return exact
    found_by, facts = open_codes(folder / codes.FILE), config["dense_index"]
    if (found_by.index.ntotal, found_by.index.d) != (len(exact), facts.get("components", exact.dimension)):
        raise UserError(f"{folder / codes.FILE}: does not belong to {dense.FILE}; build the index again with --force")
    effort = facts[found_by.parameter] if found_by.parameter else 1
    return ApproximateDense(exact, found_by, effort, facts["extra"])
