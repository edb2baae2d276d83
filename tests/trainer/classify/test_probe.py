"""The linear probe that fine-tuning starts from: the head is fitted before the first step, other weights stay."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from labelled import write_rows

from trainer.classify import head
from trainer.classify.base import load_trainable
from trainer.classify.data import assign_sides, make_splits, read_rows
from trainer.classify.head import fit_probe
from trainer.classify.settings import ClassifyTrainSettings


@pytest.fixture
def untrained(tiny_model, tmp_path):
    """Return a function that makes an untrained model, the data and the settings."""

    def make(*, several=False):
        settings = ClassifyTrainSettings(max_tokens=32)
        rows = read_rows(str(write_rows(tmp_path / "rows.parquet", several=several)), settings)
        data = make_splits(rows, assign_sides(rows, dev=0.1, test=0.2, seed=0))
        model = load_trainable(tiny_model.parent / "bert", data.labels, multi_label=several, max_tokens=32, seed=0)
        return model, data, settings

    return make


def measure_accuracy(trainable, data):
    """Return the share of the training texts whose labels the model predicts."""
    encoded = trainable.tokenizer(data.train.texts, truncation=True, max_length=32, padding=True, return_tensors="pt")
    with torch.inference_mode():
        logits = trainable.model.eval()(**encoded).logits.numpy()
    answers = logits >= 0 if data.multi_label else logits == logits.max(axis=1, keepdims=True)
    return float((answers == data.train.truth).all(axis=1).mean())


@pytest.mark.parametrize("several", [False, True])
def test_the_head_knows_labels_before_the_first_step(untrained, several):
    """Features of the untrained encoder are enough for many labels; other weights stay, and the model can be trained."""
    trainable, data, settings = untrained(several=several)
    before = {name: weight.clone() for name, weight in trainable.model.named_parameters()}
    random_accuracy = measure_accuracy(trainable, data)
    fit_probe(trainable, data, settings)
    assert trainable.model.training
    changed = {name for name, weight in trainable.model.named_parameters() if not torch.equal(weight, before[name])}
    assert changed == {"classifier.weight", "classifier.bias"}
    assert measure_accuracy(trainable, data) > random_accuracy + 0.2


def test_a_label_that_a_sample_misses(untrained, monkeypatch):
    """Where the sample misses a label no head is fitted: without that label it would be worse than a random one."""
    trainable, data, settings = untrained()
    monkeypatch.setattr(head, "MAX_PROBE_ROWS", 2)
    before = trainable.model.classifier.weight.detach().clone()
    fit_probe(trainable, data, settings)
    assert torch.equal(trainable.model.classifier.weight, before)


def test_a_sample_is_enough(untrained, monkeypatch):
    """Of many rows only a sample is read."""
    trainable, data, settings = untrained()
    monkeypatch.setattr(head, "MAX_PROBE_ROWS", 60)
    assert len(data.train.texts) > 60
    random_accuracy = measure_accuracy(trainable, data)
    fit_probe(trainable, data, settings)
    assert measure_accuracy(trainable, data) > random_accuracy + 0.2
    assert np.isfinite(trainable.model.classifier.bias.detach().numpy()).all()
