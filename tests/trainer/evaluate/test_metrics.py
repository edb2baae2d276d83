"""The metrics equal those of trec_eval and their formulas."""

from __future__ import annotations

import math
import random

import pytest
import pytrec_eval

from trainer.evaluate.metrics import METRICS, per_query


def random_case(seed):
    """Return graded qrels and a run with all edge cases: empty and long results, unjudged documents and queries."""
    rng = random.Random(seed)
    documents = [f"d{number}" for number in range(150)]
    qrels, run = {}, {}
    for number in range(25):
        judged = rng.sample(documents, rng.randint(1, 30))
        qrels[f"q{number}"] = {document: rng.choice([0, 0, 1, 1, 2, 3]) for document in judged}
        run[f"q{number}"] = rng.sample(documents, rng.choice([0, 1, 5, 10, 11, 150]))
    qrels["nothing relevant"] = {"d1": 0, "d2": 0}
    run["nothing relevant"] = ["d1", "d3"]
    qrels["not asked"] = {"d1": 1}
    run["not judged"] = ["d1"]
    return qrels, run


def ndcg(judged, ranked):
    """Return nDCG@10 by its definition: linear gains, discounted by log2(rank + 1), over the best possible."""

    def dcg(gains):
        return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains[:10], 1))

    best = dcg(sorted(judged.values(), reverse=True))
    return dcg([judged.get(document, 0) for document in ranked]) / best if best else 0.0


@pytest.mark.parametrize("seed", range(5))
def test_ndcg_is_that_of_pytrec_eval_and_of_its_formula(seed):
    """On random graded qrels, nDCG@10 of every query equals pytrec_eval's, and the formula, to 1e-9."""
    qrels, run = random_case(seed)
    ours = per_query(qrels, run)["nDCG@10"]
    assert list(ours) == list(qrels)
    scored = {query: {document: 1e3 - rank for rank, document in enumerate(ranked)} for query, ranked in run.items()}
    theirs = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut.10"}).evaluate(scored)
    for query, value in ours.items():
        assert value == pytest.approx(theirs.get(query, {"ndcg_cut_10": 0.0})["ndcg_cut_10"], abs=1e-9)
        assert value == pytest.approx(ndcg(qrels[query], run.get(query, [])), abs=1e-9)
    assert 0 < sum(ours.values()) < len(ours)


@pytest.mark.parametrize("seed", range(5))
def test_mrr_and_recall_follow_their_formulas(seed):
    """MRR@10 is one over the rank of the first relevant document among ten; Recall@100 is the share among a hundred."""
    qrels, run = random_case(seed)
    values = per_query(qrels, run)
    for query, judged in qrels.items():
        relevant = {document for document, grade in judged.items() if grade > 0}
        ranked = run.get(query, [])
        ranks = [rank for rank, document in enumerate(ranked[:10], 1) if document in relevant]
        recall = len(relevant.intersection(ranked[:100])) / len(relevant) if relevant else 0.0
        assert values["MRR@10"][query] == pytest.approx(1 / ranks[0] if ranks else 0.0, abs=1e-9)
        assert values["Recall@100"][query] == pytest.approx(recall, abs=1e-9)


def test_a_query_without_result_counts_zero():
    """A query without a result, or missing in the run, counts zero; queries without qrels are left out."""
    values = per_query({"a": {"d": 1}, "b": {"d": 1}, "c": {"d": 1}}, {"a": ["d"], "b": [], "z": ["d"]})
    assert values == {name: {"a": 1.0, "b": 0.0, "c": 0.0} for name in METRICS}


def test_no_result_at_all():
    """A system without any result has zero in all metrics."""
    assert per_query({"a": {"d": 1}}, {}) == {name: {"a": 0.0} for name in METRICS}


@pytest.mark.parametrize("order", [["a", "b", "c"], ["c", "b", "a"], ["b", "c", "a"]])
def test_the_order_served_is_the_order_measured(order):
    """The rank in the run decides, not a document's id, by which trec_eval breaks ties."""
    assert per_query({"q": {"a": 1}}, {"q": order})["MRR@10"]["q"] == pytest.approx(1 / (order.index("a") + 1))


def test_a_document_twice_is_refused():
    """A ranking that repeats a document is an error of the caller."""
    with pytest.raises(ValueError, match=r"'q'.*twice"):
        per_query({"q": {"a": 1}}, {"q": ["a", "b", "a"]})
