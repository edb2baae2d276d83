"""Small query encoder: fewer neurons, vectors near those of the full encoder, for several architectures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stories import WORDS
from tests_support import make_tiny_model
from tiny_encoders import gemma_pieces, make_encoder
from torch import nn

from indexer.artifacts.store import Store
from indexer.errors import UserError
from indexer.index.dense import unit
from indexer.inference.encoder import Encoder
from trainer.models.load import load_encoder
from trainer.models.onnx import encoder_contract, export_onnx
from trainer.query_encoder import fit, student
from trainer.query_encoder.feed_forward import choose_neurons
from trainer.query_encoder.fit import can_imitate, fit_student, mean_cosine
from trainer.query_encoder.student import find_parts, make_student
from trainer.training.base_model import find_transformer


def make_texts(count: int, seed: int = 0) -> list[str]:
    """Return short texts of random words."""
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, int(rng.integers(2, 9)))) for _ in range(count)]


def vectors_of(directory: Path, texts: list[str]) -> np.ndarray:
    """Return the full encoder's unit vectors."""
    return unit(load_encoder(directory).encode(texts, show_progress_bar=False))


def make_model(folder: Path, **options: Any) -> Path:
    """Write a tiny encoder whose neurons matter: random weights are so small that nothing is lost without them."""
    directory = make_tiny_model(folder, **options)
    model = load_encoder(directory)
    with torch.no_grad():
        for part in find_parts(model):
            assert part
            for linear in (*part.into, part.back):
                linear.weight.mul_(8)
    model.save_pretrained(str(directory), create_model_card=False)
    return directory


@pytest.mark.parametrize("architecture", ["bert", "mpnet", "roberta", "xlm-roberta", "distilbert", "modernbert"])
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_every_architecture(tmp_path: Path, architecture: str, pooling: str) -> None:
    """A student has a quarter of the neurons, is near the full encoder untrained, and its export gives its vectors."""
    directory = make_model(tmp_path, architecture=architecture, layers=3, pooling=pooling, dense=24)
    before = [part.back.in_features for part in find_parts(load_encoder(directory)) if part]
    texts = make_texts(400)
    made, neurons = make_student(directory, texts[:300])
    assert neurons == [number // 4 for number in before]
    assert len(neurons) == 3
    assert [part.back.in_features for part in find_parts(made) if part is not None] == neurons
    assert mean_cosine(made, texts[300:], vectors_of(directory, texts[300:])) > 0.9
    export_onnx(made, tmp_path / "out" / "onnx" / "model.onnx")
    made[0].tokenizer.save_pretrained(str(tmp_path / "out"))
    exported = Encoder(tmp_path / "out", encoder_contract(made), cores=1).encode_queries(texts[:20])
    assert np.allclose(exported, made.encode(texts[:20], show_progress_bar=False), atol=1e-4)


def test_the_neurons_that_stay() -> None:
    """Neurons that others stand for are removed, and the regression leads from the rest to the same targets."""
    rng = torch.Generator().manual_seed(0)
    own = torch.randn(500, 4, generator=rng)
    neurons = torch.cat([own, own @ torch.randn(4, 3, generator=rng) * 0.1], dim=1)
    targets = neurons @ torch.randn(7, 5, generator=rng) + 3
    kept, solution = choose_neurons(neurons, targets, torch.ones(500, 1), 4, 1e-9)
    assert kept.shape == (4,)
    assert torch.allclose(neurons[:, kept] @ solution[:-1] + solution[-1], targets, atol=1e-2)
    targets[:5], weights = 1000, torch.ones(500, 1)
    weights[:5] = 1e-6
    kept, solution = choose_neurons(neurons, targets, weights, 4, 1e-9)
    assert torch.allclose((neurons[:, kept] @ solution[:-1] + solution[-1])[5:], targets[5:], atol=1e-2)


def test_attention_is_no_feed_forward_part(tmp_path: Path) -> None:
    """Of maps with the same shapes, only those are taken whose values lead to neurons: of Gemma the gates and what they gate."""
    options = {"use_bidirectional_attention": True, "num_key_value_heads": 1, "head_dim": 32}
    directory = make_encoder(tmp_path, "gemma3_text", gemma_pieces(), **options)
    model = load_encoder(directory)
    names = {module: name.split(".")[-1] for name, module in model.named_modules()}
    parts = [part for part in find_parts(model) if part]
    assert [(*(names[linear] for linear in part.into), names[part.back]) for part in parts] == [
        ("gate_proj", "up_proj", "down_proj")
    ] * 2
    assert {linear.out_features for linear in model.modules() if isinstance(linear, nn.Linear)} == {32, 64}


def test_a_model_without_such_a_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An encoder whose layers have no feed-forward part of a known form has no student, and the error says so."""
    directory = make_tiny_model(tmp_path)
    assert can_imitate(directory)
    monkeypatch.setattr(student, "find_feed_forward", lambda *_: None)
    assert not can_imitate(directory)
    with pytest.raises(UserError, match="no layer has a feed-forward part of a known form"):
        make_student(directory, make_texts(10))


def test_training_brings_it_nearer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """AdamW's steps raise the cosine on texts that were left out, and end with the budget."""
    directory = make_model(tmp_path)
    texts = make_texts(1_000)
    monkeypatch.setattr(fit, "HELD_OUT", 200)
    _, record = fit_student(directory, texts, vectors_of(directory, texts), seconds=600)
    assert record.neurons == [16, 16]
    assert record.texts == 1_000
    assert record.steps == fit.EPOCHS * 800 // fit.BATCH_SIZE
    assert 1 - record.cosine < 0.9 * (1 - record.start)
    _, cut = fit_student(directory, texts, vectors_of(directory, texts), seconds=1e-3)
    assert cut.steps < record.steps


def test_word_vectors_stay(tmp_path: Path) -> None:
    """The vectors of words are the full encoder's: most of the weights, and words that no text has keep theirs."""
    directory = make_tiny_model(tmp_path, normalise=False)
    texts = make_texts(200)
    made, _ = fit_student(directory, texts, vectors_of(directory, texts), seconds=60)
    words = [find_transformer(model).get_input_embeddings().weight for model in (made, load_encoder(directory))]
    assert torch.equal(*words)
    assert np.allclose(np.linalg.norm(made.encode(texts[:9]), axis=1), 1)


def test_the_regressions_are_worth_it(minilm_data: Path) -> None:
    """For the real default model, the chosen and fitted neurons are far nearer than the first ones as they are."""
    directory = Store("model", minilm_data).resolve()
    texts = [" ".join(words) for words in np.random.default_rng(0).choice(WORDS, (300, 6))]
    vectors = unit(Encoder.open(directory, cores=1).encode_queries(texts))
    made, neurons = make_student(directory, texts[:200])
    assert neurons == [384] * 6
    cut = load_encoder(directory)
    for part in find_parts(cut):
        assert part
        first = torch.arange(384)
        bias = part.back.bias[None]
        part.keep(first, torch.cat([part.back.weight.T[first], bias]).detach())
    assert mean_cosine(made, texts[200:], vectors[200:]) > mean_cosine(cut, texts[200:], vectors[200:]) + 0.1
