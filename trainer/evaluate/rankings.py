"""Rankings of queries by the code that serves (`indexer.retrieval.retriever`), for both legs and all weights at once.

One hybrid search scores its candidates by both legs. From its scores follow the rankings of the dense leg, of the lexical
leg and of every weight between them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from indexer.build.neighbour_questions import without
from indexer.index.index import Index
from indexer.inference.encoder import Vectors
from indexer.progress import Bar
from indexer.retrieval.fusion import Fusion, Numbers, add_sparse, fuse
from indexer.retrieval.query_weight import shifted
from indexer.retrieval.ranking import Ranking
from indexer.retrieval.retriever import Retriever
from trainer.data.labels import QuerySet
from trainer.evaluate.metrics import Run, per_query

DEPTH = 100
"""Documents of a ranking that are evaluated: as many as Recall@100 needs."""
WEIGHTS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Weights of the dense leg among which the best for hybrid search is chosen."""
BATCH = 256
"""Queries whose nearest passages are searched together."""


@dataclass(frozen=True)
class RankedQueries:
    """Rankings of a set of queries, before the legs are weighted.

    Attributes:
        queries: the queries with their qrels.
        rankings: candidates of each query with the scores of both legs.
        ids: id of each document by its row.
        retriever: that has ranked them.
    """

    queries: QuerySet
    rankings: Sequence[Ranking]
    ids: Sequence[str]
    retriever: Retriever

    def only(self, queries: QuerySet) -> RankedQueries:
        """Return the rankings of some of the queries."""
        kept = [
            ranking for query, ranking in zip(self.queries.texts, self.rankings, strict=True) if query in queries.texts
        ]
        return RankedQueries(queries, kept, self.ids, self.retriever)

    def metrics(self, weight: float) -> Mapping[str, Mapping[str, float]]:
        """Return measure → query → value at this weight of the dense leg; 1 is the dense leg alone, 0 the lexical."""
        return per_query(self.queries.qrels, self.run(weight))

    def mean(self, weight: float, measure: str = "nDCG@10") -> float:
        """Return the mean of a measure at this weight."""
        return float(np.mean(list(self.metrics(weight)[measure].values())))

    def run(self, weight: float) -> Run:
        """Return the ids of the best documents for each query, best first."""
        return {
            query: [self.ids[row] for row in self.order(ranking, weight)]
            for query, ranking in zip(self.queries.texts, self.rankings, strict=True)
        }

    def order(self, ranking: Ranking, weight: float) -> list[int]:
        """Return the rows of the best documents of one ranking at this weight of the dense leg, adapted to the query.

        Raises:
            ValueError: the ranking is not hybrid, so it lacks the scores of a leg.
        """
        dense, lexical = ranking.dense, ranking.lexical
        if dense is None or lexical is None:
            raise ValueError("not a hybrid ranking")
        kept = np.arange(len(dense))
        if weight == 0:  # a document without any of the words is no result of the lexical leg
            scores, kept = lexical[lexical > 0], np.flatnonzero(lexical > 0)
        else:
            scores = dense if weight == 1 else self._fused(ranking, dense, lexical, weight)
        rows = ranking.rows[kept]
        best = np.lexsort((self.retriever.index.id_ranks(rows), -scores))[:DEPTH]
        ordered: list[int] = rows[best].tolist()
        return ordered

    def _fused(self, ranking: Ranking, dense: Numbers, lexical: Numbers, weight: float) -> Numbers:
        """Return fused scores at this weight, adapted to the query; with the learned-sparse leg where it was searched."""
        weight = shifted(weight, ranking.weight_shift)
        fusion = Fusion(dense_weight=weight, sparse_weight=self.retriever.fusion.sparse_weight)
        fused = fuse(fusion, dense, lexical)
        return fused.scores if ranking.sparse is None else add_sparse(fusion, fused, ranking.sparse).scores

    @cached_property
    def best_weight(self) -> float:
        """The weight with the best nDCG@10 of hybrid search; of equal ones the nearest to one half."""
        return max(WEIGHTS, key=lambda weight: (self.mean(weight), -abs(weight - 0.5)))

    def cosines(self, rows: Mapping[str, int]) -> tuple[list[float], list[float]]:
        """Return for each query the cosine of its best relevant candidate, and that of its best irrelevant one.

        A query without a relevant candidate has no value in the first list, one without an irrelevant candidate none in the
        second.
        """
        best_relevant: list[float] = []
        best_irrelevant: list[float] = []
        for query, ranking in zip(self.queries.texts, self.rankings, strict=True):
            relevant = np.isin(ranking.rows, [rows[document] for document in self.queries.qrels[query]])
            cosines = ranking.dense if ranking.dense is not None else ranking.scores
            best_relevant += cosines[relevant].max(keepdims=True).tolist() if relevant.any() else []
            best_irrelevant += cosines[~relevant].max(keepdims=True).tolist() if not relevant.all() else []
        return best_relevant, best_irrelevant


