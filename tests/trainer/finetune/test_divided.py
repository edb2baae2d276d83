"""Training by several processes: the batches, the loss and the gradient are those of one process with the whole batch."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from accelerate.data_loader import BatchSamplerShard
from datasets import Dataset
from forked import fork_two
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.sampler import NoDuplicatesBatchSampler
from stories import WORDS
from tests_support import make_tiny_model
from torch import distributed

from trainer.finetune.divided import DividedBatchSampler
from trainer.finetune.finetune import finetune
from trainer.finetune.grouped import NEIGHBOURHOOD, GroupedBatchSampler
from trainer.finetune.losses import LossOptions, make_loss
from trainer.finetune.settings import FinetuneSettings
from trainer.models.load import load_encoder
from trainer.training.base_model import load_base_model

QUERIES = [f"{WORDS[row]} {WORDS[row + 20]}" for row in range(12)]
PASSAGES = [" ".join([WORDS[row // 2], "of the", *WORDS[row // 2 + 3 : row // 2 + 3 + row % 5]]) for row in range(12)]


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny encoder without dropout, so that one process and two can be compared."""
    path = make_tiny_model(tmp_path_factory.mktemp("models"), normalise=False)
    config = path / "config.json"
    fields = json.loads(config.read_text())
    config.write_text(json.dumps(fields | {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}))
    return path


# --- batches --------------------------------------------------------------------------------------------------------


