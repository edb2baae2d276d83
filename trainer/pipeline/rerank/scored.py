"""Groups of queries with the scores of a cross-encoder: their orders, and how these compare."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from indexer.inference.reranker import Reranker
from indexer.retrieval.ranking import Ranking
from indexer.retrieval.reranking import mix
from trainer.data.labels import QuerySet
from trainer.evaluate.cross_scores import Scores, score_first
from trainer.evaluate.groups import PerQuery, group
from trainer.evaluate.metrics import per_query
from trainer.evaluate.rankings import DEPTH, RankedQueries
from trainer.evaluate.report import Group


@dataclass(frozen=True)
class Reranked:
    """A group of queries with the cross-encoder's scores of their first results, shape (queries, depth)."""

    ranked: RankedQueries
    scores: Scores

    def metrics(self, weight: float) -> Mapping[str, Mapping[str, float]]:
        """Return measure → query → value with the first results in the order of the mixed scores; 0 is the first order."""
        run = {
            query: [self.ranked.ids[row] for row in reorder(ranking, scores, weight)]
            for query, ranking, scores in zip(self.ranked.queries.texts, self.ranked.rankings, self.scores, strict=True)
        }
        return per_query(self.ranked.queries.qrels, run)

    def only(self, queries: QuerySet) -> Reranked:
        """Return the same for some of the queries."""
        kept = np.array([query in queries.texts for query in self.ranked.queries.texts])
        return Reranked(replace(self.ranked.only(queries), queries=queries), self.scores[kept])


def reorder(ranking: Ranking, scores: Scores, weight: float) -> list[int]:
    """Return the rows of a ranking with its first results in the order of the mixed scores."""
    count = min(len(scores), len(ranking.rows))
    order = np.arange(len(ranking.rows))[:DEPTH]
    if weight and count:
        mixed = mix(scores[:count], ranking.scores[:count], weight)
        order[:count] = np.argsort(-mixed, kind="stable")
    rows: list[int] = ranking.rows[order].tolist()
    return rows


def score_group(name: str, reranker: Reranker, ranked: RankedQueries, depth: int, journal: Path) -> Reranked:
    """Return a group of queries with the scores of their first ``depth`` results; a killed scoring resumes by ``journal``."""
    scores = score_first(name, reranker, ranked.retriever, ranked.rankings, depth=depth, journal=journal)
    return Reranked(ranked, scores)


def compare_orders(
    before: PerQuery, reranked: Reranked, weight: float, seed: int, clusters: Mapping[str, str]
) -> Group:
    """Return the figures of hybrid search in an earlier order (base) and in that of the cross-encoder (tuned)."""
    systems = {"base hybrid": before, "tuned hybrid": reranked.metrics(weight)}
    return group(systems, list(reranked.ranked.queries.texts), seed, clusters)
