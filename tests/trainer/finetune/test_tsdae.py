"""TSDAE: from every kind of model directory, with the weights that it has, to an encoder for the next step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file
from stories import STORIES
from tests_support import make_tiny_model
from transformers import AutoConfig, AutoTokenizer

import trainer.training.log
from indexer.errors import UserError
from trainer.finetune.losses import make_denoising_loss
from trainer.finetune.settings import TsdaeSettings
from trainer.finetune.tsdae import tsdae
from trainer.models.load import load_encoder
from trainer.training.base_model import find_transformer, load_base_model, read_weights
from trainer.training.output import FinishedTraining

TEXTS = [text for *_, text in STORIES]
EMBEDDINGS = "embeddings.word_embeddings.weight"


def quick(model: Path, **others: Any) -> TsdaeSettings:
    """Return settings for a training of seconds."""
    return TsdaeSettings(**{"model": str(model), "learning_rate": 3e-3, "max_steps": 12, "save_steps": 99} | others)


def word_embeddings(directory: Path) -> torch.Tensor:
    """Return the word embeddings of a model directory."""
    return next(tensor for name, tensor in read_weights(directory).items() if name.endswith(EMBEDDINGS))


@pytest.fixture
def plain(request: pytest.FixtureRequest, tiny_model: Path, tmp_path: Path) -> Path:
    """Return a directory of transformers alone, of the class that the test names."""
    torch.manual_seed(5)
    network = getattr(transformers, request.param)(AutoConfig.from_pretrained(tiny_model))
    folder = tmp_path / "plain"
    network.save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("plain", ["BertModel", "BertForMaskedLM", "BertForPreTraining"], indirect=True)
def test_it_starts_from_a_pre_trained_bert(plain: Path, tmp_path: Path) -> None:
    """A BERT with or without its heads learns with CLS pooling and becomes a sentence-transformers directory."""
    result = tsdae(TEXTS, quick(plain), tmp_path / "out")
    assert result.log[-1]["loss"] < result.log[0]["loss"]
    model = load_encoder(result.path)
    assert [type(module).__name__ for module in model] == ["Transformer", "Pooling"]
    assert model[1].pooling_mode == "cls"
    assert not torch.equal(word_embeddings(plain), word_embeddings(result.path))
    assert sorted(path.name for path in result.path.iterdir() if path.name.startswith(("check", "."))) == []


def test_a_sentence_transformers_model_keeps_its_shape(tmp_path: Path) -> None:
    """Pooling, Dense, Normalize and the longest input are the model's own; training with fewer tokens changes none."""
    start = make_tiny_model(tmp_path, dense=16)
    result = tsdae(TEXTS, quick(start, max_tokens=8), tmp_path / "out")
    model = load_encoder(result.path)
    assert [type(module).__name__ for module in model] == ["Transformer", "Pooling", "Dense", "Normalize"]
    assert model[1].pooling_mode == "mean"
    assert model.max_seq_length == 32
    assert model.get_embedding_dimension() == 16
    before, after = read_weights(start), read_weights(result.path)
    assert torch.equal(before["2.linear.weight"], after["2.linear.weight"])
    assert not torch.equal(word_embeddings(start), word_embeddings(result.path))


def test_another_pooling_on_request(tiny_model: Path, tmp_path: Path) -> None:
    """`--pooling` changes the model's own."""
    result = tsdae(TEXTS, quick(tiny_model, pooling="cls", max_steps=1), tmp_path / "out")
    assert load_encoder(result.path)[1].pooling_mode == "cls"


def test_a_second_training_goes_on_from_the_first(tiny_model: Path, tmp_path: Path) -> None:
    """The result is fit to be a start: its weights are taken up, not those of the model that it came from."""
    first = tsdae(TEXTS, quick(tiny_model), tmp_path / "first")
    second = tsdae(TEXTS, quick(first.path, max_steps=1, learning_rate=1e-7), tmp_path / "second")
    assert torch.allclose(word_embeddings(first.path), word_embeddings(second.path), atol=1e-5)
    assert not torch.allclose(word_embeddings(tiny_model), word_embeddings(second.path), atol=1e-2)


