"""`python -m trainer classify`, end to end on a tiny model: train, publish, predict, evaluate."""

from __future__ import annotations

import csv
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from labelled import example, labelled_rows, train_frozen, write_rows

from indexer.artifacts.store import Store
from indexer.errors import UserError, run
from indexer.inference.classifier import Classifier
from trainer.classify.data import assign_sides, make_splits, read_rows
from trainer.classify.export import check_classifier
from trainer.classify.metrics import macro_f1
from trainer.classify.predict import evaluate, predict
from trainer.classify.publish import publish
from trainer.classify.report import read_report
from trainer.classify.settings import (
    ClassifyEvaluateSettings,
    ClassifyPredictSettings,
    ClassifyPublishSettings,
    ClassifyTrainSettings,
    LabelledSettings,
)
from trainer.classify.train import train
from trainer.cli import app


@pytest.fixture(scope="module")
def frozen(tmp_path_factory, tiny_data):
    """Return the directory of a classifier with a frozen encoder, with ``rows.parquet`` beside it; do not change it."""
    return train_frozen(tiny_data, tmp_path_factory.mktemp("frozen"))


@pytest.fixture(scope="module")
def several(tmp_path_factory, tiny_data):
    """Return the same with several labels per text."""
    return train_frozen(tiny_data, tmp_path_factory.mktemp("several"), several=True)


def test_a_frozen_encoder_learns_and_says_how_well(frozen):
    """The report's figures are those of the exported classifier on the test rows, and better than chance."""
    report = read_report(frozen)
    rows = read_rows(str(frozen.parent / "rows.parquet"), LabelledSettings())
    test = make_splits(rows, assign_sides(rows, dev=0.1, test=0.2, seed=42)).test
    classifier = Classifier.open(frozen)
    answers = classifier.contract.applies(classifier.predict(test.texts))
    assert report.figures.macro_f1 == pytest.approx(macro_f1(test.truth, answers), abs=1e-6)
    assert report.figures.macro_f1 > 0.85
    assert report.learned
    assert report.majority_answer == ["animal"]
    assert report.majority.macro_f1 < 0.3
    assert sum(map(sum, report.confusion)) == report.rows["test"] == len(test.texts)
    assert {"classifier.json", "onnx", "report", "tokenizer.json", "training.json"} == {
        p.name for p in frozen.iterdir()
    }


def test_shuffled_labels_are_chance_and_the_report_says_so(tmp_path, tiny_data):
    """Nothing can be learned from shuffled labels: the answers are no better than chance, and the page says so."""
    out = train_frozen(tiny_data, tmp_path, shuffled=True)
    report = read_report(out)
    assert not report.learned
    assert report.figures.macro_f1 < 0.55
    page = (out / "report" / "report.html").read_text(encoding="utf-8")
    assert "No better than chance" in page
    assert "always answering “animal”" in page


def test_several_labels_have_thresholds_and_probabilities_of_their_own(several):
    """Each label is decided by itself: slope, offset and threshold per label, and no confusion matrix."""
    report, classifier = read_report(several), Classifier.open(several)
    assert len(classifier.contract.thresholds) == len(classifier.contract.scale) == 3
    assert report.figures.macro_f1 > 0.8 > report.majority.macro_f1
    assert report.confusion == []
    both = classifier.predict([example("animal", "food")])
    assert classifier.contract.applies(both).tolist() == [[True, True, False]]


def test_what_is_finished_is_not_done_again(frozen, tiny_data):
    """--resume on a finished training does nothing; another seed is refused, because it would be another training."""
    rows, before = frozen.parent / "rows.parquet", (frozen / "classifier.json").stat().st_mtime_ns
    train(rows, ClassifyTrainSettings(frozen_encoder=True, resume=True), frozen, tiny_data)
    assert (frozen / "classifier.json").stat().st_mtime_ns == before
    with pytest.raises(UserError, match=r"--seed 7: .* was begun with 42"):
        train(rows, ClassifyTrainSettings(frozen_encoder=True, resume=True, seed=7), frozen, tiny_data)


def test_an_export_that_answers_otherwise_is_refused(frozen):
    """Where original and export differ by more than a thousandth in a probability, nothing is written."""
    classifier = Classifier.open(frozen)
    texts = [example("animal"), example("food")]
    assert check_classifier(classifier, classifier.logits, texts) == 0
    with pytest.raises(UserError, match="differs by"):
        check_classifier(classifier, lambda batch: classifier.logits(batch)[:, ::-1], texts)


