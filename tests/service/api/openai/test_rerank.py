"""`POST /v1/rerank`: the caller's texts in the order of the published cross-encoder, in Cohere's and Jina's shape."""

from __future__ import annotations

import shutil

import pytest
import torch
from starlette.testclient import TestClient
from tiny_reranker import make_tiny_reranker
from transformers import AutoTokenizer, BertForSequenceClassification

from indexer.artifacts.store import Store
from service.api.openai.rerank_schemas import MAX_DOCUMENTS
from service.api.openai.schemas import MAX_INPUT
from service.app import create_app
from service.serving.queue import RequestQueue
from service.settings import ServiceSettings
from trainer.models.reranker import publish_reranker
from trainer.models.settings import RerankerSettings

QUERY = "the dog eats bread"
TEXTS = ["the king and the queen", "the dog eats bread and meat", "a ship on the sea", "the dog sleeps"]


@pytest.fixture(scope="module")
def directory(tiny_model, tmp_path_factory):
    """A cross-encoder in the Hub's format."""
    return make_tiny_reranker(tiny_model, tmp_path_factory.mktemp("reranker"))


@pytest.fixture(scope="module")
def data(built_data, directory, tmp_path_factory):
    """A data directory with that cross-encoder published."""
    data = shutil.copytree(built_data, tmp_path_factory.mktemp("texts") / "data")
    publish_reranker(str(directory), RerankerSettings(max_tokens=48), data)
    return data


@pytest.fixture(scope="module")
def ranking(data):
    """A client of a service with a re-ranker."""
    with TestClient(create_app(ServiceSettings(data=data))) as client:
        yield client


@pytest.fixture
def ask(ranking):
    """Posts a request; fields replace or add to those of a plain one."""

    def ask(**fields):
        return ranking.post("/v1/rerank", json={"query": QUERY, "documents": TEXTS, **fields})

    return ask


def by_torch(directory, texts):
    """The sigmoid of the original model's output for each text, one pair at a time; and the number of tokens."""
    tokenizer = AutoTokenizer.from_pretrained(directory)
    network = BertForSequenceClassification.from_pretrained(directory).eval()
    inputs = [tokenizer(QUERY, text, truncation=True, max_length=48, return_tensors="pt") for text in texts]
    with torch.inference_mode():
        scores = [float(torch.sigmoid(network(**each).logits)) for each in inputs]
    return scores, sum(each["input_ids"].shape[1] for each in inputs)


def test_texts_come_in_the_order_of_the_cross_encoder(ask, directory, data):
    """All documents, the best first, with torch's scores, and the tokens that were read in both shapes."""
    answer = ask().json()
    scores, tokens = by_torch(directory, TEXTS)
    order = sorted(range(len(TEXTS)), key=lambda row: -scores[row])
    assert [result["index"] for result in answer["results"]] == order
    assert [result["relevance_score"] for result in answer["results"]] == pytest.approx(
        [scores[row] for row in order], abs=1e-3
    )
    assert answer["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}
    assert answer["meta"] == {"tokens": {"input_tokens": tokens}}
    assert answer["model"] == Store("reranker", data).current_id()
    assert set(answer) == {"id", "object", "model", "results", "usage", "meta"}
    assert all(set(result) == {"index", "relevance_score"} for result in answer["results"])


def test_documents_as_objects_and_back(ask):
    """Objects with a text are scored like texts; results repeat the text where that is asked for; `top_n` cuts."""
    objects = [{"text": text} if row % 2 else text for row, text in enumerate(TEXTS)]
    answer = ask(documents=objects, return_documents=True, top_n=2).json()
    assert [result["index"] for result in answer["results"]] == [r["index"] for r in ask().json()["results"][:2]]
    assert [result["document"] for result in answer["results"]] == [
        {"text": TEXTS[result["index"]]} for result in answer["results"]
    ]
    assert len(ask(top_n=100).json()["results"]) == len(TEXTS)


def test_the_model_by_its_names(ask, data):
    """Its id and the name of what was published are accepted; another name is OpenAI's `model_not_found`."""
    live = Store("reranker", data).manifest(Store("reranker", data).current_id())
    for name in (live.id, live.config["base"], None):
        assert ask(model=name).status_code == 200
    refused = ask(model="rerank-v3.5")
    assert refused.status_code == 404
    assert refused.json()["error"]["code"] == "model_not_found"
    assert live.config["base"] in refused.json()["error"]["message"]


def test_long_documents_are_cut_and_said(ask):
    """A document of more tokens than the model reads is cut, and its position is in `truncated`."""
    answer = ask(documents=["the dog", "bread " * 100]).json()
    assert answer["truncated"] == [1]
    assert answer["usage"]["total_tokens"] < 100


def test_an_empty_document_is_scored(ask):
    """A document without text is no error: it has its place among the others."""
    assert sorted(result["index"] for result in ask(documents=["", "the dog"]).json()["results"]) == [0, 1]


def test_many_documents_take_several_turns_of_the_queue(ask, monkeypatch):
    """A long request runs batch by batch through the queue, so that searches run in between; order does not change."""
    turns = []
    run = RequestQueue.run
    monkeypatch.setattr(RequestQueue, "run", lambda self, *args: turns.append(1) or run(self, *args))
    texts = [f"{'the dog eats bread and meat ' * 8}{number}" for number in range(300)]
    answer = ask(documents=texts).json()
    assert len(turns) > 2
    assert [result["index"] for result in answer["results"]] == list(range(300))  # all the same, as they came


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"documents": []}, "1 to 1,000 documents"),
        ({"documents": ["a"] * (MAX_DOCUMENTS + 1)}, "1 to 1,000 documents"),
        ({"documents": "a text"}, "list of"),
        ({"documents": ["a", 7]}, "number 1 is neither"),
        ({"documents": [{"text": "a", "id": 3}]}, "number 0 is neither"),
        ({"documents": [{"text": None}]}, "number 0 is neither"),
        ({"documents": ["a" * (MAX_INPUT + 1)]}, "at most 100,000 characters"),
        ({"query": " "}, "at least 1 character"),
        ({"top_n": 0}, "greater than or equal to 1"),
        ({"max_chunks_per_doc": 1}, "not permitted"),
    ],
)
def test_what_is_refused(ask, fields, said):
    """Requests beyond the bounds get a 400 with OpenAI's error, which says what is wrong."""
    refused = ask(**fields)
    assert refused.status_code == 400
    error = refused.json()["error"]
    assert said in error["message"]
    assert error["type"] == "invalid_request_error"
    assert error["param"] == next(iter(fields))


def test_without_a_re_ranker_the_error_names_the_command(client):
    """Where none is published the answer is 503 in OpenAI's shape, with the command that publishes one."""
    refused = client.post("/v1/rerank", json={"query": QUERY, "documents": TEXTS})
    assert refused.status_code == 503
    assert "python -m trainer reranker" in refused.json()["error"]["message"]
    assert refused.json()["error"]["type"] == "server_error"
