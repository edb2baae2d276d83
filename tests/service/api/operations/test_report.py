"""`/report`, `/report.json` and `/info`: which model answers, and by how much it beat its base."""

from __future__ import annotations

import shutil

import pytest
from example_report import example_report
from starlette.testclient import TestClient

from indexer.artifacts.store import Store
from service.app import create_app
from service.serving.model import LiveModel
from service.settings import ServiceSettings
from trainer.evaluate.report import Report

CATS = {"id": ["a", "b"], "text": ["The cat sits in the garden.", "The dog runs by the river."]}


def service(data):
    """A client of a service that looks for new indexes all the time."""
    return TestClient(create_app(ServiceSettings(data=data, poll_seconds=0.02)))


@pytest.fixture(scope="module")
def tuned(tmp_path_factory, tiny_data, publish, publish_tuned):
    """The folder of a tuned model that is live, with its report. Read it, do not change it."""
    data = tmp_path_factory.mktemp("tuned") / "data"
    shutil.copytree(tiny_data, data)
    manifest = publish_tuned(data, example_report(queries=20, unseen=10), base="org/model")
    publish(CATS, data)
    return Store("model", data).path(manifest.id)


@pytest.fixture(scope="module")
def tuned_client(tuned):
    """A client of a service that answers with the tuned model."""
    with service(tuned.parents[1]) as client:
        yield client


def test_the_report_is_served_as_it_was_published(tuned, tuned_client):
    """Page and JSON come byte for byte as the training run wrote them; the JSON is a report."""
    page, figures = tuned_client.get("/report"), tuned_client.get("/report.json")
    assert tuned_client.head("/report").status_code == tuned_client.head("/report.json").status_code == 200
    assert page.content == (tuned / "report" / "report.html").read_bytes()
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert figures.content == (tuned / "report" / "report.json").read_bytes()
    assert figures.headers["Content-Type"] == "application/json"
    assert Report.model_validate_json(figures.content).verdict == "WIN"


def test_the_report_may_run_nothing(tuned_client):
    """The report's policy allows an inline style and nothing else: no script, no address, no form, no frame."""
    headers = tuned_client.get("/report").headers
    rules = dict(rule.strip().split(" ", 1) for rule in headers["Content-Security-Policy"].split(";"))
    assert rules.pop("style-src") == "'unsafe-inline'"
    assert rules.pop("default-src") == "'none'"
    assert set(rules) == {"base-uri", "form-action", "frame-ancestors"}
    assert set(rules.values()) == {"'none'"}
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize("path", ["/report", "/report.json"])
def test_a_model_without_a_report(client, path):
    """An untouched model has no report: a 404 in the one shape that says how to get one."""
    answer = client.get(path)
    assert answer.status_code == 404
    assert answer.json()["type"] == "urn:dowse:problem:not-found"
    assert "python -m trainer run" in answer.json()["detail"]


def test_no_report_without_an_index(data):
    """While nothing is served there is no report either, and `/info` knows no model."""
    with service(data) as client:
        assert client.get("/report").status_code == 503
        assert client.get("/info").json()["model"] is None


@pytest.mark.parametrize("path", ["/report/report.html", "/report/", "/report/..%2Fmanifest.json", "/report.html"])
def test_nothing_else_of_the_model_is_served(tuned_client, path):
    """Of the model's folder the two files of the report are given out, and no other by any path."""
    assert tuned_client.get(path).status_code == 404


def test_only_published_files_are_served(tuned, tmp_path):
    """A file that is not in the model's manifest, or outside its folder, is not served."""
    folder = tmp_path / tuned.name
    shutil.copytree(tuned, folder)
    (folder / "report" / "note.txt").write_text("left here by somebody")
    model = LiveModel(folder)
    assert model.file("report/report.html") == folder / "report" / "report.html"
    for name in ("report/note.txt", "manifest.json", "../CURRENT", "report"):
        assert model.file(name) is None


def test_info_describes_a_tuned_model(tuned, tuned_client):
    """`/info` says what the model came from, the verdict, who judged, the gains, and where the report is."""
    model = tuned_client.get("/info").json()["model"]
    assert tuned_client.get("/" + model["report"]).status_code == 200
    assert model == {
        "id": tuned.name,
        "name": "org/model",
        "tuned": True,
        "tuned_from": LiveModel(tuned).manifest.config["tuned_from"],
        "verdict": "WIN",
        "judged_by": "labels",
        "dense": {"base": 0.1612, "tuned": 0.2279},
        "hybrid": {"base": 0.2673, "tuned": 0.2914},
        "report": "report",
    }


def test_info_describes_an_untouched_model(client):
    """Of an untouched model `/info` has name and id, and null for what only training gives."""
    body = client.get("/info").json()
    model = body["model"]
    assert model.pop("id") == body["index"]["model"]
    assert model.pop("name") == "model"
    assert model.pop("tuned") is False
    assert set(model.values()) == {None}


def test_the_report_is_that_of_the_model_that_answers(data, publish, publish_tuned, eventually):
    """A tuned model that is published answers, and shows its report, once an index is built with it; not before."""
    publish(CATS, data)
    with service(data) as client:
        before = client.get("/info").json()["model"]["id"]
        tuned = publish_tuned(data, example_report(queries=20, unseen=10))
        assert client.get("/report").status_code == 404
        assert client.get("/info").json()["model"]["id"] == before
        publish(CATS, data)
        eventually(lambda: client.get("/report").status_code == 200, "the new model's report is served")
        assert client.get("/info").json()["model"]["id"] == tuned.id
