"""Fine-tuning as a whole: what is kept, what stops it, what survives a kill, and what comes after."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from datasets import Dataset
from forked import fork_two, forked
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Router
from sentence_transformers.sentence_transformer.modules import Dense
from stories import STORIES, WORDS, write_corpus
from tests_support import make_tiny_model

import trainer.finetune.finetune
import trainer.training.log
from indexer.artifacts.store import Store
from indexer.build.build import build
from indexer.build.settings import BuildSettings
from indexer.errors import UserError
from indexer.index.index import Index
from indexer.retrieval.retriever import Retriever
from trainer.cli import app
from trainer.finetune.finetune import finetune
from trainer.finetune.settings import FinetuneSettings, TsdaeSettings
from trainer.finetune.tsdae import tsdae
from trainer.models.base import publish_base
from trainer.models.load import load_encoder
from trainer.models.settings import BaseSettings
from trainer.training.base_model import read_weights
from trainer.training.log import read_log
from trainer.training.output import FinishedTraining, describe_training

EMBEDDINGS = "0.model.embeddings.word_embeddings.weight"


def examples(rows: int = 32) -> dict[str, list[str]]:
    """Return pairs of two words and a text that holds them; no two rows are alike."""
    chance = torch.Generator().manual_seed(1)
    texts = [[WORDS[15:][at] for at in torch.randperm(len(WORDS) - 15, generator=chance)[:6]] for _ in range(rows)]
    return {"query": [" ".join(words[:2]) for words in texts], "positive": [" ".join(words) for words in texts]}


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """A Parquet file of pairs."""
    pq.write_table(pa.table(examples()), tmp_path / "pairs.parquet")
    return tmp_path / "pairs.parquet"


def quick(model: Path, **others: Any) -> FinetuneSettings:
    """Return settings for a training of a second: eight steps of four pairs."""
    return FinetuneSettings(**{"model": str(model), "learning_rate": 1e-3, "batch_size": 4, "save_steps": 99} | others)


def same(first: Path, second: Path) -> bool:
    """Return whether two model directories hold the same weights."""
    one, two = read_weights(first), read_weights(second)
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def refused(call: Callable[[], object]) -> str:
    """Return the one line with which ``call`` is refused."""
    with pytest.raises(UserError) as error:
        call()
    assert "\n" not in str(error.value)
    return str(error.value)


# --- the chain ------------------------------------------------------------------------------------------------------


def test_from_texts_to_a_search_that_answers(data: Path, tiny_model: Path, pairs: Path, tmp_path: Path) -> None:
    """From tsdae to finetune to base to an index: each step takes up what the one before wrote, and the tuned model answers."""
    texts = [text for *_, text in STORIES]
    first = tsdae(texts, TsdaeSettings(model=str(tiny_model), max_steps=4), tmp_path / "tsdae")
    tuned = finetune([pairs], quick(first.path), tmp_path / "tuned")
    assert load_encoder(tuned.path).get_embedding_dimension() == 32
    corpus = write_corpus(tmp_path / "stories.parquet")
    published = publish_base(str(tuned.path), BaseSettings(corpus=str(corpus)), data)
    assert Store("model", data).current_id() == published.manifest.id
    index = build(str(corpus), BuildSettings(), data)
    assert index.manifest.parents["model"] == published.manifest.id
    retriever = Retriever(Index.open(Store("index", data).path(index.manifest.id), cores=1))
    assert retriever.page(retriever.search("the sailor on the ship", "dense"), 0, 3)


def test_prefixes_stay_known(tiny_model: Path, pairs: Path, tmp_path: Path) -> None:
    """The lengths that a model was trained for reach its manifest, from which the service offers them."""
    tuned = finetune([pairs], quick(tiny_model, max_steps=1, matryoshka="32,8,16"), tmp_path / "tuned")
    settings = BaseSettings(corpus=str(write_corpus(tmp_path / "stories.parquet")))
    assert publish_base(str(tuned.path), settings, tmp_path / "data").manifest.config["matryoshka"] == [32, 16, 8]


def test_the_live_model_is_the_default_start(tiny_data: Path, pairs: Path, tmp_path: Path) -> None:
    """Without --model the training starts from what serves now."""
    live = Store("model", tiny_data).resolve()
    tuned = finetune(
        [pairs],
        quick(live, max_steps=1, learning_rate=1e-12).model_copy(update={"model": None}),
        tmp_path / "out",
        data=tiny_data,
    )
    before, after = read_weights(live), read_weights(tuned.path)
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in before)


def test_what_is_written(tiny_model: Path, pairs: Path, tmp_path: Path) -> None:
    """The log has a line per step, the record says what was done; no checkpoint and nothing hidden is left."""
    tuned = finetune([pairs], quick(tiny_model), tmp_path / "out", dev=[pairs])
    assert tuned.log == [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    losses = [line for line in tuned.log if "loss" in line]
    assert [line["step"] for line in losses] == list(range(1, 9))
    assert set(losses[0]) == {"step", "seconds", "loss", "learning_rate"}
    dev = [line for line in tuned.log if "dev" in line]
    assert dev[0]["step"] == 0
    assert dev[0]["dev"] == tuned.start
    assert max(line["dev"] for line in dev[1:]) == tuned.best
    assert all(0 <= line["dev"] <= 1 for line in dev)
    seconds = [line["seconds"] for line in tuned.log]
    assert seconds == sorted(seconds)
    assert tuned.seconds >= seconds[-1]
    record = json.loads((tmp_path / "out" / "training.json").read_text())
    assert record["settings"]["learning_rate"] == 1e-3
    assert record["inputs"][0]["name"] == str(pairs)
    assert record["result"] == {"steps": 8, "seconds": tuned.seconds, "start": tuned.start, "best": tuned.best}
    names = {path.name for path in tuned.path.iterdir()}
    assert {"modules.json", "config.json", "model.safetensors", "log.jsonl", "training.json"} <= names
    assert not [name for name in names if name.startswith((".", "checkpoints"))]
    assert load_encoder(tuned.path).max_seq_length == 32


def test_the_same_seed_gives_the_same_weights(tiny_model: Path, pairs: Path, tmp_path: Path) -> None:
    """A training can be had again, and another seed gives another one."""
    runs = [finetune([pairs], quick(tiny_model, seed=seed), tmp_path / f"{n}") for n, seed in enumerate((1, 1, 2))]
    assert same(runs[0].path, runs[1].path)
    assert not same(runs[0].path, runs[2].path)


# --- what is kept ---------------------------------------------------------------------------------------------------


def test_the_best_weights_are_kept(tiny_model: Path, pairs: Path, tmp_path: Path) -> None:
    """The weights of the best evaluation are the result, not the last ones."""
    verdicts = iter([0.5, 0.2, 0.9, 0.4, 0.3])
    seen: list[tuple[float, torch.Tensor]] = []

    def judge(model: SentenceTransformer) -> float:
        seen.append((next(verdicts), model.state_dict()[EMBEDDINGS].clone()))
        assert not model.training
        return seen[-1][0]

    tuned = finetune([pairs], quick(tiny_model, eval_steps=2), tmp_path / "out", evaluator=judge)
    assert (tuned.start, tuned.best, tuned.steps) == (0.5, 0.9, 8)
    kept = read_weights(tuned.path)[EMBEDDINGS]
    assert [score for score, weights in seen if torch.equal(weights, kept)] == [0.9]


def test_patience(tiny_model: Path, pairs: Path, tmp_path: Path) -> None:
    """Two evaluations without gain end a training with a patience of two."""
    verdicts = iter([0.1, 0.5, 0.4, 0.5, 0.9])
    tuned = finetune(
        [pairs], quick(tiny_model, eval_steps=1, patience=2), tmp_path / "out", evaluator=lambda _: next(verdicts)
    )
    assert tuned.steps == 3
    assert tuned.best == 0.5


def test_patience_without_a_dev_split(tiny_model: Path, pairs: Path, tmp_path: Path) -> None:
    """`--patience` without a dev metric is an error."""
    assert "--dev" in refused(lambda: finetune([pairs], quick(tiny_model, patience=2), tmp_path / "out"))


def test_a_dev_metric_that_is_no_number(tiny_model: Path, pairs: Path, tmp_path: Path) -> None:
    """Where no evaluation gave a number there is no best; the last weights are not passed off as it."""
    message = refused(lambda: finetune([pairs], quick(tiny_model), tmp_path / "out", evaluator=lambda _: float("nan")))
    assert "--dev" in message
    assert not (tmp_path / "out" / "modules.json").exists()


@pytest.mark.parametrize(
    "columns",
    [
        {"query": ["cat", "dog"], "positive": ["the cat sits", "the dog runs"], "negative": ["a king", "a queen"]},
        {"sentence1": ["cat", "dog", "sea"], "sentence2": ["a cat", "a queen", "wine"], "score": [0.9, 0.2, 0.1]},
        {"sentence1": ["cat", "dog", "sea"], "sentence2": ["a cat", "a queen", "wine"], "label": [1, 0, 0]},
    ],
    ids=["retrieval", "rank correlation", "average precision"],
)
def test_the_dev_metric_suits_the_columns(
    columns: dict[str, list[Any]], tiny_model: Path, pairs: Path, tmp_path: Path
) -> None:
    """Queries are searched, scores correlated, labels classified; a good model has the number near 1."""
    pq.write_table(pa.table(columns), tmp_path / "dev.parquet")
    tuned = finetune([pairs], quick(tiny_model, max_steps=1), tmp_path / "out", dev=[tmp_path / "dev.parquet"])
    assert tuned.start is not None
    assert 0.5 <= tuned.start <= 1


# --- what it is told ------------------------------------------------------------------------------------------------


def test_frozen_layers_stay(tiny_model: Path, pairs: Path, tmp_path: Path) -> None:
    """`--freeze 1` leaves the embeddings and the first layer as they are and trains the second."""
    tuned = finetune([pairs], quick(tiny_model, freeze=1), tmp_path / "out")
    before, after = read_weights(tiny_model), read_weights(tuned.path)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert any(".layer.1." in name for name in changed)
    assert not [name for name in changed if ".layer.0." in name or "embeddings" in name]


def test_more_frozen_layers_than_there_are(tiny_model: Path, pairs: Path, tmp_path: Path) -> None:
    """The flag is named with the number of layers."""
    assert "2 layers" in refused(lambda: finetune([pairs], quick(tiny_model, freeze=3), tmp_path / "out"))


def test_gradients_are_accumulated(tiny_model: Path, pairs: Path, tmp_path: Path) -> None:
    """Two batches of four make one step: half as many steps."""
    assert finetune([pairs], quick(tiny_model, accumulate=2, loss="mse"), tmp_path / "out").steps == 4


def test_the_budget_ends_the_training(tiny_model: Path, pairs: Path, tmp_path: Path) -> None:
    """For any number of epochs, the clock ends them, with a learning rate near zero and a model."""
    tuned = finetune([pairs], quick(tiny_model, epochs=10_000, budget="1s"), tmp_path / "out")
    assert tuned.seconds > 0.5
    assert tuned.steps < 80_000
    rates = [line["learning_rate"] for line in tuned.log]
    assert rates[-1] < 0.3 * max(rates)
    assert load_encoder(tuned.path)


def test_a_loss_that_is_no_number(tiny_model: Path, pairs: Path, tmp_path: Path) -> None:
    """A training that has blown up ends with the flag to turn, not with broken weights."""
    settings = quick(tiny_model, learning_rate=1e30, warmup=0)
    assert "--learning-rate" in refused(lambda: finetune([pairs], settings, tmp_path / "out"))
    assert not (tmp_path / "out" / "modules.json").exists()


def test_prompts_are_put_before_the_texts(tmp_path: Path, pairs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model with prompts is trained with them: the query prompt before queries, the document prompt before texts."""
    model = make_tiny_model(tmp_path, prompts={"query": "king ", "document": "queen "})
    given = []
    real = trainer.finetune.finetune.fit
    monkeypatch.setattr(trainer.finetune.finetune, "fit", lambda task, *rest: given.append(task) or real(task, *rest))
    finetune([pairs], quick(model, max_steps=1), tmp_path / "out")
    assert given[0].prompts == {"query": "king ", "positive": "queen "}


