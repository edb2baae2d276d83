"""Fine-tuning a classifier: what it learns, what it writes, and how it resumes after a kill."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from labelled import example, write_rows
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, AutoTokenizer, BertForPreTraining

from indexer.errors import UserError
from indexer.inference.classifier import Classifier
from trainer.classify import finetune
from trainer.classify.base import find_directory, load_trainable
from trainer.classify.data import assign_sides, make_splits, read_rows
from trainer.classify.finetune import LengthSampler, label_weights
from trainer.classify.report import read_report
from trainer.classify.settings import ClassifyTrainSettings, LabelledSettings
from trainer.classify.train import train
from trainer.training.checkpoints import MarkComplete

QUICK = {"learning_rate": 1e-3, "weight_decay": 0.0, "epochs": 12, "batch_size": 16, "patience": None}


@pytest.fixture(scope="module")
def bert(tiny_model):
    """Return the tiny BERT as a plain transformers directory, as pre-training writes one."""
    return tiny_model.parent / "bert"


def tune(bert, folder, rows=None, **settings):
    """Fine-tune the tiny BERT into ``folder / "tuned"`` and return that."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = rows or write_rows(folder / "rows.parquet")
    return train(rows, ClassifyTrainSettings(model=str(bert), **{**QUICK, **settings}), folder / "tuned")


def test_fine_tuning_writes_what_transformers_and_the_service_read_alike(tmp_path, bert):
    """A fine-tuned classifier is a Hub directory; its ONNX graph gives the same probabilities for texts of any length."""
    out = tune(bert, tmp_path)
    assert read_report(out).figures.macro_f1 > 0.6
    model = AutoModelForSequenceClassification.from_pretrained(out)
    assert model.config.id2label == {0: "animal", 1: "food", 2: "weather"}
    tokenizer, classifier = AutoTokenizer.from_pretrained(out), Classifier.open(out)
    texts = ["cat", example("food"), " ".join([example("weather")] * 30)]
    with torch.inference_mode():
        logits = [
            model(**tokenizer(text, truncation=True, max_length=32, return_tensors="pt")).logits[0] for text in texts
        ]
    expected = torch.stack(logits).div(classifier.contract.temperature).softmax(dim=1).numpy()
    assert classifier.predict(texts) == pytest.approx(expected, abs=1e-4)
    assert not (out / "checkpoints").exists()
    assert not list(out.rglob("*.bin"))  # nothing that has to be unpickled


def test_fine_tuning_learns_several_labels(tmp_path, bert):
    """The same loop with one decision per label."""
    out = tune(bert, tmp_path, write_rows(tmp_path / "rows.parquet", several=True), class_weights="balanced")
    report = read_report(out)
    assert report.figures.macro_f1 > 0.75 > report.majority.macro_f1
    assert report.multi_label


def test_a_resumed_training_ends_where_an_uninterrupted_one_does(tmp_path, bert, monkeypatch):
    """A training that was killed and resumed has the weights of an uninterrupted one."""
    uninterrupted = tune(bert, tmp_path / "whole", epochs=2, seed=5, eval_steps=4)
    on_save, saves = MarkComplete.on_save, []

    def save_and_kill(self, *arguments, **more):
        on_save(self, *arguments, **more)
        saves.append(1)
        if len(saves) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(finetune.MarkComplete, "on_save", save_and_kill)
    rows = tmp_path / "whole" / "rows.parquet"
    with pytest.raises(KeyboardInterrupt):
        tune(bert, tmp_path / "killed", rows, epochs=2, seed=5, eval_steps=4)
    monkeypatch.setattr(finetune.MarkComplete, "on_save", on_save)
    with pytest.raises(UserError, match="unfinished training; continue it with --resume"):
        tune(bert, tmp_path / "killed", rows, epochs=2, seed=5, eval_steps=4)
    resumed = tune(bert, tmp_path / "killed", rows, epochs=2, seed=5, eval_steps=4, resume=True)
    texts = [example("animal"), example("food"), example("weather")]
    expected = Classifier.open(uninterrupted).logits(texts)
    assert Classifier.open(resumed).logits(texts) == pytest.approx(expected, abs=1e-4)
    steps = [json.loads(line)["step"] for line in (resumed / "log.jsonl").read_text().splitlines()]
    assert steps == sorted(steps)


def test_balanced_weights_make_labels_count_alike(tmp_path):
    """Rows of a rare label weigh more: summed over its rows, every label has the same weight."""
    rows = read_rows(str(write_rows(tmp_path / "rows.parquet")), LabelledSettings())
    data = make_splits(rows, assign_sides(rows, dev=0.1, test=0.2, seed=0))
    weights = label_weights(data).numpy() * data.train.truth.sum(axis=0)
    assert weights == pytest.approx(np.full(3, len(data.train.texts) / 3), rel=1e-5)


def test_batches_hold_texts_of_similar_length_and_every_row_once():
    """Each epoch has every row once, in another order; the lengths in a batch are similar; equal seeds agree."""
    lengths = np.random.default_rng(0).integers(3, 60, size=203)
    sampler = LengthSampler(lengths.tolist(), 8, seed=1)
    first = list(sampler)
    assert sorted(first) == list(range(203))
    assert first == list(sampler) == list(LengthSampler(lengths.tolist(), 8, seed=1))
    sampler.set_epoch(1)
    assert list(sampler) != first
    assert sorted(sampler) == list(range(203))
    padded = sum(8 * lengths[first[start : start + 8]].max() for start in range(0, 200, 8))
    assert padded < 1.1 * lengths[first[:200]].sum()
    assert first != sorted(first, key=lambda row: lengths[row])


def test_learning_starts_from_whatever_encoder_there_is(tmp_path, bert, tiny_model):
    """A BERT with the heads of pre-training, and a sentence-transformers model, give their encoder; the head is new."""
    config = AutoConfig.from_pretrained(bert)
    pretrained = BertForPreTraining(config)
    pretrained.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(bert).save_pretrained(tmp_path)
    encoders = {tmp_path: pretrained.bert, tiny_model: AutoModel.from_pretrained(bert)}
    for model, encoder in encoders.items():
        _, directory = find_directory(str(model), None)
        trainable = load_trainable(directory, ["a", "b", "c"], multi_label=False, max_tokens=512, seed=1)
        weights = trainable.model.base_model.state_dict()
        assert all(torch.equal(weights[name], value) for name, value in encoder.state_dict().items())
        assert trainable.model.num_labels == 3
        assert trainable.max_tokens == 32  # no more than the tokenizer allows
        again = load_trainable(directory, ["a", "b", "c"], multi_label=False, max_tokens=None, seed=1)
        assert torch.equal(trainable.model.classifier.weight, again.model.classifier.weight)
