"""Groups of queries by which re-ranking is judged, ranked by the code that serves."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

from indexer.build.weights.neighbour_questions import make_neighbour_questions
from indexer.index.index import Index
from indexer.retrieval.retriever import Retriever
from trainer.evaluate.encode import encode_queries
from trainer.evaluate.rankings import RankedQueries, rank_queries
from trainer.pipeline.dataset import TestSet
from trainer.queries.synthetic import neighbour_queries

MAX_QUERIES = 600
"""Queries of a group that are re-ranked. Each costs as many pairs as there are results to re-rank."""
CHOOSE = " (to choose the weight)"
"""End of the name of a group of synthetic queries on which the weight is chosen; no verdict rests on it."""
CHOOSE_SHARE = 1 / 3
"""Share of the documents whose queries are in that group."""
NEIGHBOURS = "sentences of neighbouring documents"
"""Group of neighbour questions: a sentence of a document asks for the documents near it, and the document is left out."""
MAX_NEIGHBOUR_QUESTIONS = 300


def divide(tests: Mapping[str, TestSet]) -> dict[str, TestSet]:
    """Divide each group by document: a part to choose the weight on, the rest under its own name.

    The run's neighbour questions are left out: they are from test documents alone, and too few to divide
    (`rank_neighbour_questions`).
    """
    divided: dict[str, TestSet] = {}
    for name, test in tests.items():
        if test.left_out:
            continue
        documents = sorted(test.queries.documents)
        random.Random(0).shuffle(documents)  # noqa: S311 - a division, no secret
        first = set(documents[: int(len(documents) * CHOOSE_SHARE)])
        for suffix, wanted in ((CHOOSE, True), ("", False)):
            names = [q for q, answers in test.queries.qrels.items() if bool(first & answers.keys()) == wanted]
            if names:
                divided[name + suffix] = _only(test, names)
    return divided


def _only(test: TestSet, names: Sequence[str]) -> TestSet:
    """Return some of the queries of a group, with their vectors."""
    queries = test.queries.only(names)
    rows = [row for row, query in enumerate(test.queries.texts) if query in queries.texts]
    return replace(test, queries=queries, vectors=test.vectors[rows])


def rank_sample(name: str, test: TestSet, seed: int) -> RankedQueries:
    """Rank the queries of a group, or a sample of them, by the code that serves."""
    if len(test.queries) > MAX_QUERIES:
        test = _only(test, random.Random(seed).sample(list(test.queries.texts), MAX_QUERIES))  # noqa: S311
    return rank_queries(name, Retriever(test.index), test.queries, test.ids, test.vectors)


def rank_neighbour_questions(index: Index, ids: list[str], seed: int) -> dict[str, RankedQueries]:
    """Return the rankings of neighbour questions: a part to choose the weight on, and the rest.

    They do not share their answers' words by construction, and several documents answer one. A corpus of documents that
    have nothing to do with each other gives none.
    """
    questions = make_neighbour_questions(index, range(len(index)), MAX_NEIGHBOUR_QUESTIONS, seed)
    retriever = Retriever(index)
    parts: dict[str, RankedQueries] = {}
    first = int(len(questions) * CHOOSE_SHARE)
    for name, part in ((NEIGHBOURS + CHOOSE, questions[:first]), (NEIGHBOURS, questions[first:])):
        if part:
            queries, left_out = neighbour_queries(part, ids)
            vectors = encode_queries(f"{name}: encode", index.encoder, list(queries.texts.values()))
            parts[name] = rank_queries(name, retriever, queries, ids, vectors, left_out=left_out)
    return parts
