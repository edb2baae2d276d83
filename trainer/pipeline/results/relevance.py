"""Calibration of relevance for a tuned model: fitted on people's labels where there are any, and measured on test queries.

Without labels it is fitted on the queries that a build makes too (`indexer.build.relevance`), only to draw the curve: the
index of the tuned model gets its own calibration when it is built.
"""

from __future__ import annotations

import random
from functools import partial
from typing import NamedTuple

import numpy as np

from indexer.build.relevance.fit import enough, first_relevance, fit
from indexer.build.relevance.observe import observe
from indexer.build.relevance.questions import SOURCES, Query, draw_key_words, make_queries, unanswered_queries
from indexer.index.index import Index
from indexer.progress import say
from indexer.retrieval.relevance import Calibration
from trainer.data.labels import QuerySet
from trainer.evaluate.encode import encode_queries
from trainer.evaluate.reliability import Calibration as Reliability
from trainer.evaluate.reliability import Decisions, measure_calibration
from trainer.pipeline.results.comparison import Candidate, Comparison


class Relevance(NamedTuple):
    """A calibration of relevance, where one was fitted on labels; and how reliable it is on test queries, where it is known."""

    calibration: Calibration | None = None
    reliability: Reliability | None = None


def calibrate_relevance(index: Index, candidate: Candidate, comparison: Comparison, seed: int) -> Relevance:
    """Fit relevance for a tuned model as it will be served, and measure it on the test queries that decide.

    Dev queries about documents that were not trained on are used where there are enough: the model ranks the others too
    well. Where labels are too few, nothing is fitted on them.
    """
    run_data = comparison.run_data
    retriever = candidate.retriever(index)
    fusion = retriever.fusion.model_copy(update={"dense_weight": comparison.weights[1], "by_query": True})
    encoder = candidate.encoder(comparison.precision, comparison.query_encoder)
    rows = {document: row for row, document in enumerate(run_data.documents.ids)}
    labelled = run_data.judged_by == "labels"
    if labelled:
        queries = [*_answered(run_data.unseen_dev or run_data.dev.queries, rows), *_unanswered(index, seed)]
    else:
        queries = make_queries(index, seed)
    encode = partial(encode_queries, "relevance: encode", encoder)
    found = observe(retriever, queries, encode, fusion)
    modes = {mode: fit(observations) for mode, observations in found.items() if enough(observations)}
    if "hybrid" not in modes:
        say("relevance: not fitted, as there are too few queries with and without an answer")
        return Relevance()
    test = run_data.tests[comparison.deciding]
    ids = {document: row for row, document in enumerate(test.ids)}
    asked = _answered(test.queries, ids, test.left_out)
    tested = observe(candidate.retriever(test.index), asked, encode, fusion)["hybrid"]
    reliability = measure_calibration(
        Decisions(
            np.array([first_relevance(modes["hybrid"], observation) for observation in tested]),
            np.array([bool(observation.right[:1].any()) for observation in tested]),
        )
    )
    say(f"relevance: calibration error {reliability.ece:.3f} of first results on {len(tested):,} test queries")
    return Relevance(Calibration(fitted_on="labels", modes=modes) if labelled else None, reliability)


def _answered(queries: QuerySet, rows: dict[str, int], left_out: dict[str, int] | None = None) -> list[Query]:
    """Return queries with the rows of the documents that answer them, without those that have none in the index."""
    found = []
    for key, text in queries.texts.items():
        answers = frozenset(rows[document] for document in queries.qrels[key] if document in rows)
        if answers:
            found.append(Query(text, answers, (left_out or {}).get(key)))
    return found


def _unanswered(index: Index, seed: int) -> list[Query]:
    """Return queries that no document answers."""
    rng = random.Random(seed)  # noqa: S311 - a sample, no secret
    rows = rng.sample(range(index.rows), min(SOURCES, index.rows))
    return unanswered_queries([words for _, words in draw_key_words(index, rows, rng)], rng)
