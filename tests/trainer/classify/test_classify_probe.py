"""The head that fine-tuning starts with: fitted before the first step, and nothing else touched."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from labelled import write_rows

from trainer.classify import head as classify_probe
from trainer.classify.base import load_start
from trainer.classify.data import divide, labelled, read_rows
from trainer.classify.head import probe
from trainer.classify.settings import ClassifyTrainSettings


@pytest.fixture
def learned(tiny_model, tmp_path):
    """Return an untrained start and what it is to learn."""

    def make(*, several=False):
        settings = ClassifyTrainSettings(max_tokens=32)
        rows = read_rows(str(write_rows(tmp_path / "rows.parquet", several=several)), settings)
        data = labelled(rows, divide(rows, dev=0.1, test=0.2, seed=0))
        start = load_start(tiny_model.parent / "bert", data.labels, multi_label=several, max_tokens=32, seed=0)
        return start, data, settings

    return make


def right(start, data):
    """Return the share of the labels of the training texts that the model tells."""
    encoded = start.tokenizer(data.train.texts, truncation=True, max_length=32, padding=True, return_tensors="pt")
    with torch.inference_mode():
        logits = start.model.eval()(**encoded).logits.numpy()
    answers = logits >= 0 if data.multi_label else logits == logits.max(axis=1, keepdims=True)
    return float((answers == data.train.truth).all(axis=1).mean())


@pytest.mark.parametrize("several", [False, True])
def test_the_head_knows_labels_before_the_first_step(learned, several):
    """What the untouched encoder says is enough for much of it; the other weights stay, and it is ready to be trained."""
    start, data, settings = learned(several=several)
    before = {name: weight.clone() for name, weight in start.model.named_parameters()}
    guessed = right(start, data)
    probe(start, data, settings)
    assert start.model.training
    changed = {name for name, weight in start.model.named_parameters() if not torch.equal(weight, before[name])}
    assert changed == {"classifier.weight", "classifier.bias"}
    assert right(start, data) > guessed + 0.2


def test_a_label_that_a_sample_misses(learned, monkeypatch):
    """Then no head is fitted: one without a label would be worse than a random one."""
    start, data, settings = learned()
    monkeypatch.setattr(classify_probe, "MOST_ROWS", 2)
    before = start.model.classifier.weight.detach().clone()
    probe(start, data, settings)
    assert torch.equal(start.model.classifier.weight, before)


def test_a_sample_is_enough(learned, monkeypatch):
    """Of many rows some are read."""
    start, data, settings = learned()
    monkeypatch.setattr(classify_probe, "MOST_ROWS", 60)
    assert len(data.train.texts) > 60
    guessed = right(start, data)
    probe(start, data, settings)
    assert right(start, data) > guessed + 0.2
    assert np.isfinite(start.model.classifier.bias.detach().numpy()).all()