def test_maps_for_queries_and_for_documents_learn_both(tiny_model: Path, pairs: Path, tmp_path: Path) -> None:
    """In a model with a map per side, queries go through the one and texts through the other."""
    encoder, pooling, _ = SentenceTransformer(str(tiny_model), device="cpu")
    maps = {side: [Dense(32, 32, activation_function=torch.nn.Identity())] for side in ("query", "document")}
    parts = [encoder, pooling, Router(maps, default_route="document")]
    SentenceTransformer(modules=parts, device="cpu").save_pretrained(str(tmp_path / "start"), create_model_card=False)
    tuned = finetune([pairs], quick(tmp_path / "start", max_steps=2), tmp_path / "out")
    before, after = read_weights(tmp_path / "start"), read_weights(tuned.path)
    for side in maps:
        name = f"2.sub_modules.{side}.0.linear.weight"
        assert not torch.equal(before[name], after[name])


def test_a_package_that_is_not_there(tiny_model: Path, pairs: Path, tmp_path: Path) -> None:
    """`--report-to` names the package that is missing, before anything is trained."""
    message = refused(lambda: finetune([pairs], quick(tiny_model, report_to="mlflow"), tmp_path / "out"))
    assert "pip install mlflow" in message
    assert not (tmp_path / "out").exists()


