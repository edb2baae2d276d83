"""`/fill-mask`, `/model/read` and `/model/compare`: answers, refusals, and which models are live."""

from __future__ import annotations

import shutil

import pytest
from starlette.testclient import TestClient

from indexer.artifacts.store import Store
from service.api.models import masked_lm_schemas as schemas
from service.app import create_app
from service.settings import ServiceSettings

FRANCE = "The capital of France is [MASK]."
PORTUGAL = "The capital of Portugal is Lisbon."
RIVER, MONEY = "He sat on the bank of the river.", "She put the money in the Bank."


def service(data):
    """A client of a service that looks for new models all the time."""
    return TestClient(create_app(ServiceSettings(data=data, poll_seconds=0.02)))


@pytest.fixture(scope="module")
def reader(reading_data):
    """A client of a service with both kinds of models."""
    with service(reading_data) as client:
        yield client


def refused(client, path, body):
    """The one problem of a request that is refused."""
    answer = client.post(path, json=body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    (error,) = answer.json()["errors"]
    return error


def test_a_mask_is_filled(reader, reading_data):
    """The answer has the candidates, best first, where the mask stands, the filled text and which model answered."""
    body = reader.post("/fill-mask", json={"text": FRANCE, "top_k": 3}).json()
    (mask,) = body["masks"]
    assert [each["rank"] for each in mask["candidates"]] == [1, 2, 3]
    assert mask["candidates"][0]["word"] == "paris" and mask["candidates"][0]["probability"] > 0.5
    assert FRANCE[mask["start"] : mask["end"]] == "[MASK]"
    assert mask["hidden"] is None
    assert body["filled"] == "the capital of france is paris."
    assert body["masked_model"] == Store("masked", reading_data).current_id()
    assert body["took_ms"] > 0


def test_several_masks_are_filled_in_their_order(reader):
    """Two masks give two distributions."""
    body = reader.post("/fill-mask", json={"text": "He slept on the [MASK] of [MASK] river."}).json()
    assert [mask["candidates"][0]["word"] for mask in body["masks"]] == ["bank", "the"]
    assert [len(mask["candidates"]) for mask in body["masks"]] == [5, 5]


def test_a_text_is_read(reader):
    """Pieces, what is expected in the place of a hidden word of two pieces, and the head's attention come together."""
    body = reader.post("/model/read", json={"text": PORTUGAL, "hide": [5], "layer": 2, "head": 1}).json()
    pieces = [(each["piece"], each["masked"]) for each in body["pieces"]]
    assert pieces[6:9] == [("is", False), ("lis", True), ("##bon", True)]
    assert [mask["hidden"]["word"] for mask in body["masks"]] == ["lis", "##bon"]
    assert body["masks"][0]["hidden"]["rank"] == 1
    attention = body["attention"]
    assert (attention["layer"], attention["head"]) == (2, 1)
    assert len(attention["weights"]) == len(pieces)
    assert all(sum(row) == pytest.approx(1, abs=0.01) for row in attention["weights"])
    other = reader.post("/model/read", json={"text": PORTUGAL, "hide": [5], "layer": 1, "head": 2}).json()
    assert other["attention"]["weights"] != attention["weights"]
    assert other["masks"] == body["masks"]


def test_two_sentences_are_compared(reader, reading_data):
    """Words of both sentences, whatever their case, have a cosine; the sentences have one by the index's encoder."""
    body = reader.post("/model/compare", json={"first": RIVER, "second": MONEY}).json()
    assert [each["word"] for each in body["words"]] == ["the", "bank"]
    bank = body["words"][1]
    assert RIVER[slice(*bank["first"])] == "bank" and MONEY[slice(*bank["second"])] == "Bank"
    assert bank["cosine"] < 0.95
    same = reader.post("/model/compare", json={"first": RIVER, "second": RIVER}).json()
    assert [each["word"] for each in same["words"]] == ["He", "sat", "on", "the", "bank", "of", "river"]
    assert [each["cosine"] for each in same["words"]] == [1] * 7
    assert same["sentences"] == 1 > body["sentences"]
    assert body["encoder"] == Store("model", reading_data).current_id()


def test_what_is_refused_says_where_and_why(reader):
    """A text without a mask, one that is too long, and a word, layer or head that is not there name their field."""
    assert refused(reader, "/fill-mask", {"text": "no mask"})["message"] == "the text has no [MASK]"
    assert "at most 48 are read" in refused(reader, "/fill-mask", {"text": "[MASK] " * 60})["message"]
    assert refused(reader, "/fill-mask", {"text": "a" * 1001})["field"] == "body.text"
    assert refused(reader, "/fill-mask", {"text": FRANCE, "top_k": 51})["field"] == "body.top_k"
    assert refused(reader, "/fill-mask", {"text": FRANCE, "k": 3})["field"] == "body.k"
    assert refused(reader, "/model/read", {"text": "a", "hide": [1]})["message"] == "the text has no word 1"
    assert refused(reader, "/model/read", {"text": "a", "layer": 3})["message"] == "the model has 2 layers"
    assert refused(reader, "/model/read", {"text": "a", "head": 3})["message"] == "the model has 2 heads in a layer"
    assert refused(reader, "/model/compare", {"first": "a", "second": "[MASK] " * 60})["field"] == "body.second"


def test_without_models_it_says_which_command_makes_them(tmp_path):
    """While nothing is published every question is answered with 503 and the command, and the page is there."""
    with service(tmp_path) as client:
        for path, body in (("/fill-mask", {"text": FRANCE}), ("/model/read", {"text": "a"})):
            answer = client.post(path, json=body)
            assert answer.status_code == 503
            assert answer.json()["type"] == "urn:dowse:problem:not-ready"
            assert "`python -m trainer publish-mlm DIR`" in answer.json()["detail"]
        assert client.post("/model/compare", json={"first": "a", "second": "b"}).status_code == 503
        info = client.get("/model/info").json()
        assert info["masked"] is None and info["encoder"] is None
        assert len(info["missing"]) == 2
        assert "publish-mlm" in info["missing"][0] and "python -m indexer build" in info["missing"][1]
        assert client.get("/model").status_code == client.head("/model").status_code == 200


def test_it_compares_with_the_models_that_are_there(built_data, masked_data):
    """An index alone compares sentences, a masked-language model alone compares words."""
    body = {"first": RIVER, "second": MONEY}
    with service(built_data) as client:
        answer = client.post("/model/compare", json=body).json()
        assert answer["words"] is None and answer["masked_model"] is None
        assert -1 <= answer["sentences"] <= 1
    with service(masked_data) as client:
        answer = client.post("/model/compare", json=body).json()
        assert answer["sentences"] is None and answer["encoder"] is None
        assert len(answer["words"]) == 2


def test_a_model_that_is_published_meanwhile_is_taken_up(built_data, masked_data, tmp_path, eventually):
    """A service that was started without a masked-language model fills masks once one is published."""
    data = shutil.copytree(built_data, tmp_path / "data")
    with service(data) as client:
        assert client.post("/fill-mask", json={"text": FRANCE}).status_code == 503
        shutil.copytree(masked_data / "masked", data / "coming").rename(data / "masked")  # there at once, as published
        eventually(lambda: client.post("/fill-mask", json={"text": FRANCE}).status_code == 200, "the model is taken up")
        facts = client.get("/model/info").json()
        assert facts["missing"] == []
        assert (facts["masked"]["layers"], facts["masked"]["heads"], facts["masked"]["max_pieces"]) == (2, 2, 48)


def test_a_spoilt_model_leaves_the_service_as_it_is(built_data, masked_data, tmp_path):
    """A published file that was altered is noticed: the model is not opened, and searching goes on."""
    data = shutil.copytree(built_data, tmp_path / "data")
    shutil.copytree(masked_data / "masked", data / "coming").rename(data / "masked")  # there at once, as published
    graph = Store("masked", data).resolve() / "onnx" / "reader.onnx"
    graph.write_bytes(graph.read_bytes()[:-9])
    with service(data) as client:
        answer = client.post("/fill-mask", json={"text": FRANCE})
        assert answer.status_code == 503 and "cannot be opened" in answer.json()["detail"]
        assert client.get("/readyz").status_code == 200


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("/fill-mask", schemas.FillMaskRequest),
        ("/model/read", schemas.ReadRequest),
        ("/model/compare", schemas.CompareRequest),
    ],
)
def test_the_examples_of_the_documentation_are_answered(reader, path, model):
    """Each example of `/docs` is answered, not refused; the tiny model has only two layers."""
    examples = model.model_config["json_schema_extra"]["examples"]
    assert examples
    for example in examples:
        assert reader.post(path, json=example).status_code == 200
