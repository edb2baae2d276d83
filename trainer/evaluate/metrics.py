"""How good is a ranking? Graded nDCG@10, MRR@10 and Recall@100 of every query, by `ir_measures` over trec_eval's code."""

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

    A query without a result counts zero; a document without a judgement counts as not relevant. The order of the run is
    the order that is measured: trec_eval sorts by score and breaks ties by document id, so ranks go in as scores that
    fall strictly. Gains are linear in the relevance, as in trec_eval and BEIR (Järvelin and Kekäläinen 2002).

    Raises:
        ValueError: a run names a document twice for a query, which would count it twice.
    """
    scored = {}
    for query in qrels:
        documents = run.get(query, ())
        scored[query] = {document: -float(place) for place, document in enumerate(documents)}
        if len(scored[query]) < len(documents):
            raise ValueError(f"query {query!r}: a document is in its ranking twice")
    values = {name: dict.fromkeys(qrels, 0.0) for name in METRICS}
    # An empty dictionary is «no result», which the providers of `ir_measures` count as zero or leave out.
    for metric in ir_measures.iter_calc(list(_MEASURES), qrels, {query: own for query, own in scored.items() if own}):
        values[_MEASURES[metric.measure]][metric.query_id] = float(metric.value)
    return values