def test_the_encoder_keeps_what_it_has_in_memory(tiny_model: Path) -> None:
    """The library's loss puts the weights of the *files* into encoder and decoder; ours those of the encoder."""
    model = load_base_model(tiny_model)
    encoder = find_transformer(model)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.25)
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    loss = make_denoising_loss(model)
    after = encoder.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert torch.equal(loss.decoder.bert.embeddings.word_embeddings.weight, before[EMBEDDINGS])


def test_encoder_and_decoder_are_tied(tiny_model: Path) -> None:
    """They share their weights, and the head that predicts words shares the embeddings."""
    model = load_base_model(tiny_model)
    loss = make_denoising_loss(model)
    shared = dict(find_transformer(model).named_parameters())
    tied = [name for name, weight in loss.decoder.bert.named_parameters() if shared.get(name) is weight]
    assert len(tied) == len([name for name in shared if not name.startswith("pooler")])
    assert loss.decoder.cls.predictions.decoder.weight is shared[EMBEDDINGS]


@pytest.mark.parametrize("plain", ["BertForMaskedLM"], indirect=True)
def test_the_head_of_pre_training_is_taken_up(plain: Path) -> None:
    """Where the files have a head that predicts words, the decoder starts with it."""
    loss = make_denoising_loss(load_base_model(plain, default_pooling="cls"))
    head = load_file(plain / "model.safetensors")["cls.predictions.transform.dense.weight"]
    assert torch.equal(loss.decoder.cls.predictions.transform.dense.weight, head)


@pytest.mark.parametrize("architecture", ["mpnet", "distilbert"])
def test_an_architecture_without_a_decoder(architecture: str, tmp_path: Path) -> None:
    """An encoder that transformers cannot turn into a decoder is refused by name, with one that can be."""
    start = make_tiny_model(tmp_path, architecture=architecture)
    with pytest.raises(UserError, match=f"{architecture} has no decoder.*bert"):
        tsdae(TEXTS, quick(start), tmp_path / "out")


def test_from_a_corpus(tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A corpus in a file is read by its column; rows without text are left out and reported, and `--limit` holds."""
    rows = [{"id": n, "body": text} for n, text in enumerate([*TEXTS, " "])]
    path = tmp_path / "corpus.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    settings = quick(tiny_model, text_column="body", max_steps=None, batch_size=2)
    result = tsdae(str(path), settings, tmp_path / "out")
    assert result.steps == 3
    assert "1 rows are left out, such as" in capsys.readouterr().err
    assert tsdae(str(path), settings.model_copy(update={"limit": 2}), tmp_path / "two").steps == 1


def interrupted(settings: TsdaeSettings, out: Path, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train and break off at ``step``."""
    write = trainer.training.log.TrainingLog._write

    def stop(self: trainer.training.log.TrainingLog, at: int, **values: float) -> None:
        write(self, at, **values)
        if at == step:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(trainer.training.log.TrainingLog, "_write", stop)
        with pytest.raises(KeyboardInterrupt):
            tsdae(TEXTS, settings, out)


def test_resuming_keeps_what_the_decoder_learned(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The decoder is no part of the model that checkpoints hold; without it a resumed loss starts high again."""
    settings = quick(tiny_model, max_steps=60, save_steps=25)
    out = tmp_path / "out"
    interrupted(settings, out, 40, monkeypatch)
    saved = load_file(out / "checkpoints" / "checkpoint-25" / "loss.safetensors")
    assert any("crossattention" in name for name in saved)
    assert not any("word_embeddings" in name for name in saved)
    broken_off = {line["step"]: line["loss"] for line in trainer.training.log.read_log(out / "log.jsonl")}
    result: FinishedTraining = tsdae(TEXTS, settings.model_copy(update={"resume": True}), out)
    losses = {line["step"]: line["loss"] for line in result.log}
    assert sorted(losses) == list(range(1, 61))
    assert losses[26] == pytest.approx(broken_off[26], rel=0.3)
    assert losses[26] < 0.8 * losses[1]


def test_one_process_only(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several processes would each train a decoder of their own: refused, not done wrong in silence."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="one GPU"):
        tsdae(TEXTS, quick(tiny_model), tmp_path / "out")
