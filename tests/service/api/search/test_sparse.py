"""The learned-sparse leg in the API: explained, filtered, switched off, and applied to documents that were just put."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from tiny_sparse import make_tiny_sparse

from indexer.build.build import build
from indexer.build.settings import BuildSettings
from service.app import create_app
from service.settings import ServiceSettings
from trainer.models.settings import SparseSettings
from trainer.models.sparse import publish_sparse

QUERIES = ["the cat in the garden", "king and queen", "red horse in the snow"]


@pytest.fixture(scope="module")
def data(built_data: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with the six stories in an index that has the leg, with weight .3."""
    data = Path(shutil.copytree(built_data, tmp_path_factory.mktemp("sparse") / "data"))
    publish_sparse(str(make_tiny_sparse(tiny_model, data / "made")), SparseSettings(), data)
    build(str(data / "corpus.parquet"), BuildSettings(sparse_model="current", sparse_weight=0.3), data, cores=1)
    return data


@pytest.fixture(scope="module")
def three_legs(data: Path) -> Iterator[TestClient]:
    """A client of a service over it."""
    with TestClient(create_app(ServiceSettings(data=data))) as client:
        yield client


def search(client: TestClient, **body: object) -> dict:
    """Return the answer to a search."""
    answer = client.post("/search", json={"explain": True, **body})
    assert answer.status_code == 200, answer.text
    return answer.json()


def legs(answer: dict) -> set[str]:
    """Return the names of the legs that the results' scores have."""
    return {name for result in answer["results"] for name in result["scores"]}


def test_explain_shows_the_leg(three_legs: TestClient) -> None:
    """Each result has score, rank and part of the leg; parts are what moves one result above another."""
    for query in QUERIES:
        answer = search(three_legs, query=query)
        results = answer["results"]
        assert len(results) == 6 and legs(answer) == {"dense", "lexical", "sparse"}
        assert answer["timings"]["sparse"] > 0
        sparse = [result["scores"]["sparse"] for result in results if result["scores"]["sparse"]]
        assert all(one.keys() == {"score", "rank", "part"} for one in sparse)
        by_score = sorted(sparse, key=lambda one: -one["score"])
        assert [one["rank"] for one in by_score] == sorted(one["rank"] for one in sparse)
        parts = [
            sum(leg["part"] for leg in result["scores"].values() if leg)
            for result in results
            if result["scores"]["sparse"] and result["scores"]["lexical"]
        ]
        assert parts == sorted(parts, reverse=True)


def test_a_request_switches_it_off(three_legs: TestClient, client: TestClient) -> None:
    """With weight 0, in the body or in the query string, the results are those of an index without the leg."""
    for query in QUERIES:
        off = search(three_legs, query=query, fusion={"sparse_weight": 0, "dense_weight": 0.4})
        without = search(client, query=query, fusion={"dense_weight": 0.4})
        assert off["results"] == without["results"]
        assert legs(off) == {"dense", "lexical"} and "sparse" not in off["timings"]
        params = {"q": query, "explain": True, "sparse_weight": 0, "dense_weight": 0.4}
        assert three_legs.get("/search", params=params).json()["results"] == off["results"]
        other = search(three_legs, query=query, fusion={"sparse_weight": 1})
        assert [result["score"] for result in other["results"]] != [result["score"] for result in off["results"]]


def test_an_index_without_the_leg_answers_as_before(client: TestClient) -> None:
    """No field of an answer names the leg, and a weight for it changes nothing."""
    plain = search(client, query=QUERIES[0])
    assert legs(plain) == {"dense", "lexical"} and "sparse" not in plain["timings"]
    weighted = search(client, query=QUERIES[0], fusion={"sparse_weight": 0.5})
    assert weighted["results"] == plain["results"]


def test_the_other_modes_have_two_legs(three_legs: TestClient) -> None:
    """Dense and lexical search do not ask the leg."""
    for mode in ("dense", "lexical"):
        assert "sparse" not in legs(search(three_legs, query=QUERIES[0], mode=mode))


def test_filters_hold_for_the_leg(three_legs: TestClient) -> None:
    """The candidates of the leg pass the filter, and the answer has all that do."""
    for query in QUERIES:
        answer = search(three_legs, query=query, filter={"must": [{"field": "price", "gte": 2}]})
        assert {result["id"] for result in answer["results"]} == {"b", "d", "e", "f"}
        assert "sparse" in legs(answer)


def test_pages_and_batches(three_legs: TestClient) -> None:
    """Pages neither repeat nor lose a document; a batch has the results of single searches."""
    for query in QUERIES:
        whole = search(three_legs, query=query)["results"]
        pages = [search(three_legs, query=query, top_k=2, offset=offset)["results"] for offset in (0, 2, 4)]
        assert [result for page in pages for result in page] == whole
    answers = three_legs.post(
        "/search/batch", json={"searches": [{"query": q, "explain": True} for q in QUERIES]}
    ).json()
    for query, answer in zip(QUERIES, answers["responses"], strict=True):
        assert answer["results"] == search(three_legs, query=query)["results"]


def test_weights_out_of_bounds_are_refused(three_legs: TestClient) -> None:
    """A weight lies between 0 and 1."""
    assert three_legs.post("/search", json={"query": "cat", "fusion": {"sparse_weight": 1.1}}).status_code == 422


def test_documents_that_were_put_are_scored(data: Path, tmp_path: Path) -> None:
    """A copy of a document that is put while the service runs has the scores of the original; so has it after a restart."""
    own = Path(shutil.copytree(data, tmp_path / "data"))
    settings = ServiceSettings(data=own, writable=True)
    with TestClient(create_app(settings)) as client:
        original = client.get("/documents/a").json()
        document = {"id": "copy", "title": original["title"], "text": original["text"]}
        assert client.put("/documents", json={"documents": [document]}).status_code == 200
        before = search(client, query=QUERIES[0])
        scores = {result["id"]: result["scores"]["sparse"]["score"] for result in before["results"]}
        assert scores["copy"] == pytest.approx(scores["a"], abs=5e-3)
    with TestClient(create_app(settings)) as client:
        assert search(client, query=QUERIES[0])["results"] == before["results"]
