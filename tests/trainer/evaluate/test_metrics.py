"""The measures are those of the field: equal to trec_eval's and to their own formulas."""

from __future__ import annotations

import math
import random

import pytest
import pytrec_eval

from trainer.evaluate.metrics import METRICS, per_query


def random_case(seed):
    """Graded qrels and a run in which everything odd occurs."""
    chance = random.Random(seed)
    documents = [f"d{number}" for number in range(150)]
    qrels, run = {}, {}
    for number in range(25):
        judged = chance.sample(documents, chance.randint(1, 30))
        qrels[f"q{number}"] = {document: chance.choice([0, 0, 1, 1, 2, 3]) for document in judged}
        run[f"q{number}"] = chance.sample(documents, chance.choice([0, 1, 5, 10, 11, 150]))
    qrels["nothing relevant"] = {"d1": 0, "d2": 0}
    run["nothing relevant"] = ["d1", "d3"]
    qrels["not asked"] = {"d1": 1}
    run["not judged"] = ["d1"]
    return qrels, run


def ndcg(judged, ranked):
    """NDCG@10 by its definition: linear gains, discounted by log2(place + 1), over the best possible."""

    def dcg(gains):
        return sum(gain / math.log2(place + 2) for place, gain in enumerate(gains[:10]))

    best = dcg(sorted(judged.values(), reverse=True))
    return dcg([judged.get(document, 0) for document in ranked]) / best if best else 0.0


@pytest.mark.parametrize("seed", range(5))
def test_ndcg_is_that_of_pytrec_eval_and_of_its_formula(seed):
    """On random graded qrels, nDCG@10 of every query equals pytrec_eval's, and the formula, to 1e-9."""
    qrels, run = random_case(seed)
    ours = per_query(qrels, run)["nDCG@10"]
    assert list(ours) == list(qrels)
    scored = {query: {document: 1e3 - place for place, document in enumerate(found)} for query, found in run.items()}
    theirs = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut.10"}).evaluate(scored)
    for query, value in ours.items():
        assert value == pytest.approx(theirs.get(query, {"ndcg_cut_10": 0.0})["ndcg_cut_10"], abs=1e-9)
        assert value == pytest.approx(ndcg(qrels[query], run.get(query, [])), abs=1e-9)
    assert 0 < sum(ours.values()) < len(ours)


@pytest.mark.parametrize("seed", range(5))
def test_mrr_and_recall_follow_their_formulas(seed):
    """MRR@10 is one over the place of the first relevant among ten; Recall@100 is the share found among a hundred."""
    qrels, run = random_case(seed)
    values = per_query(qrels, run)
    for query, judged in qrels.items():
        relevant = {document for document, grade in judged.items() if grade > 0}
        found = run.get(query, [])
        places = [place for place, document in enumerate(found[:10], 1) if document in relevant]
        recall = len(relevant.intersection(found[:100])) / len(relevant) if relevant else 0.0
        assert values["MRR@10"][query] == pytest.approx(1 / places[0] if places else 0.0, abs=1e-9)
        assert values["Recall@100"][query] == pytest.approx(recall, abs=1e-9)


def test_a_query_without_result_counts_zero():
    """A query that found nothing, or was never asked, lowers the mean instead of leaving it; strangers are left out."""
    values = per_query({"a": {"d": 1}, "b": {"d": 1}, "c": {"d": 1}}, {"a": ["d"], "b": [], "z": ["d"]})
    assert values == {name: {"a": 1.0, "b": 0.0, "c": 0.0} for name in METRICS}


def test_nothing_found_at_all():
    """A system that finds nothing for any query is measured too: zero."""
    assert per_query({"a": {"d": 1}}, {}) == {name: {"a": 0.0} for name in METRICS}


@pytest.mark.parametrize("order", [["a", "b", "c"], ["c", "b", "a"], ["b", "c", "a"]])
def test_the_order_served_is_the_order_measured(order):
    """The place in the list decides, not a document's id, by which trec_eval breaks ties."""
    assert per_query({"q": {"a": 1}}, {"q": order})["MRR@10"]["q"] == pytest.approx(1 / (order.index("a") + 1))


def test_a_document_twice_is_refused():
    """A ranking that repeats a document is an error of whoever made it, not a better or worse result."""
    with pytest.raises(ValueError, match=r"'q'.*twice"):
        per_query({"q": {"a": 1}}, {"q": ["a", "b", "a"]})