@pytest.mark.parametrize("settings", [{"model": "/nowhere"}, {"model": "20200101T000000Z-00000000"}])
def test_a_model_that_is_not_there_is_refused(tmp_path, settings):
    """An unknown directory and an unknown id are refused, with either way of training."""
    rows = write_rows(tmp_path / "rows.parquet")
    for frozen_encoder in (True, False):
        with pytest.raises(UserError, match="no "):
            train(
                rows,
                ClassifyTrainSettings(frozen_encoder=frozen_encoder, **settings),
                tmp_path / "out",
                tmp_path / "data",
            )


def test_publishing_makes_it_live_once(frozen, tmp_path):
    """The classifier and its report are published and live; again is up to date; with --quiet it does not go live."""
    published = publish(frozen, ClassifyPublishSettings(), tmp_path)
    store, manifest = Store("classifier", tmp_path), published.manifest
    assert published.fresh and store.current_id() == manifest.id
    assert manifest.metrics["macro_f1"] == read_report(frozen).figures.macro_f1
    assert manifest.counts == {"labels": 3, "train_rows": 168, "dev_rows": 24, "test_rows": 48}
    assert {"classifier.json", "onnx/model.onnx", "report/report.html", "tokenizer.json"} < set(manifest.files)
    assert not publish(frozen, ClassifyPublishSettings(), tmp_path).fresh
    texts = [example("animal"), example("food")]
    assert (Classifier.open(store.resolve()).predict(texts) == Classifier.open(frozen).predict(texts)).all()
    again = publish(frozen, ClassifyPublishSettings(force=True, quiet=True), tmp_path).manifest
    assert again.id != manifest.id and store.current_id() == manifest.id
    with pytest.raises(UserError, match="holds no classifier"):
        publish(tmp_path, ClassifyPublishSettings(), tmp_path)


def write_texts(path):
    """Write three texts with ids and no labels."""
    pq.write_table(pa.table({"id": ["a", "b", "c"], "text": [example("food"), example("animal"), example()]}), path)
    return path


def test_predictions_are_written_with_ids_and_probabilities(frozen, tmp_path):
    """Parquet and CSV have the same rows in the order of the file, on request with the probabilities of all labels."""
    texts = write_texts(tmp_path / "texts.parquet")
    options = {"model": str(frozen), "all_probabilities": True}
    assert predict(str(texts), ClassifyPredictSettings(out=tmp_path / "out.parquet", **options)) == 3
    predict(str(texts), ClassifyPredictSettings(out=tmp_path / "out.csv", **options))
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert [row["id"] for row in rows] == ["a", "b", "c"]
    assert [row["label"] for row in rows[:2]] == ["food", "animal"]
    for row in rows:
        assert row["label_probability"] == row[f"probability_{row['label']}"]
        assert sum(row[f"probability_{label}"] for label in ("animal", "food", "weather")) == pytest.approx(1, abs=1e-5)
    with (tmp_path / "out.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [(line["id"], line["text"], line["label"]) for line in lines] == [
        (row["id"], row["text"], row["label"]) for row in rows
    ]
    assert [float(line["label_probability"]) for line in lines] == pytest.approx(
        [row["label_probability"] for row in rows], abs=1e-5
    )


def test_several_predicted_labels_are_lists(several, tmp_path):
    """A text may have several labels or none: lists in Parquet, a separator in CSV."""
    path = tmp_path / "texts.parquet"
    pq.write_table(pa.table({"text": [example("animal", "food"), example()]}), path)
    predict(str(path), ClassifyPredictSettings(model=str(several), out=tmp_path / "out.parquet"))
    predict(str(path), ClassifyPredictSettings(model=str(several), out=tmp_path / "out.csv", label_separator=" + "))
    both, neither = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert set(both["label"]) == {"animal", "food"} and len(both["label_probability"]) == 2
    assert neither["label"] == []
    with (tmp_path / "out.csv").open(newline="") as file:
        assert [line["label"] for line in csv.DictReader(file)] == [" + ".join(both["label"]), ""]


