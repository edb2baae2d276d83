"""Small query encoder: fewer layers, vectors near those of the full encoder, for several architectures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from stories import WORDS
from tests_support import make_tiny_model

from indexer.artifacts.store import Store
from indexer.index.dense import unit
from indexer.inference.encoder import Encoder
from trainer.models.load import load_encoder
from trainer.models.onnx import encoder_contract, export_onnx
from trainer.query_encoder import fit
from trainer.query_encoder.fit import can_imitate, fit_student, mean_cosine
from trainer.query_encoder.student import Bridge, fit_maps, kept_layers, make_student
from trainer.training.base_model import find_blocks, find_transformer


def make_texts(count: int, seed: int = 0) -> list[str]:
    """Return short texts of random words."""
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, int(rng.integers(2, 9)))) for _ in range(count)]


def vectors_of(directory: Path, texts: list[str]) -> np.ndarray:
    """Return the full encoder's unit vectors."""
    return unit(load_encoder(directory).encode(texts, show_progress_bar=False))


def test_which_layers_stay() -> None:
    """The first two and the last, or half of the layers where there are fewer than six; none of a single one."""
    assert [kept_layers(depth) for depth in (1, 2, 4, 6, 12)] == [[], [0], [0, 3], [0, 1, 5], [0, 1, 11]]


@pytest.mark.parametrize("architecture", ["bert", "mpnet", "xlm-roberta", "modernbert", "distilbert"])
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_every_architecture(tmp_path: Path, architecture: str, pooling: str) -> None:
    """A student has half of the layers, its maps bring it nearer to the full encoder, and its export gives its vectors."""
    directory = make_tiny_model(tmp_path, architecture=architecture, layers=4, pooling=pooling, dense=24)
    texts = make_texts(600)
    vectors = vectors_of(directory, texts)
    student, layers = make_student(directory)
    assert layers == [0, 3]
    assert [type(block) is Bridge for block in find_blocks(find_transformer(student))] == [False, True]
    fit_maps(student, directory, texts[:500], vectors[:500])
    assert mean_cosine(student, texts[500:], vectors[500:]) > 0.8
    export_onnx(student, tmp_path / "out" / "onnx" / "model.onnx")
    student[0].tokenizer.save_pretrained(str(tmp_path / "out"))
    made = Encoder(tmp_path / "out", encoder_contract(student), cores=1).encode_queries(texts[:20])
    assert np.allclose(made, student.encode(texts[:20], show_progress_bar=False), atol=1e-4)


def test_training_brings_it_nearer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """AdamW's steps raise the cosine on texts that were left out, and end with the budget."""
    directory = make_tiny_model(tmp_path, layers=4)
    texts = make_texts(1_000)
    monkeypatch.setattr(fit, "HELD_OUT", 200)
    student, record = fit_student(directory, texts, vectors_of(directory, texts), seconds=600)
    assert record.layers == [0, 3]
    assert record.texts == 1_000
    assert record.steps == fit.EPOCHS * 800 // fit.BATCH_SIZE
    assert 1 - record.cosine < 0.8 * (1 - record.start)
    assert sum(weight.numel() for weight in find_transformer(student).get_input_embeddings().parameters()) > 0
    _, cut = fit_student(directory, texts, vectors_of(directory, texts), seconds=1e-3)
    assert cut.steps < record.steps


def test_word_vectors_stay(tmp_path: Path) -> None:
    """The vectors of words are the full encoder's: most of the weights, and words that no text has keep theirs."""
    directory = make_tiny_model(tmp_path, layers=2)
    texts = make_texts(200)
    student, _ = fit_student(directory, texts, vectors_of(directory, texts), seconds=60)
    words = [find_transformer(model).get_input_embeddings().weight for model in (student, load_encoder(directory))]
    assert torch.equal(*words)


def test_a_model_with_one_layer(tmp_path: Path) -> None:
    """An encoder with a single layer has no student."""
    assert not can_imitate(make_tiny_model(tmp_path, layers=1))


def test_bridges_are_worth_it(minilm_data: Path) -> None:
    """For the real default model, the closed-form maps between layers give a nearer start than the last map alone."""
    directory = Store("model", minilm_data).resolve()
    texts = [" ".join(words) for words in np.random.default_rng(0).choice(WORDS, (500, 6))]
    vectors = unit(Encoder.open(directory, cores=1).encode_queries(texts))
    cosines = []
    for bridged in (True, False):
        student, layers = make_student(directory)
        assert layers == [0, 1, 5]
        blocks = find_blocks(find_transformer(student))
        if not bridged:
            for position, block in enumerate(blocks):
                blocks[position] = block.layer if isinstance(block, Bridge) else block
        fit_maps(student, directory, texts[:400], vectors[:400])
        cosines.append(mean_cosine(student, texts[400:], vectors[400:]))
    assert cosines[0] > cosines[1] + 0.02
