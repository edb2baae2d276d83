"""What a map learns from: for every query its candidates, and how a teacher would choose among them.

The teacher is the fused ranking, words and meaning together, which is better than either; or the labels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from indexer.index.index import Index
from indexer.inference.encoder import Vectors
from indexer.retrieval.retriever import Retriever
from trainer.adapter.linear_map import RankingExamples
from trainer.data.labels import QuerySet
from trainer.evaluate.rankings import BATCH, rank_all

TEACHER_CANDIDATES = 50
"""Candidates that the fused teacher orders."""
HARD_NEGATIVES = 150
"""Best candidates among which a labelled query has to find its answer,"""
RANDOM_NEGATIVES = 106
"""and passages drawn at random beside them."""
Rows = npt.NDArray[np.int64]


def all_passages(index: Index) -> Vectors:
    """Return the unit vectors of all passages of an index, shape (passages, dimension)."""
    return index.dense.vectors(np.arange(len(index.dense)))


def from_fused_ranking(
    retriever: Retriever, texts: Sequence[str], vectors: Vectors, passages: Vectors
) -> RankingExamples:
    """Return a lesson in which the fused scores of the best `TEACHER_CANDIDATES` candidates teach.

    Args:
        retriever: the teacher.
        texts: the queries.
        vectors: their unit vectors as the retriever's passages are compared with, shape (queries, dimension).
        passages: vectors of all passages, in which each candidate document is represented by the one nearest to the query.
    """
    rankings = rank_all("ask the teacher", retriever, texts, vectors)
    documents = np.zeros((len(texts), TEACHER_CANDIDATES), dtype=np.int64)
    targets = np.full((len(texts), TEACHER_CANDIDATES), -1, dtype=np.float32)
    for row, ranking in enumerate(rankings):
        count = min(TEACHER_CANDIDATES, len(ranking.rows))
        documents[row, :count] = ranking.rows[:count]
        weights = np.exp(ranking.scores[:count] - ranking.scores[0])
        targets[row, :count] = weights / weights.sum()
    return RankingExamples(vectors, passages, best_passages(retriever.index, vectors, passages, documents), targets)


def from_labels(
    retriever: Retriever, questions: QuerySet, rows: dict[str, int], vectors: Vectors, *, passages: Vectors, seed: int
) -> RankingExamples:
    """Return a lesson in which the labels teach: all answers of a query are equally right, everything else is wrong.

    Args:
        retriever: finds the rivals.
        questions: the queries and their answers.
        rows: row of each document in the index.
        vectors: unit vectors of the queries.
        passages: vectors of all passages.
        seed: of the random passages.
    """
    chance = np.random.default_rng(seed)
    rankings = rank_all("find rivals", retriever, list(questions.texts.values()), vectors)
    index = retriever.index
    width = HARD_NEGATIVES + RANDOM_NEGATIVES
    documents = np.zeros((len(questions), width), dtype=np.int64)
    targets = np.full((len(questions), width), -1, dtype=np.float32)
    for row, (query, ranking) in enumerate(zip(questions.texts, rankings, strict=True)):
        right = [rows[document] for document in questions.qrels[query]]
        answers = right[: width // 2]
        others = np.concatenate([ranking.rows[:HARD_NEGATIVES], chance.integers(0, len(index), RANDOM_NEGATIVES)])
        _, first = np.unique(others, return_index=True)
        others = others[np.sort(first)]
        others = others[~np.isin(others, right)][: width - len(answers)]
        chosen = np.concatenate([answers, others])
        documents[row, : len(chosen)] = chosen
        targets[row, : len(chosen)] = 0
        targets[row, : len(answers)] = 1 / len(answers)
    return RankingExamples(vectors, passages, best_passages(index, vectors, passages, documents), targets)


def best_passages(index: Index, vectors: Vectors, passages: Vectors, documents: Rows) -> Rows:
    """Return for each query and candidate document the document's passage that is nearest to the query.

    Args:
        index: says which passages a document has.
        vectors: of the queries, shape (queries, dimension).
        passages: of the whole index, shape (passages, dimension).
        documents: rows of candidate documents, shape (queries, candidates).

    Returns:
        Rows of passages, shape (queries, candidates).
    """
    if len(passages) == len(index):
        return documents
    starts, ends = index.first_passage[documents], index.first_passage[documents + 1]
    best = starts.copy()
    for start in range(0, len(documents), BATCH):  # bounds memory, whatever the number of queries
        part = slice(start, start + BATCH)
        _improve(vectors[part], passages, starts[part], ends[part], best[part])
    return best


def _improve(vectors: Vectors, passages: Vectors, starts: Rows, ends: Rows, best: Rows) -> None:
    """Put into ``best``, which holds the first passages, the nearest ones."""
    scores = np.einsum("qd,qcd->qc", vectors, passages[best])
    for ahead in range(1, int((ends - starts).max())):
        queries, columns = np.nonzero(starts + ahead < ends)
        rows = starts[queries, columns] + ahead
        found = np.einsum("pd,pd->p", vectors[queries], passages[rows])
        better = found > scores[queries, columns]
        best[queries[better], columns[better]] = rows[better]
        scores[queries[better], columns[better]] = found[better]
