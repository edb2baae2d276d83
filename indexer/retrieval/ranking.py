"""Rankings and hits: the candidates of a query in order, with the scores of each leg, and the results of a page."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from indexer.index.document_mask import Rows
from indexer.index.served import Document
from indexer.inference.encoder import Vectors
from indexer.retrieval.expansion import Expanded
from indexer.retrieval.fusion import ranks

Numbers = npt.NDArray[np.float64]
Mode = Literal["hybrid", "dense", "lexical"]
"""Both legs, or one alone."""
COLUMNS = ("rows", "scores", "dense", "lexical", "sparse", "dense_part", "lexical_part", "sparse_part", "passages", "exact",
           "relevance", "boost")  # fmt: skip
"""Attributes of a `Ranking` that have a value for each candidate."""


@dataclass(frozen=True)
class LegScore:
    """The score that one leg gives a hit, and the rank by that score among all candidates of the query.

    In hybrid search also ``part``: what the leg adds to the fused score, above what it adds to the candidate to which
    it adds least.
    """

    score: float
    rank: int
    part: float | None = None


class Hit(NamedTuple):
    """One document of a result page.

    Attributes:
        passage: text of the best passage.
        dense: score of the dense leg; None where it was not searched.
        lexical: score of the lexical leg; None also where no term of the query occurs.
        sparse: score of the learned-sparse leg; None also where no term of the query has a weight.
        relevance: probability that it answers the query; None where it was not asked for, or cannot be told.
    """

    rank: int
    score: float
    document: Document
    passage: str
    dense: LegScore | None
    lexical: LegScore | None
    sparse: LegScore | None = None
    relevance: float | None = None


class Timed:
    """A context that adds the milliseconds spent inside to those of a stage; nothing is added where an error is raised.

    A search enters a dozen, so this is no generator, which takes three times as long.
    """

    __slots__ = ("_stage", "_started", "_timings")

    def __init__(self, timings: dict[str, float], stage: str) -> None:
        self._timings, self._stage = timings, stage

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            spent = (time.perf_counter() - self._started) * 1e3
            self._timings[self._stage] = self._timings.get(self._stage, 0.0) + spent


@dataclass
class Ranking:
    """All candidates of a query, best first: one array for each column, all of the same length.

    Attributes:
        rows: of the documents.
        scores: by which they are ordered.
        dense: cosines; None where the dense leg was not searched.
        lexical: BM25 scores, 0 where no term occurs; None where the lexical leg was not searched.
        dense_part: what the dense leg adds to the fused score; None where scores are not fused.
        lexical_part: the same of the lexical leg.
        sparse: scores of the learned-sparse leg, 0 where no term has a weight; None where it was not searched.
        sparse_part: what it adds to the fused score.
        relevance: probability that each answers the query; None as long as nobody has asked for it.
        passages: the passage of each document that is nearest to the query's vector, where there is one.
        boost: what was added to each score by the request, as a share of ``spread``; None where nothing was.
        spread: difference of the best and the worst score before anything was added.
        weight: of the dense leg in the fused scores; None where scores are not fused.
        weight_shift: part of that weight that is due to the query (`indexer.retrieval.query_weight`).
        vector: of the query, shape (dimension,).
        query: its text.
        expanded: the query as it was searched; None where there was none.
        exact: whether a document has the query as its id or as an exact value; these come first. None where none has.
        timings: milliseconds of each stage.
    """

    rows: Rows = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    scores: Numbers = field(default_factory=lambda: np.empty(0))
    dense: Numbers | None = None
    lexical: Numbers | None = None
    dense_part: Numbers | None = None
    lexical_part: Numbers | None = None
    sparse: Numbers | None = None
    sparse_part: Numbers | None = None
    passages: Rows | None = None
    relevance: Numbers | None = None
    boost: Numbers | None = None
    spread: float = 0.0
    weight: float | None = None
    weight_shift: float = 0.0
    vector: Vectors | None = None
    query: str = ""
    expanded: Expanded | None = None
    exact: npt.NDArray[np.bool_] | None = None
    timings: dict[str, float] = field(default_factory=dict)

    def take(self, positions: Rows) -> Ranking:
        """Return the ranking of the candidates at ``positions`` alone, in that order; every column follows."""
        taken = Ranking.__new__(Ranking)  # `dataclasses.replace` would set each of the fields once more
        values = vars(self)
        vars(taken).update(values)
        for name in COLUMNS:
            if (column := values[name]) is not None:
                vars(taken)[name] = column[positions]
        return taken

    @property
    def text(self) -> str:
        """What the encoder gets: the query, or what it certainly means."""
        return self.expanded.text if self.expanded else self.query

    @property
    def words(self) -> str:
        """The query and all words that were searched beside it."""
        return self.expanded.words if self.expanded else self.query

    def timed(self, stage: str) -> Timed:
        """Return a context that adds the milliseconds spent inside to ``timings[stage]``."""
        return Timed(self.timings, stage)

    def legs(self, positions: Rows) -> tuple[list[LegScore | None] | None, list[LegScore | None] | None]:
        """Return dense and lexical scores of the candidates at ``positions``; None for a leg that was not searched."""
        # A BM25 score of 0 means that no term of the query occurs: the leg has not found the document at all.
        return (
            _leg(self.dense, self.dense_part, positions),
            _leg(self.lexical, self.lexical_part, positions, absent=0.0),
        )

    def sparse_leg(self, positions: Rows) -> list[LegScore | None] | None:
        """Return learned-sparse scores of the candidates at ``positions``; None where that leg was not searched."""
        return _leg(self.sparse, self.sparse_part, positions, absent=0.0)


def _leg(
    scores: Numbers | None, part: Numbers | None, positions: Rows, absent: float | None = None
) -> list[LegScore | None] | None:
    if scores is None:
        return None
    parts = [None] * len(positions) if part is None or not len(part) else (part - part.min())[positions].tolist()
    columns = zip(scores[positions].tolist(), ranks(scores)[positions].tolist(), parts, strict=True)
    return [None if score == absent else LegScore(score, int(rank), added) for score, rank, added in columns]
