"""`POST /classify`: requests, answers, and the error while there is no classifier."""

from __future__ import annotations

import shutil

import pytest
from labelled import example, publish_classifier, train_frozen
from starlette.testclient import TestClient

from indexer.inference.classifier import Classifier
from service.api.models.classify import MAX_TEXT, MAX_TEXTS, ClassifyRequest
from service.app import create_app
from service.settings import ServiceSettings
from trainer.classify.publish import publish
from trainer.classify.settings import ClassifyPublishSettings


def service(data):
    """A client of a service that looks for new artifacts all the time."""
    return TestClient(create_app(ServiceSettings(data=data, poll_seconds=0.02)))


@pytest.fixture(scope="module")
def classified(tmp_path_factory, tiny_data):
    """A data directory with a live classifier and no index, and the classifier's manifest."""
    folder = tmp_path_factory.mktemp("classify")
    shutil.copytree(tiny_data, folder / "data")
    return folder / "data", publish_classifier(folder / "data", folder / "one")


@pytest.fixture(scope="module")
def labeller(classified):
    """A client of a service that has a classifier."""
    with service(classified[0]) as client:
        yield client


def test_texts_get_labels_with_probabilities(classified, labeller):
    """Each text is answered in its place, with its label, all probabilities, and who answered."""
    data, manifest = classified
    texts = [example("food"), example("animal")]
    answer = labeller.post("/classify", json={"texts": texts})
    assert answer.status_code == 200
    body = answer.json()
    assert [[each["label"] for each in result["labels"]] for result in body["results"]] == [["food"], ["animal"]]
    expected = Classifier.open(data / "classifiers" / manifest.id).predict(texts)
    for row, result in enumerate(body["results"]):
        given = [each["probability"] for each in result["probabilities"]]
        assert given == sorted(given, reverse=True)
        assert sum(given) == pytest.approx(1, abs=1e-4)
        assert given[0] == result["labels"][0]["probability"] == pytest.approx(float(expected[row].max()), abs=1e-5)
    assert body["classifier"] == {
        "id": manifest.id,
        "labels": ["animal", "food", "weather"],
        "multi_label": False,
        "max_tokens": 32,
        "macro_f1": manifest.metrics["macro_f1"],
    }
    assert body["request_id"] == answer.headers["X-Request-ID"]
    assert body["took_ms"] > 0


def test_top_k_bounds_what_is_shown(labeller):
    """Of many labels the most probable are returned, and the label that applies is always there."""
    (result,) = labeller.post("/classify", json={"texts": ["snow"], "top_k": 1}).json()["results"]
    assert result["probabilities"] == result["labels"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body.texts"),
        ({"texts": []}, "body.texts"),
        ({"texts": ["cat", "  "]}, "body.texts.1"),
        ({"texts": ["a" * (MAX_TEXT + 1)]}, "body.texts.0"),
        ({"texts": ["cat"] * (MAX_TEXTS + 1)}, "body.texts"),
        ({"texts": ["cat"], "top_k": 0}, "body.top_k"),
        ({"texts": ["cat"], "text": "cat"}, "body.text"),
    ],
)
def test_what_is_no_request_is_refused(labeller, body, field):
    """Nothing, too much, empty texts and unknown fields are refused by the field's name."""
    answer = labeller.post("/classify", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field


def test_as_much_as_is_allowed_is_answered(labeller):
    """The longest text and the most texts are taken."""
    answer = labeller.post("/classify", json={"texts": ["cat " * (MAX_TEXT // 4)] * MAX_TEXTS})
    assert answer.status_code == 200
    assert len(answer.json()["results"]) == MAX_TEXTS


@pytest.mark.parametrize("example", ClassifyRequest.model_config["json_schema_extra"]["examples"])
def test_examples_are_accepted(labeller, example):
    """Each example of the documentation is answered."""
    assert labeller.post("/classify", json=example).status_code == 200


def test_without_a_classifier_it_says_what_to_run(built_data):
    """While none is published the answer is a problem that names the command; search goes on."""
    with service(built_data) as client:
        answer = client.post("/classify", json={"texts": ["cat"]})
        assert answer.status_code == 503
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json()["type"] == "urn:dowse:problem:not-ready"
        assert "python -m trainer classify publish" in answer.json()["detail"]
        assert client.get("/search", params={"q": "cat"}).status_code == 200


def test_a_published_classifier_answers_without_a_restart(classified, tmp_path, eventually):
    """What is published while the service runs answers next, here one of several labels, some texts with none."""
    data = tmp_path / "data"
    shutil.copytree(classified[0], data)
    directory = train_frozen(data, tmp_path / "several", several=True)
    with service(data) as client:
        assert client.post("/classify", json={"texts": ["cat"]}).json()["classifier"]["multi_label"] is False
        manifest = publish(directory, ClassifyPublishSettings(), data).manifest

        def ask():
            return client.post("/classify", json={"texts": [example("animal", "food"), example()]}).json()

        eventually(lambda: ask()["classifier"]["id"] == manifest.id, "the new classifier answers")
        both, neither = ask()["results"]
    assert {each["label"] for each in both["labels"]} == {"animal", "food"}
    assert neither["labels"] == []
    assert len(neither["probabilities"]) == 3
