"""Pre-training as a whole: what it learns, what it writes, what it refuses, and what survives a kill."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import socket
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from accelerate.state import AcceleratorState
from forked import forked
from safetensors.torch import load_file
from tales import write_tales
from transformers import AutoModelForMaskedLM, AutoTokenizer, BertForPreTraining

import trainer.pretrain.loop
from indexer.errors import UserError
from trainer.cli import app
from trainer.pretrain.data import PretrainData, check_corpus, prepare
from trainer.pretrain.pretrain import pretrain
from trainer.pretrain.report import PretrainReport
from trainer.pretrain.settings import PretrainSettings
from trainer.training.base_model import read_weights
from trainer.training.log import read_log

TALES = 600


@pytest.fixture(scope="module")
def tales(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of 600 tales."""
    return write_tales(tmp_path_factory.mktemp("tales") / "corpus.parquet", TALES)


def quick(**others: Any) -> PretrainSettings:
    """Return settings for a pre-training of seconds."""
    small: dict[str, Any] = {"layers": 1, "hidden": 32, "heads": 2, "max_length": 64, "vocab_size": 256}
    training = {"batch_tokens": 512, "learning_rate": 5e-3, "max_steps": 12, "held_out": 0.1}
    return PretrainSettings(**small | training | others)


def go_on(**others: Any) -> PretrainSettings:
    """Return settings for going on from a checkpoint, which decides the sizes."""
    return PretrainSettings(**{"max_length": 32, "batch_tokens": 512, "max_steps": 12, "held_out": 0.1} | others)