def test_a_failed_prediction_leaves_what_was_there(frozen, tmp_path, monkeypatch):
    """A failed prediction leaves an earlier file unchanged and no half-written file beside it."""
    texts, out = write_texts(tmp_path / "texts.parquet"), tmp_path / "out.csv"
    out.write_text("before")
    monkeypatch.setattr(Classifier, "predict", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        predict(str(texts), ClassifyPredictSettings(model=str(frozen), out=out))
    assert out.read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "texts.parquet"]
    with pytest.raises(UserError, match=r"ends in \.parquet or \.csv"):
        predict(str(texts), ClassifyPredictSettings(model=str(frozen), out=tmp_path / "out.txt"))


def test_evaluation_asks_no_row_that_was_learned(frozen, tmp_path):
    """On the training's file the same test rows give the same figures; on another file every row is measured."""
    settings = ClassifyEvaluateSettings(model=str(frozen))
    report = evaluate(frozen.parent / "rows.parquet", settings, tmp_path / "report")
    assert report.figures == read_report(frozen).figures
    assert report.rows == {"test": 48}
    assert (tmp_path / "report" / "report.html").is_file()
    new_report = evaluate(write_rows(tmp_path / "new.parquet", 60, seed=9), settings, tmp_path / "new")
    assert new_report.rows == {"test": 60}
    assert new_report.figures.macro_f1 > 0.8
    with pytest.raises(UserError, match="with --limit None"):
        evaluate(
            frozen.parent / "rows.parquet", ClassifyEvaluateSettings(model=str(frozen), limit=100), tmp_path / "report"
        )


def test_evaluation_refuses_labels_that_it_does_not_know(frozen, several, tmp_path):
    """A label that was not trained on, and one label where the classifier gives several, are refused with their names."""
    columns = labelled_rows(20)
    pq.write_table(pa.table({**columns, "label": ["sport"] * 20}), tmp_path / "rows.parquet")
    with pytest.raises(UserError, match=r"label 'sport': unknown .*'animal', 'food', 'weather'"):
        evaluate(tmp_path / "rows.parquet", ClassifyEvaluateSettings(model=str(frozen)), tmp_path / "report")
    with pytest.raises(UserError, match="gives several labels per text"):
        evaluate(tmp_path / "rows.parquet", ClassifyEvaluateSettings(model=str(several)), tmp_path / "report")


def test_the_page_runs_nothing_and_shows_texts_as_text(frozen, tmp_path, tiny_data):
    """Labels and texts with markup stay text, and the page needs no script, style sheet or picture from elsewhere."""
    columns = labelled_rows(240)
    evil = "<img src=x onerror=alert(1)>"
    columns["label"] = [evil if label == "food" else label for label in columns["label"]]
    columns["text"] = [f"{text} <script>alert(2)</script>" for text in columns["text"]]
    pq.write_table(pa.table(columns), tmp_path / "rows.parquet")
    out = train(tmp_path / "rows.parquet", ClassifyTrainSettings(frozen_encoder=True), tmp_path / "out", tiny_data)
    page = (out / "report" / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page and "<img" not in page and 'style="' not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    for title in ("Confusion matrix", "Calibration of probabilities", "F1 of each label", "Choice of C"):
        assert title in page
    assert "Confusion matrix" in (frozen / "report" / "report.html").read_text(encoding="utf-8")


def test_the_commands_hang_together(frozen, tmp_path, monkeypatch, capsys):
    """Each command prints on stdout only what the next one takes."""
    monkeypatch.setenv("DOWSE_DATA", str(tmp_path / "data"))

    def command(*arguments):
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["trainer", "classify", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            run(app)
        out, err = capsys.readouterr()
        return exit_.value.code, out.strip(), err

    status, artifact, _ = command("publish", frozen)
    assert status == 0 and artifact == Store("classifier", tmp_path / "data").current_id()
    texts, out = write_texts(tmp_path / "texts.parquet"), tmp_path / "out.csv"
    assert command("predict", texts, "--out", out)[:2] == (0, str(out))
    assert command("evaluate", frozen.parent / "rows.parquet", "--out", tmp_path / "r")[:2] == (0, str(tmp_path / "r"))
    status, printed, message = command("predict", texts, "--model", "nothing")
    assert (status, printed) == (2, "")
    assert len(message.splitlines()) == 1 and message.startswith("error: nothing: neither `current`")