def test_bfloat_on_the_cpu(tiny_model: Path, pairs: Path, tmp_path: Path) -> None:
    """With `--bf16 on` only the computing is in 16 bits: the weights that are written have 32."""
    tuned = finetune([pairs], quick(tiny_model, bf16="on", max_steps=2), tmp_path / "out")
    exact = finetune([pairs], quick(tiny_model, max_steps=2), tmp_path / "exact")
    assert {weights.dtype for weights in load_encoder(tuned.path).parameters()} == {torch.float32}
    assert tuned.log[0]["loss"] != exact.log[0]["loss"]
    assert tuned.log[0]["loss"] == pytest.approx(exact.log[0]["loss"], rel=0.1)


def test_tsdae_as_a_loss(tiny_model: Path, pairs: Path, tmp_path: Path) -> None:
    """`--loss tsdae` learns from the texts of pairs and is judged like any other training."""
    tuned = finetune([pairs], quick(tiny_model, loss="tsdae"), tmp_path / "out", dev=[pairs])
    assert tuned.best is not None
    assert not same(tiny_model, tuned.path)


# --- resuming -------------------------------------------------------------------------------------------------------


def broken_off(call: Callable[[], FinishedTraining], step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run ``call`` and break it off when it logs the loss of ``step``."""
    write = trainer.training.log.TrainingLog._write

    def stop(self: trainer.training.log.TrainingLog, at: int, **values: float) -> None:
        write(self, at, **values)
        if at == step:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(trainer.training.log.TrainingLog, "_write", stop)
        with pytest.raises(KeyboardInterrupt):
            call()


def test_a_resumed_training_ends_as_if_nothing_had_happened(
    tiny_model: Path, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Optimizer, schedule, chance and the order of the rows are taken up: the weights are equal to the last bit."""
    settings = quick(tiny_model, epochs=2, save_steps=5)
    whole = finetune([pairs], settings, tmp_path / "whole")
    out = tmp_path / "out"
    broken_off(lambda: finetune([pairs], settings, out), 12, monkeypatch)
    checkpoints = out / "checkpoints"
    (checkpoints / "checkpoint-12").mkdir()
    (checkpoints / "checkpoint-12" / "model.safetensors").write_bytes(b"half a check")
    resumed = finetune([pairs], settings.model_copy(update={"resume": True}), out)
    assert resumed.steps == whole.steps == 16
    assert [line["step"] for line in resumed.log] == list(range(1, 17))
    assert [line["loss"] for line in resumed.log] == [line["loss"] for line in whole.log]
    assert same(whole.path, resumed.path)


def test_killed_between_the_last_step_and_the_end(
    tiny_model: Path, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training that was over is not trained further: its best weights are written."""
    settings = quick(tiny_model, eval_steps=3, max_steps=6)  # of the eight that an epoch has
    verdicts = iter([0.1, 0.9, 0.2])
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr("trainer.finetune.fit.finish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            finetune([pairs], settings, out, evaluator=lambda _: next(verdicts))
    best = read_weights(out / "checkpoints" / "checkpoint-3")[EMBEDDINGS]
    tuned = finetune([pairs], settings.model_copy(update={"resume": True}), out, evaluator=lambda _: 1 / 0)
    assert (tuned.steps, tuned.best) == (6, 0.9)
    assert torch.equal(read_weights(tuned.path)[EMBEDDINGS], best)


def test_a_finished_training_is_not_done_again(tiny_model: Path, pairs: Path, tmp_path: Path) -> None:
    """With --resume a finished directory answers at once; without, it is not overwritten."""
    out = tmp_path / "out"
    first = finetune([pairs], quick(tiny_model), out)
    written = (out / "model.safetensors").stat().st_mtime_ns
    assert finetune([pairs], quick(tiny_model, resume=True), out) == first
    assert "holds a finished training" in refused(lambda: finetune([pairs], quick(tiny_model), out))
    assert (out / "model.safetensors").stat().st_mtime_ns == written


def test_what_must_not_change_between_start_and_resume(
    tiny_model: Path, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A resumed training with another setting or other examples would be neither the one nor the other."""
    out = tmp_path / "out"
    settings = quick(tiny_model, save_steps=2)
    broken_off(lambda: finetune([pairs], settings, out), 4, monkeypatch)
    assert "holds an unfinished training" in refused(lambda: finetune([pairs], settings, out))
    other = settings.model_copy(update={"learning_rate": 0.5, "resume": True})
    message = refused(lambda: finetune([pairs], other, out))
    assert message.startswith("--learning-rate 0.5")
    assert "0.001" in message
    pq.write_table(pa.table(examples(8)), pairs)
    again = settings.model_copy(update={"resume": True})
    assert "other examples" in refused(lambda: finetune([pairs], again, out))


def test_a_directory_of_somebody_elses(tiny_model: Path, pairs: Path, tmp_path: Path) -> None:
    """A directory with other things in it is left alone."""
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    assert "--out" in refused(lambda: finetune([pairs], quick(tiny_model), tmp_path))


def test_an_unfinished_start_without_a_checkpoint_is_no_obstacle(
    tiny_model: Path, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What failed before its first checkpoint can be started again with other settings."""
    out = tmp_path / "out"
    broken_off(lambda: finetune([pairs], quick(tiny_model), out), 2, monkeypatch)
    assert finetune([pairs], quick(tiny_model, learning_rate=2e-3), out).steps == 8


# --- as a program ---------------------------------------------------------------------------------------------------


def test_kill_minus_nine(tiny_model: Path, pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Killed in the middle and started again, a training goes on from its last checkpoint and ends with a model."""
    out = tmp_path / "out"
    settings = quick(tiny_model, epochs=15, save_steps=10)
    process = forked(lambda: finetune([pairs], settings, out), tmp_path / "said")
    deadline = time.monotonic() + 60
    while not list(out.glob("checkpoints/*/complete.json")):
        assert time.monotonic() < deadline, (tmp_path / "said.err").read_text()
        time.sleep(0.02)
    os.kill(process, signal.SIGKILL)
    assert os.waitpid(process, 0)[1] == signal.SIGKILL
    assert not (out / "modules.json").exists()
    assert max(line["step"] for line in read_log(out / "log.jsonl")) < 120
    tuned = finetune([pairs], settings.model_copy(update={"resume": True}), out)
    step = int(capsys.readouterr().err.split("resumes from step ")[1].split()[0])
    assert step % 10 == 0
    assert step > 0
    assert tuned.steps == 120
    assert [line["step"] for line in tuned.log] == list(range(1, 121))
    assert load_encoder(out)


def test_two_processes(tiny_model: Path, pairs: Path, tmp_path: Path) -> None:
    """Several processes share the rows and average their gradients; the first alone writes and speaks."""
    out = tmp_path / "out"
    command = ["finetune", str(pairs), "--model", str(tiny_model), "--out", str(out), "--batch-size", "4"]
    command += ["--budget", "1h", "--dev", str(pairs), "--eval-steps", "2"]
    processes = fork_two(lambda: app(command, standalone_mode=False), tmp_path / "said")
    for rank, process in enumerate(processes):
        assert os.waitpid(process, 0)[1] == 0, (tmp_path / f"said{rank}.err").read_text()
    assert (tmp_path / "said0.out").read_text() == f"{out}\n"
    assert "4 steps in" in (tmp_path / "said0.err").read_text()
    assert (tmp_path / "said1.out").read_text() == (tmp_path / "said1.err").read_text() == ""
    log = read_log(out / "log.jsonl")
    assert [line["step"] for line in log if "loss" in line] == [1, 2, 3, 4], "32 pairs in batches of 2 × 4"
    assert [line["step"] for line in log if "dev" in line] == [0, 2, 4]
    assert load_encoder(out)


def test_a_data_set_in_memory(tiny_model: Path, tmp_path: Path) -> None:
    """The chain of `run` passes its examples without a file."""
    assert finetune(Dataset.from_dict(examples()), quick(tiny_model), tmp_path / "out").steps == 8


@pytest.mark.parametrize(("processes", "gathered"), [("1", False), ("2", True)])
def test_the_texts_of_all_processes_are_negatives(
    processes: str, gathered: bool, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two GPUs with a batch of 32 give each query 63 negatives, not 31."""
    monkeypatch.setenv("WORLD_SIZE", processes)
    settings = quick(tiny_model)
    task = trainer.finetune.finetune._make_task(
        load_encoder(tiny_model), Dataset.from_dict(examples()), settings, describe_training(settings), None
    )
    assert task.loss.gather_across_devices is gathered
