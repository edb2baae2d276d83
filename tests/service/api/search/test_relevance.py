"""Relevance in answers: what every result says, what a request may cut, and where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from starlette.testclient import TestClient
from tales import BIG_WORDS

from indexer.build.build import build
from indexer.build.settings import BuildSettings
from indexer.retrieval.ranking import Ranking
from service.api.search.arrange import arrange
from service.api.search.schemas import Arrangement
from service.app import create_app
from service.settings import ServiceSettings

MODES = ("hybrid", "dense", "lexical")
QUERY = " ".join(BIG_WORDS[:4])


@pytest.fixture(scope="module")
def tales(tiny_data, tmp_path_factory):
    """A client of a service over 120 tales, whose index is calibrated."""
    import shutil

    from tales import write_named_tales

    folder = tmp_path_factory.mktemp("relevance")
    data = shutil.copytree(tiny_data, folder / "data")
    build(str(write_named_tales(folder / "tales.parquet", 120)), BuildSettings(language="en"), data, cores=1)
    with TestClient(create_app(ServiceSettings(data=data))) as client:
        yield client


def results(client, **body):
    """The results of a search."""
    answer = client.post("/search", json={"query": QUERY, **body})
    assert answer.status_code == 200, answer.text
    return answer.json()["results"]


@pytest.mark.parametrize("mode", MODES)
def test_every_result_has_one_and_it_never_rises(tales, mode):
    """Relevances are between 0 and 1, never rise down a ranking, and go on over pages."""
    found = [result["relevance"] for result in results(tales, mode=mode, top_k=60)]
    assert all(0 <= relevance <= 1 for relevance in found)
    assert found == sorted(found, reverse=True)
    pages = [results(tales, mode=mode, top_k=20, offset=offset) for offset in (0, 20, 40)]
    assert [result["relevance"] for page in pages for result in page] == found


def test_a_fused_score_is_shown_by_explain_alone(tales):
    """It means nothing outside its ranking; cosines and BM25 scores do, and are always there."""
    assert all("score" not in result for result in results(tales))
    assert all(result["score"] is not None for result in results(tales, explain=True))
    for mode in ("dense", "lexical"):
        assert all(result["score"] > 0 for result in results(tales, mode=mode))


@pytest.mark.parametrize("mode", MODES)
def test_min_relevance_cuts(tales, mode):
    """What is below is left out, what is exactly at it stays, and nothing else changes; a link can say it too."""
    everything = results(tales, mode=mode, top_k=60)
    least = everything[7]["relevance"]
    kept = [result for result in everything if result["relevance"] >= least]
    assert 0 < len(kept) < len(everything)
    assert results(tales, mode=mode, top_k=60, min_relevance=least) == kept
    answer = tales.get("/search", params={"q": QUERY, "mode": mode, "top_k": 60, "min_relevance": least})
    assert answer.json()["results"] == kept
    assert results(tales, mode=mode, min_relevance=1) == []


def test_a_batch_and_a_filter_have_it(tales):
    """The searches of a batch say the same as single ones; behind a filter the best of what is left decides."""
    answer = tales.post("/search/batch", json={"searches": [{"query": QUERY}, {"query": QUERY, "min_relevance": 1}]})
    alone, none = (each["results"] for each in answer.json()["responses"])
    assert alone == results(tales)
    assert none == []
    best = alone[0]["id"]
    rest = results(tales, filter={"must_not": [{"field": "id", "eq": best}]})
    assert rest[0]["id"] == alone[1]["id"]
    assert 0 < rest[0]["relevance"] <= alone[0]["relevance"]


def test_similar_documents_have_none(tales):
    """Similarity to documents is no answer to a query."""
    answer = tales.get(f"/documents/{results(tales)[0]['id']}/similar").json()
    assert {result["relevance"] for result in answer["results"]} == {None}
    refused = tales.post("/similar", json={"text": QUERY, "min_relevance": 0.5})
    assert refused.status_code == 422


def test_an_index_without_a_calibration(built_data):
    """Results of six documents have no relevance, and a request for a least one is refused with the reason."""
    with TestClient(create_app(ServiceSettings(data=built_data))) as client:
        assert {result["relevance"] for result in results(client)} == {None}
        refused = client.post("/search", json={"query": QUERY, "min_relevance": 0.2})
    assert refused.status_code == 422
    (error,) = refused.json()["errors"]
    assert error["field"] == "body.min_relevance"
    assert "no calibration" in error["message"]


@pytest.mark.parametrize("value", [-0.1, 1.1, "high"])
def test_a_relevance_is_a_probability(tales, value):
    """Other values are refused."""
    assert tales.post("/search", json={"query": QUERY, "min_relevance": value}).status_code == 422


def test_relevances_follow_a_new_order():
    """After re-ranking the first result has the largest relevance of those that were re-ranked, and so on down the page."""
    ranking = Ranking(rows=np.arange(5), scores=np.arange(5.0)[::-1], relevance=np.array([0.9, 0.6, 0.3, 0.2, 0.1]))
    page = arrange(
        None, ranking, Arrangement(), mode="hybrid", offset=0, count=4, rerank=lambda _: {0: 1.0, 1: 3.0, 2: 2.0},
        min_relevance=0.15,
    )  # fmt: skip
    assert page.positions == [1, 2, 0, 3]
    assert ranking.relevance[page.positions].tolist() == [0.9, 0.6, 0.3, 0.2]