def report_of(out: Path) -> PretrainReport:
    """Read the report of a run."""
    return PretrainReport.model_validate_json((out / "report" / "report.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def trained(tales: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pre-training of 120 steps."""
    return pretrain(str(tales), quick(max_steps=120, accumulate=2), tmp_path_factory.mktemp("run") / "bert")


def test_it_learns_more_than_frequencies(trained: Path) -> None:
    """On held-out documents masked words get easier than by their frequencies, also where [MASK] stands."""
    report = report_of(trained)
    before, after = report.held_out[0].figures, report.held_out[-1].figures
    assert report.gain > 0.25
    assert report.masked_gain > 0.1
    assert after.mlm_loss < before.mlm_loss - 0.15
    assert after.mlm_accuracy > before.mlm_accuracy
    assert report.result.unigram_loss == pytest.approx(after.unigram_loss, abs=0.15)
    assert report.result.positions > after.positions


def test_what_is_written_is_a_bert_of_the_hub(trained: Path) -> None:
    """The library loads model and tokenizer by the directory alone; nothing of the run's own work is left."""
    names = {path.name for path in trained.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"} <= names
    assert names - {"generation_config.json"} == {
        "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "training.json", "log.jsonl",
        "report",
    }  # fmt: skip
    tokenizer = AutoTokenizer.from_pretrained(trained)
    model = AutoModelForMaskedLM.from_pretrained(trained)
    whole = BertForPreTraining.from_pretrained(trained)
    assert torch.equal(whole.bert.embeddings.word_embeddings.weight, model.get_input_embeddings().weight)
    assert model.config.vocab_size % 64 == 0
    assert model.config.vocab_size >= len(tokenizer)
    with torch.no_grad():
        logits = model(**tokenizer("The [MASK] runs.", return_tensors="pt")).logits
    assert logits.shape[-1] == model.config.vocab_size
    encoder = read_weights(trained)
    assert any(torch.equal(weight, whole.bert.embeddings.word_embeddings.weight) for weight in encoder.values())


def test_the_report(trained: Path) -> None:
    """It has both curves apart, what it took, and a page that needs nothing else."""
    report = report_of(trained)
    assert report.work.steps == 120
    assert report.work.tokens > 120 * 256
    assert report.work.tokens_per_second > 0
    assert report.work.peak_share is None
    assert report.corpus.documents + report.corpus.held_out_documents == TALES
    assert len(report.held_out) >= 3
    assert report.held_out[0].step == 0
    assert all(loss.nsp is not None and math.isfinite(loss.mlm) for loss in report.losses)
    page = (trained / "report" / "report.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 4
    assert "<script" not in page
    assert not re.search(r"(?:src|href)=\"(?!#)", page)
    training = json.loads((trained / "training.json").read_text(encoding="utf-8"))
    assert training["result"]["best"] == pytest.approx(report.result.mlm_loss)
    assert training["settings"]["from"] is None


def test_steps_grow_to_the_accumulated_size(trained: Path) -> None:
    """With --accumulate 2 the first steps are of one batch and the last of two, so that early ones are more."""
    log = [line for line in read_log(trained / "log.jsonl") if "mlm" in line]
    seen = {int(line["step"]): line["tokens"] for line in log}
    early, late = seen[20] - seen[10], seen[110] - seen[100]
    assert 1.6 < late / early < 2.4


def test_without_next_sentence(tales: Path, tmp_path: Path) -> None:
    """--no-nsp learns masked words alone, leaves the other head as it is, and reports nothing of it."""
    out = pretrain(str(tales), quick(no_nsp=True, whole_words=True, optimizer="adam"), tmp_path / "out")
    report = report_of(out)
    assert report.result.nsp_loss is None
    assert all(loss.nsp is None for loss in report.losses)
    assert (out / "report" / "report.html").read_text(encoding="utf-8").count("<svg") == 2
    assert BertForPreTraining.from_pretrained(out)


# --- going on from a checkpoint -------------------------------------------------------------------------------------


def test_from_a_sentence_transformers_model(
    tiny_model: Path, tales: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its tokenizer and weights are taken up, masked words alone are learned, and the held-out loss falls."""
    out = pretrain(str(tales), go_on(max_steps=60, learning_rate=2e-3), tmp_path / "out", str(tiny_model))
    report = report_of(out)
    said = capsys.readouterr().err
    assert "no next-sentence head" in said
    assert "going on from a checkpoint" not in said
    assert report.result.nsp_loss is None
    assert report.result.mlm_loss < report.held_out[0].figures.mlm_loss - 0.1
    assert AutoTokenizer.from_pretrained(out).get_vocab() == AutoTokenizer.from_pretrained(tiny_model).get_vocab()
    before, after = (
        next(weight for name, weight in read_weights(folder).items() if name.endswith("word_embeddings.weight"))
        for folder in (tiny_model, out)
    )
    assert torch.nn.functional.cosine_similarity(before, after).median() > 0.9


def test_from_what_was_pre_trained(trained: Path, tales: Path, tmp_path: Path) -> None:
    """A BERT of ours goes on with both losses, where it had ended."""
    out = pretrain(str(tales), go_on(max_length=64), tmp_path / "out", str(trained))
    ended, began = report_of(trained), report_of(out).held_out[0].figures
    assert began.nsp_loss is not None
    assert began.mlm_loss < ended.held_out[0].figures.mlm_loss - 0.1


def test_a_checkpoint_decides_the_sizes(tiny_model: Path, tales: Path, tmp_path: Path) -> None:
    """A size that would be ignored is refused."""
    with pytest.raises(UserError, match="--layers: the checkpoint given with --from decides this"):
        pretrain(str(tales), go_on(layers=6), tmp_path / "out", str(tiny_model))


# --- the corpus -----------------------------------------------------------------------------------------------------


def test_nothing_is_learned_from_held_out_documents(tmp_path: Path) -> None:
    """The tokenizer has not seen their words, and copies of a text are on one side."""
    texts = [f"common words here and zebra{number:03}qx stands alone" for number in range(200)] * 2
    pq.write_table(pa.table({"text": texts}), tmp_path / "corpus.parquet")
    settings = quick(held_out=0.2, vocab_size=4096)
    prepare(check_corpus(str(tmp_path / "corpus.parquet"), settings), settings, tmp_path / "made", None)
    made = PretrainData.open(tmp_path / "made")
    assert made.held_out_documents == pytest.approx(80, abs=40)
    assert made.documents + made.held_out_documents == 400
    whole = [made.tokenizer.encode(f"zebra{number:03}qx", add_special_tokens=False) for number in range(200)]
    sides = [len(each.ids) == 1 for each in whole]
    assert 2 * sides.count(False) == made.held_out_documents
    assert 2 * sides.count(True) == made.documents


def test_documents_of_several_rows(tmp_path: Path) -> None:
    """--document-column makes one document of rows that follow each other, across the batches of reading too."""
    names = np.repeat([f"book {number}" for number in range(900)], 3).tolist()
    texts = [f"the sea and the ship {number}." for number in range(2700)]
    pq.write_table(pa.table({"text": texts, "book": names}), tmp_path / "corpus.parquet")
    settings = quick(document_column="book")
    prepare(check_corpus(str(tmp_path / "corpus.parquet"), settings), settings, tmp_path / "made", None)
    made = PretrainData.open(tmp_path / "made")
    assert made.documents + made.held_out_documents == 900
    assert (np.bincount(made.train.documents) == 3).all()
    with pytest.raises(UserError, match="--document-column chapter: no such column; there are book"):
        check_corpus(str(tmp_path / "corpus.parquet"), quick(document_column="chapter"))


@pytest.mark.parametrize(
    ("texts", "wrong"), [(["one text"], "--held-out: too few"), (["The cat sits. " * 40], "--held-out: too few")]
)
def test_too_little_text(texts: list[str], wrong: str, tmp_path: Path) -> None:
    """A corpus that cannot be split is refused, with what to do."""
    pq.write_table(pa.table({"text": texts}), tmp_path / "corpus.parquet")
    with pytest.raises(UserError, match=wrong):
        pretrain(str(tmp_path / "corpus.parquet"), quick(), tmp_path / "out")


# --- going on after a kill ------------------------------------------------------------------------------------------


def curve(out: Path) -> list[tuple[int, float, float, float]]:
    """Return what a log says of every step: losses and learning rate."""
    log = [line for line in read_log(out / "log.jsonl") if "mlm" in line]
    return [(int(line["step"]), line["mlm"], line["nsp"], line["learning_rate"]) for line in log]


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_kill_minus_nine(tales: Path, tmp_path: Path, dropout: float) -> None:
    """Killed and taken up, a training has the curve and the weights of one that was left alone, to the last bit."""
    settings = quick(max_steps=30, save_steps=5, eval_steps=15, accumulate=2, batch_tokens=256, dropout=dropout)
    undisturbed, out = tmp_path / "undisturbed", tmp_path / "killed"
    process = forked(lambda: pretrain(str(tales), settings, out), tmp_path / "said")
    deadline = time.monotonic() + 120
    while not list(out.glob("checkpoints/checkpoint-1?/complete.json")):
        assert time.monotonic() < deadline, (tmp_path / "said.err").read_text()
        time.sleep(0.005)
    os.kill(process, signal.SIGKILL)
    assert os.waitpid(process, 0)[1] == signal.SIGKILL
    assert not (out / "config.json").exists()
    with pytest.raises(UserError, match="continue it with --resume"):
        pretrain(str(tales), settings, out)
    pretrain(str(tales), settings.model_copy(update={"resume": True}), out)
    pretrain(str(tales), settings, undisturbed)
    assert len(curve(out)) == 30
    assert curve(out) == curve(undisturbed)
    weights = [load_file(folder / "model.safetensors") for folder in (out, undisturbed)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert report_of(out).result == report_of(undisturbed).result
    assert report_of(out).work.tokens == report_of(undisturbed).work.tokens


def test_a_finished_one_answers_at_once(trained: Path, tales: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same command with --resume does nothing; with other settings it is refused."""
    settings = quick(max_steps=120, accumulate=2, resume=True)
    stamp = (trained / "model.safetensors").stat().st_mtime_ns
    assert pretrain(str(tales), settings, trained) == trained
    assert "already finished" in capsys.readouterr().err
    assert (trained / "model.safetensors").stat().st_mtime_ns == stamp
    with pytest.raises(UserError, match=r"--hidden 64: .* was begun with 32"):
        pretrain(str(tales), settings.model_copy(update={"hidden": 64}), trained)
    with pytest.raises(UserError, match="holds a finished training"):
        pretrain(str(tales), settings.model_copy(update={"resume": False}), trained)


def test_the_budget_is_kept(tales: Path, tmp_path: Path) -> None:
    """With a budget the rate rises and falls with the clock and is near 0 when it ends."""
    out = pretrain(str(tales), quick(max_steps=None, budget="6s", batch_tokens=128), tmp_path / "out")
    took = json.loads((out / "training.json").read_text(encoding="utf-8"))["result"]["seconds"]
    assert 3 <= took < 12, "half of the budget is the steps' own; a busy machine may be late by a step"
    rates = [rate for *_, rate in curve(out)]
    assert rates[-1] < 0.5 * max(rates) <= 0.5 * 5e-3


def test_a_loss_that_is_no_number(tales: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends with advice instead of going on for hours."""
    monkeypatch.setattr(
        trainer.pretrain.loop.Objective, "forward", lambda self, _: self.model.cls.predictions.bias[:2] * math.nan
    )
    with pytest.raises(UserError, match="not a number at step 1; lower --learning-rate"):
        pretrain(str(tales), quick(), tmp_path / "out")


def test_two_processes(tales: Path, tmp_path: Path) -> None:
    """Each takes its own batches of a step; the first alone writes and speaks."""
    out = tmp_path / "out"
    command = ["pretrain", str(tales), "--out", str(out), "--layers", "1", "--hidden", "32", "--max-length", "64"]
    command += ["--vocab-size", "256", "--batch-tokens", "512", "--max-steps", "8", "--eval-steps", "4"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    processes = [
        forked(
            lambda: (AcceleratorState._reset_state(reset_partial_state=True), app(command, standalone_mode=False)),
            tmp_path / f"said{rank}",
            RANK=rank,
            LOCAL_RANK=rank,
            **common,
        )
        for rank in "01"
    ]
    for rank, process in enumerate(processes):
        assert os.waitpid(process, 0)[1] == 0, (tmp_path / f"said{rank}.err").read_text()
    assert (tmp_path / "said0.out").read_text() == f"{out}\n"
    assert (tmp_path / "said1.out").read_text() == (tmp_path / "said1.err").read_text() == ""
    report = report_of(out)
    assert report.work.processes == 2
    assert report.work.steps == 8
    assert report.work.tokens > 8 * 2 * 400, "eight steps of two batches of about five hundred tokens"