def make_sampler(kind: str) -> Callable[..., Any]:
    """Return what makes a sampler of whole batches."""
    if kind == "grouped":
        return partial(GroupedBatchSampler, neighbourhoods=[row // 8 for row in range(40)])
    return NoDuplicatesBatchSampler


@pytest.mark.parametrize("kind", ["grouped", "no duplicates"])
def test_processes_share_the_batches_of_one(kind: str) -> None:
    """In each epoch the parts of a step are, together, the batch that one process has; the parts are of like size."""
    rows = Dataset.from_dict({
        "query": [f"question {row}" for row in range(40)],
        "positive": [f"answer {row // 2 if kind == 'grouped' else row}" for row in range(40)],
    })  # fmt: skip
    options = {"drop_last": False, "seed": 3, "generator": torch.Generator()}
    make = make_sampler(kind)
    whole = make(rows, batch_size=9, **options)
    divided = DividedBatchSampler(rows, 3, make=make, processes=3, **options)
    shards = [BatchSamplerShard(divided, num_processes=3, process_index=process) for process in range(3)]
    seen = []
    for epoch in range(2):
        whole.set_epoch(epoch)
        divided.sampler.set_epoch(epoch)
        steps = list(zip(*shards, strict=True))
        for batch, parts in zip(whole, steps, strict=False):
            left = len(batch) % 3 if kind == "no duplicates" else 0
            assert [row for part in parts for row in part] == batch[: len(batch) - left]
            sizes = [len({rows["positive"][row] for row in part}) for part in parts]
            assert max(sizes) - min(sizes) <= (kind == "grouped")
        enough = [len({rows["positive"][row] for row in batch}) >= 3 for batch in whole]
        assert enough == [True] * len(steps) + [False] * (len(enough) - len(steps))
        assert len(steps) <= len(divided) // 3 == len(whole)
        seen.append(steps)
    assert seen[0] != seen[1]


def test_rows_of_a_passage_stay_together() -> None:
    """Dividing a batch never separates the queries of a passage; a part may be empty where there are too few."""
    rows = Dataset.from_dict({"query": list("abcdefg"), "positive": list("xxxyyzz")})
    sampler = GroupedBatchSampler(rows, batch_size=9, drop_last=False)
    assert sampler.divide([0, 1, 2, 3, 4, 5, 6], 2) == [[0, 1, 2, 3, 4], [5, 6]]
    assert sampler.divide([5, 6, 3, 4], 3) == [[5, 6], [3, 4], []]


# --- gradient -------------------------------------------------------------------------------------------------------


def loss_and_gradient(path: Path, name: str, rows: slice, *, gather: bool) -> tuple[float, np.ndarray]:
    """Return the loss of these pairs and the gradient of all weights."""
    model = load_base_model(path).train()
    options = LossOptions(gather=gather, mini_batch_size=2)
    passages = PASSAGES if name == "grouped-mnr" else [f"{text} {WORDS[-row]}" for row, text in enumerate(PASSAGES)]
    loss = make_loss(name, model, options)
    value = loss([model.preprocess(QUERIES[rows]), model.preprocess(passages[rows])], None)
    value.backward()
    return value.item(), np.concatenate([_gradient(weight) for weight in model.parameters()])


def _gradient(weight: torch.nn.Parameter) -> np.ndarray:
    return (torch.zeros_like(weight) if weight.grad is None else weight.grad).numpy().ravel()


@pytest.mark.parametrize("name", ["mnr", "cached-mnr", "symmetric-mnr", "grouped-mnr"])
def test_the_gradient_is_that_of_one_process(name: str, model_path: Path, tmp_path: Path) -> None:
    """Half a batch in each of two processes, averaged as DistributedDataParallel does, is the whole batch in one."""

    def one_half() -> None:
        distributed.init_process_group("gloo")
        rank = distributed.get_rank()
        # Six pairs each; for `grouped-mnr`, which does not need as many of each, four and eight.
        middle = 4 if name == "grouped-mnr" else 6
        value, gradient = loss_and_gradient(
            model_path, name, slice(0, middle) if rank == 0 else slice(middle, 12), gather=True
        )
        np.savez(tmp_path / f"{rank}.npz", value=value, gradient=gradient)
        distributed.barrier()
        distributed.destroy_process_group()

    value, gradient = loss_and_gradient(model_path, name, slice(0, 12), gather=False)
    for rank, process in enumerate(fork_two(one_half, tmp_path / "said")):
        assert os.waitpid(process, 0)[1] == 0, (tmp_path / f"said{rank}.err").read_text()
    halves = [np.load(tmp_path / f"{rank}.npz") for rank in range(2)]
    assert np.mean([half["value"] for half in halves]) == pytest.approx(value, abs=1e-5)
    assert np.abs(gradient).max() > 0.01
    assert np.allclose(np.mean([half["gradient"] for half in halves], axis=0), gradient, atol=1e-6, rtol=1e-4)


# --- the whole training ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["mnr", "grouped-mnr"])
def test_two_processes_learn_what_one_learns(loss: str, model_path: Path, tmp_path: Path) -> None:
    """The same seed and the same whole batch give the same model, whether one process trains it or two."""
    columns: dict[str, list[Any]] = {
        "query": QUERIES * 2,
        "positive": [f"{text} {WORDS[-row]}" for row, text in enumerate(PASSAGES * 2)],
    }
    if loss == "grouped-mnr":
        columns |= {"positive": PASSAGES * 2, NEIGHBOURHOOD: [row % 12 // 4 for row in range(24)]}
    examples = tmp_path / "examples.parquet"
    pq.write_table(pa.table(columns), examples)

    def train(out: Path, batch_size: int) -> None:
        settings = FinetuneSettings(
            model=str(model_path), loss=loss, batch_size=batch_size, learning_rate=1e-3, epochs=2.0, save_steps=99
        )
        finetune([examples], settings, out)

    processes = fork_two(lambda: train(tmp_path / "two", 2), tmp_path / "said")
    for rank, process in enumerate(processes):
        assert os.waitpid(process, 0)[1] == 0, (tmp_path / f"said{rank}.err").read_text()
    train(tmp_path / "one", 4)
    start, one, two = (_encode(load_encoder(path)) for path in (model_path, tmp_path / "one", tmp_path / "two"))
    assert np.abs(one - start).max() > 0.05
    assert np.abs(one - two).max() < 0.01 * np.abs(one - start).max()


def _encode(model: SentenceTransformer) -> np.ndarray:
    return model.encode(QUERIES + PASSAGES)
