"""nDCG@10 of every model on every kind of question, ranked by the code that serves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from indexer.build.weights.dense_weight import EQUAL_WEIGHT
from indexer.index.index import Index
from indexer.inference.encoder import Vectors
from indexer.progress import Bar
from indexer.retrieval.fusion import standardised
from indexer.retrieval.retriever import Retriever
from trainer.evaluate.rankings import RankedQueries, rank_all
from trainer.evaluate.verdict import METRIC
from trainer.pipeline.bases.questions import Kind, Questions

Values = npt.NDArray[np.float64]
"""One value for each question, shape (questions,)."""
LEGS = {"dense": 1.0, "hybrid": EQUAL_WEIGHT}
"""Weight of the dense leg in each kind of search. The weight that a corpus gets later is not known before its index."""
AGREED = 10
"""First documents of a ranking that are compared with those of the reference."""


@dataclass(frozen=True)
class Measured:
    """Values of one model on one kind of question: nDCG@10 of dense and of hybrid search."""

    dense: Values
    hybrid: Values


def rank(name: str, index: Index, questions: Questions, vectors: Vectors) -> RankedQueries:
    """Return the rankings of the questions, each searched in an index without the document that it leaves out."""
    retriever = Retriever(index)
    rankings = rank_all(name, retriever, questions.texts, vectors, questions.left_out)
    return RankedQueries(questions.query_set(), rankings, [str(row) for row in range(len(index))], retriever)


def measure(ranked: RankedQueries, weight: float = LEGS["hybrid"]) -> Measured:
    """Return nDCG@10 of each question, in hybrid search with this weight of the dense leg."""
    return Measured(_values(ranked, LEGS["dense"]), _values(ranked, weight))


def lexical(ranked: RankedQueries) -> Values:
    """Return nDCG@10 of the lexical leg alone on each question."""
    return _values(ranked, 0)


def _values(ranked: RankedQueries, weight: float) -> Values:
    return np.array(list(ranked.metrics(weight)[METRIC].values()))


def agreement(
    indexes: Sequence[Index], vectors: Sequence[Vectors], questions: Questions, ranked: Sequence[RankedQueries]
) -> list[Measured]:
    """Return for each model how many of its first documents the fused ranking of all the others has among its first.

    The reference of a model is made of the words and of the other models' vectors: it is not compared with itself
    (Khramtsova et al., «Leveraging LLMs for Unsupervised Dense Retriever Ranking», 2024, fuse the rankings of all).
    """
    count = len(indexes)
    results: list[tuple[list[float], list[float]]] = [([], []) for _ in indexes]
    passages = [index.dense.vectors(np.arange(len(index.dense))) for index in indexes]
    with Bar("agreement", len(questions), "questions") as bar:
        for number, text in enumerate(questions.texts):
            cosines = [
                standardised(
                    np.maximum.reduceat(passages[model] @ vectors[model][number], index.first_passage[:-1]).astype(
                        np.float64
                    )
                )
                for model, index in enumerate(indexes)
            ]
            scores, rows = indexes[0].lexical.search(text, len(indexes[0]))
            words = np.zeros(len(indexes[0]))
            words[rows] = scores
            words = standardised(words)
            left_out = questions.left_out[number] if questions.left_out else None
            for model in range(count):
                others = [cosines[other] for other in range(count) if other != model]
                reference = np.mean(others, axis=0) + words
                if left_out is not None:
                    reference[left_out] = -np.inf
                first = set(np.argsort(-reference, kind="stable")[:AGREED].tolist())
                ranking = ranked[model].rankings[number]
                for leg, weight in enumerate(LEGS.values()):
                    found = ranked[model].order(ranking, weight)[:AGREED]
                    results[model][leg].append(len(first.intersection(found)) / min(AGREED, max(len(first), 1)))
            bar.advance(1)
    return [Measured(np.array(dense), np.array(hybrid)) for dense, hybrid in results]


Judged = Mapping[Kind, Sequence[Measured]]
"""Kind of question → values of each model, in the order of the models."""
