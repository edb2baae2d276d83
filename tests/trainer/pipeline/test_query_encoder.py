"""A run with a small query encoder: what is published, what the index is served with, and a run that was interrupted."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from tales import write_tales

from indexer.artifacts.store import Store
from indexer.build.build import build
from indexer.build.settings import BuildSettings
from indexer.index.index import Index
from trainer.adapter.ladder import EncodedQueries
from trainer.data.labels import QuerySet
from trainer.evaluate.report import read_report
from trainer.pipeline import dataset, query_encoder
from trainer.pipeline.dataset import RunData
from trainer.pipeline.results import comparison
from trainer.pipeline.run import run
from trainer.pipeline.settings import RunSettings
from trainer.queries.synthetic import Documents

SETTINGS = RunSettings(language="en", query_encoder="always", budget="20s")
FILES = {"onnx/query.onnx", "onnx/query.onnx.data"}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A corpus of 150 tales."""
    return write_tales(tmp_path / "tales.parquet", 150)


@pytest.fixture
def own(tmp_path: Path, skewed_data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory of the test's own, in which a fit takes seconds."""
    monkeypatch.setattr(query_encoder, "MAX_TEXTS", 500)
    return Path(shutil.copytree(skewed_data, tmp_path / "data"))


def test_one_that_is_good_enough(own: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is published in the model, with its record and a note; an index of the model is served with it."""
    monkeypatch.setattr(comparison, "MAX_SMALL_LOSS", {"hybrid": 1.0, "dense": 1.0})
    manifest = run(str(corpus), SETTINGS, own).manifest
    models, indexes = Store("model", own), Store("index", own)
    assert set(models.verify(manifest.id).files) >= FILES
    record = manifest.config["small_query_encoder"]
    assert record["neurons"] == [16, 16]
    assert 200 <= record["texts"] <= 500
    assert record["steps"] > 0
    assert record["cosine"] >= record["start"] > 0.9
    report = read_report(models.path(manifest.id) / "report")
    assert report.seconds["query encoder"] > 0
    assert any("by the small query encoder" in note for note in report.notes)
    index = build(str(corpus), BuildSettings(model=manifest.id), own, cores=1).manifest
    assert index.config["query_encoder"] == "small"
    opened = Index.open(indexes.path(index.id), cores=1).encoder
    expected = opened.encode_documents(["the cat in the garden"])[0]
    assert 0.5 < float(opened.encode_query("the cat in the garden") @ expected) < 1 - 1e-6


def test_one_that_costs_too_much(own: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not published, the report says what search lost, and an interrupted run takes up the fit that it had ended."""
    monkeypatch.setattr(comparison, "MAX_SMALL_LOSS", {"hybrid": -1.0, "dense": -1.0})
    finish = query_encoder.remove_query_encoder

    def interrupt(_: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("trainer.pipeline.stages.remove_query_encoder", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(str(corpus), SETTINGS, own)
    monkeypatch.setattr("trainer.pipeline.stages.remove_query_encoder", finish)
    monkeypatch.setattr("trainer.query_encoder.fit.fit_student", None)  # nothing is fitted again
    [record] = (own / "training").glob("*/query-encoder/record.json")
    assert json.loads(record.read_text())["neurons"] == [16, 16]
    manifest = run(str(corpus), SETTINGS, own).manifest
    assert not FILES & set(manifest.files)
    assert "small_query_encoder" not in manifest.config
    notes = read_report(Store("model", own).path(manifest.id) / "report").notes
    assert any("by the full query encoder: nDCG@10 with the small one" in note for note in notes)
    index = build(str(corpus), BuildSettings(model=manifest.id), own, cores=1).manifest
    assert index.config["query_encoder"] == "full"


def test_no_time_for_one(own: Path, corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With ``auto``, a budget that leaves no minute for it leaves it out, and the run says so."""
    settings = SETTINGS.model_copy(update={"query_encoder": "auto"})
    manifest = run(str(corpus), settings, own).manifest
    assert "no small query encoder: --budget 20s leaves no time" in capsys.readouterr().err
    assert not FILES & set(manifest.files)


def test_texts_of_held_out_documents_are_left_out() -> None:
    """No text comes from a document that a dev or a test query asks for, nor from a near-duplicate of one."""
    names = list("abcdef")
    texts = [f"word{name} stands in text{name} and in no other{name}" for name in names]

    def ask(document: str) -> QuerySet:
        return QuerySet({"q": "word"}, {"q": {document: 1}})

    nothing = np.empty((0, 2), np.float32)
    data = RunData(
        documents=Documents(names, [None] * 6, texts),
        unlabelled=EncodedQueries(QuerySet({}, {}), nothing),
        labelled=None,
        dev=EncodedQueries(ask("a"), nothing),
        tests={"unseen": dataset.TestSet(ask("b"), nothing, None, names)},  # type: ignore[arg-type]
        deciding="unseen",
        judged_by="labels",
        notes=[],
        copies={"c": "b"},
    )
    made = " ".join(query_encoder._texts(data, 60, 0))
    assert [name for name in names if f"word{name}" in made] == ["d", "e", "f"]
