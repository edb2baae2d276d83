"""Retrieval metrics: graded nDCG@10, MRR@10 and Recall@100 of each query, by `ir_measures` over trec_eval's code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import ir_measures
from ir_measures import RR, R, nDCG

from trainer.data.labels import Qrels

Run = Mapping[str, Sequence[str]]
"""Query id → document ids as they were served, best first."""

METRICS = ("nDCG@10", "MRR@10", "Recall@100")
_MEASURES = dict(zip((nDCG @ 10, RR @ 10, R @ 100), METRICS, strict=True))


def per_query(qrels: Qrels, run: Run) -> dict[str, dict[str, float]]:
    """Return measure → query id → value for every query of ``qrels``, in its order.

    A query without a result counts zero; a document without a judgement counts as not relevant. Gains are linear in the
    relevance, as in trec_eval and BEIR (Järvelin and Kekäläinen 2002). trec_eval sorts by score and breaks ties by document
    id. To evaluate the order of the run, ranks are passed as strictly falling scores.

    Raises:
        ValueError: a run has a document twice for a query, which would count twice.
    """
    scored = {}
    for query in qrels:
        documents = run.get(query, ())
        scored[query] = {document: -float(rank) for rank, document in enumerate(documents)}
        if len(scored[query]) < len(documents):
            raise ValueError(f"query {query!r}: a document is in its ranking twice")
    values = {name: dict.fromkeys(qrels, 0.0) for name in METRICS}
    # A query without results is left out: some providers of `ir_measures` count it as zero, others drop it.
    for metric in ir_measures.iter_calc(
        list(_MEASURES), qrels, {query: scores for query, scores in scored.items() if scores}
    ):
        values[_MEASURES[metric.measure]][metric.query_id] = float(metric.value)
    return values