@dataclass(frozen=True)
class RankedByMode(RankedQueries):
    """Rankings where dense search has other query vectors than hybrid search; those of hybrid search are the fields.

    Attributes:
        dense: rankings of the same queries by the vectors of dense search.
    """

    dense: RankedQueries

    def only(self, queries: QuerySet) -> RankedByMode:
        """Return the rankings of some of the queries."""
        kept = super().only(queries)
        return RankedByMode(kept.queries, kept.rankings, self.ids, self.retriever, self.dense.only(queries))

    def run(self, weight: float) -> Run:
        """Return the ids of the best documents for each query, best first."""
        return self.dense.run(weight) if weight == 1 else super().run(weight)

    def cosines(self, rows: Mapping[str, int]) -> tuple[list[float], list[float]]:
        """Return what `RankedQueries.cosines` does, of dense search."""
        return self.dense.cosines(rows)


def rank_queries(
    name: str,
    retriever: Retriever,
    queries: QuerySet,
    ids: Sequence[str],
    vectors: Vectors,
    *,
    left_out: Mapping[str, int] | None = None,
) -> RankedQueries:
    """Return the rankings of all queries, whose ``vectors`` have shape (queries, dimension).

    ``left_out`` has for each query the row of a document that is not searched, such as the one that the query is from.
    Where the index maps the queries of dense mode, these are ranked by themselves.
    """
    rows = [left_out[query] for query in queries.texts] if left_out else None
    texts = list(queries.texts.values())
    rankings = rank_all(name, retriever, texts, vectors, rows)
    if retriever.index.dense_map is None or not texts:
        return RankedQueries(queries, rankings, ids, retriever)
    mapped = np.stack([retriever.map_query(vector) for vector in vectors])
    dense = rank_all(f"{name}, dense", retriever, texts, mapped, rows)
    return RankedByMode(queries, rankings, ids, retriever, RankedQueries(queries, dense, ids, retriever))


def rank_all(
    name: str, retriever: Retriever, texts: Sequence[str], vectors: Vectors, left_out: Sequence[int] | None = None
) -> list[Ranking]:
    """Return the hybrid rankings of queries whose vectors are given, with progress.

    ``left_out`` has for each query the row of a document that is not searched.
    """
    rankings: list[Ranking] = []

    def search_without(row: int) -> Ranking:
        allowed = without(Index.of(retriever.index), left_out[row])  # type: ignore[index]  # only called where it is given
        return retriever.search(texts[row], vector=vectors[row], allowed=allowed)

    with Bar(name, len(texts), "queries") as bar, ThreadPoolExecutor(retriever.index.encoder.cores) as threads:
        for start in range(0, len(texts), BATCH):
            part = range(start, min(start + BATCH, len(texts)))
            if left_out is not None:
                rankings += threads.map(search_without, part)
                bar.advance(len(part))
                continue
            near = retriever.nearest(vectors[start : start + BATCH])
            rankings += threads.map(
                lambda row, near: retriever.search(texts[row], vector=vectors[row], neighbours=near), part, near
            )
            bar.advance(len(part))
    return rankings
