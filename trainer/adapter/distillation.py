"""Training examples of a map: for each query candidate passages, and a teacher's probabilities over them.

The teacher is the fused ranking of both legs, which is better than either leg, perhaps with a cross-encoder, or the labels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from indexer.index.index import Index
from indexer.inference.encoder import Vectors
from indexer.retrieval.retriever import Retriever
from trainer.adapter.linear_map import RankingExamples
from trainer.adapter.teacher import Teacher, mixed_targets
from trainer.data.labels import QuerySet
from trainer.evaluate.rankings import BATCH, rank_all

TEACHER_CANDIDATES = 50
"""Candidates of the fused ranking for which the teacher gives probabilities."""
HARD_NEGATIVES = 150
"""Top candidates of the fused ranking that serve as negatives of a labelled query."""
RANDOM_NEGATIVES = 106
"""Random documents that serve as negatives beside them."""
Rows = npt.NDArray[np.int64]


def all_passages(index: Index) -> Vectors:
    """Return the unit vectors of all passages of an index, shape (passages, dimension)."""
    return index.dense.vectors(np.arange(len(index.dense)))


def from_fused_ranking(
    retriever: Retriever, texts: Sequence[str], vectors: Vectors, passages: Vectors, teacher: Teacher | None = None
) -> RankingExamples:
    """Return examples whose targets are the softmax of the fused scores of the best `TEACHER_CANDIDATES` candidates.

    Args:
        retriever: gives the fused ranking.
        texts: the queries.
        vectors: their unit vectors in the space of the retriever's passages, shape (queries, dimension).
        passages: vectors of all passages; the passage nearest to the query represents its document.
        teacher: a cross-encoder whose scores are mixed with the fused ones.
    """
    rankings = rank_all("rank by the teacher", retriever, texts, vectors)
    cross = teacher.score(retriever, rankings, TEACHER_CANDIDATES) if teacher else ()
    documents = np.zeros((len(texts), TEACHER_CANDIDATES), dtype=np.int64)
    targets = np.full((len(texts), TEACHER_CANDIDATES), -1, dtype=np.float32)
    for row, ranking in enumerate(rankings):
        count = min(TEACHER_CANDIDATES, len(ranking.rows))
        documents[row, :count] = ranking.rows[:count]
        logits = mixed_targets(ranking.scores[:count], cross[row][:count] if row < len(cross) else None)
        weights = np.exp(logits - logits.max())
        targets[row, :count] = weights / weights.sum()
    best = best_passages(Index.of(retriever.index), vectors, passages, documents)
    return RankingExamples(vectors, passages, best, targets)


def from_labels(
    retriever: Retriever, queries: QuerySet, rows: dict[str, int], vectors: Vectors, *, passages: Vectors, seed: int
) -> RankingExamples:
    """Return examples whose targets are the labels: the answers of a query share the probability, negatives have none.

    Args:
        retriever: finds the hard negatives.
        queries: the queries and their answers.
        rows: row of each document in the index.
        vectors: unit vectors of the queries.
        passages: vectors of all passages.
        seed: of the random negatives.
    """
    rng = np.random.default_rng(seed)
    rankings = rank_all("find negatives", retriever, list(queries.texts.values()), vectors)
    index = Index.of(retriever.index)
    width = HARD_NEGATIVES + RANDOM_NEGATIVES
    documents = np.zeros((len(queries), width), dtype=np.int64)
    targets = np.full((len(queries), width), -1, dtype=np.float32)
    for row, (query, ranking) in enumerate(zip(queries.texts, rankings, strict=True)):
        relevant = [rows[document] for document in queries.qrels[query]]
        answers = relevant[: width // 2]
        negatives = np.concatenate([ranking.rows[:HARD_NEGATIVES], rng.integers(0, len(index), RANDOM_NEGATIVES)])
        _, first = np.unique(negatives, return_index=True)
        negatives = negatives[np.sort(first)]
        negatives = negatives[~np.isin(negatives, relevant)][: width - len(answers)]
        candidates = np.concatenate([answers, negatives])
        documents[row, : len(candidates)] = candidates
        targets[row, : len(candidates)] = 0
        targets[row, : len(answers)] = 1 / len(answers)
    return RankingExamples(vectors, passages, best_passages(index, vectors, passages, documents), targets)


def best_passages(index: Index, vectors: Vectors, passages: Vectors, documents: Rows) -> Rows:
    """Return for each query and candidate document the document's passage that is nearest to the query.

    Args:
        index: knows the passages of each document.
        vectors: of the queries, shape (queries, dimension).
        passages: of all passages of the index, shape (passages, dimension).
        documents: rows of candidate documents, shape (queries, candidates).

    Returns:
        Rows of passages, shape (queries, candidates).
    """
    if len(passages) == len(index):
        return documents
    starts, ends = index.first_passage[documents], index.first_passage[documents + 1]
    best = starts.copy()
    for start in range(0, len(documents), BATCH):  # memory does not grow with the number of queries
        part = slice(start, start + BATCH)
        _improve(vectors[part], passages, starts[part], ends[part], best[part])
    return best


def _improve(vectors: Vectors, passages: Vectors, starts: Rows, ends: Rows, best: Rows) -> None:
    """Replace the passages in ``best``, which are the first ones of their documents, by the nearest ones, in place."""
    scores = np.einsum("qd,qcd->qc", vectors, passages[best])
    for offset in range(1, int((ends - starts).max())):
        queries, columns = np.nonzero(starts + offset < ends)
        rows = starts[queries, columns] + offset
        cosines = np.einsum("pd,pd->p", vectors[queries], passages[rows])
        better = cosines > scores[queries, columns]
        best[queries[better], columns[better]] = rows[better]
        scores[queries[better], columns[better]] = cosines[better]
