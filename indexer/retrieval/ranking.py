"""What a query is answered with: its candidates in order, and the hits of a page."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from indexer.index.dense import Rows
from indexer.index.index import Document
from indexer.inference.encoder import Vectors
from indexer.retrieval.fusion import Fusion, parts, ranks

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Leg:
    """What one leg says of a hit: its score, and its rank by that score among all candidates of the query.

    In hybrid search also what it adds to the fused score, counted from the candidate to which it adds least.
    """

    score: float
    rank: int
    part: float | None = None


@dataclass(frozen=True)
class Hit:
    """One document of a result page."""

    rank: int
    score: float
    document: Document
    passage: str
    """The text of the best passage."""
    dense: Leg | None
    lexical: Leg | None


@dataclass
class Ranking:
    """All candidates of a query, best first, as arrays of the same length; and the milliseconds of each stage."""

    rows: Rows = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    scores: Numbers = field(default_factory=lambda: np.empty(0))
    dense: Numbers | None = None
    lexical: Numbers | None = None
    fusion: Fusion | None = None
    """How the scores came about, where both legs were asked."""
    passages: Rows | None = None
    """The passage of each candidate that is nearest to the query's vector, where there is one."""
    vector: Vectors | None = None
    query: str = ""
    timings: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the milliseconds spent inside to ``timings[stage]``."""
        started = time.perf_counter()
        yield
        self.timings[stage] = self.timings.get(stage, 0.0) + (time.perf_counter() - started) * 1e3


@dataclass(frozen=True)
class Words:
    """What the lexical leg has found: BM25 scores and rows, best first; ``complete`` where there is nothing else."""

    scores: npt.NDArray[np.float32]
    rows: Rows
    complete: bool

    def find(self, rows: Rows) -> tuple[Rows, npt.NDArray[np.bool_]]:
        """Return where each of ``rows`` stands in `rows`, and whether it does; the place says nothing where not."""
        if not len(self.rows):
            return np.zeros(len(rows), dtype=np.int64), np.zeros(len(rows), dtype=bool)
        order = np.argsort(self.rows)
        places = order[np.minimum(np.searchsorted(self.rows, rows, sorter=order), len(order) - 1)]
        return places, self.rows[places] == rows


def legs_of(ranking: Ranking, places: Rows) -> tuple[list[Leg | None] | None, list[Leg | None] | None]:
    """Return what each leg says of the hits at ``places``; None for a leg that was not asked."""
    both: tuple[Numbers | None, Numbers | None] = (None, None)
    if ranking.fusion and ranking.dense is not None and ranking.lexical is not None and len(ranking.rows):
        both = parts(ranking.fusion, ranking.dense, ranking.lexical)
    # A BM25 score of 0 means that no term of the query occurs: the leg has not found the document at all.
    return _leg(ranking.dense, both[0], places), _leg(ranking.lexical, both[1], places, absent=0.0)


def _leg(
    scores: Numbers | None, part: Numbers | None, places: Rows, absent: float | None = None
) -> list[Leg | None] | None:
    if scores is None:
        return None
    added = [None] * len(places) if part is None else (part - part.min())[places].tolist()
    chosen = zip(scores[places].tolist(), ranks(scores)[places].tolist(), added, strict=True)
    return [None if score == absent else Leg(score, int(rank), more) for score, rank, more in chosen]
