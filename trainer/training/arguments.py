"""Arguments of sentence-transformers' trainer, made from our settings, and barriers between processes."""

from __future__ import annotations

import importlib.util
import os
from functools import partial
from pathlib import Path
from typing import Any

import torch
from sentence_transformers.base.sampler import NoDuplicatesBatchSampler
from sentence_transformers.sentence_transformer.training_args import SentenceTransformerTrainingArguments

from indexer.errors import UserError
from indexer.progress import say
from trainer.training.settings import FitSettings

NEVER = 10**9
"""Steps between the library's own evaluations and checkpoints: `trainer.training.clock.Schedule` decides instead."""
METRIC = "eval_dev"
"""Key under which the trainer reports the dev metric.

The library's own keys depend on the evaluator and on the model, and are known only after a first evaluation. With a
wrong key the last checkpoint silently becomes the best."""


def training_arguments(
    settings: FitSettings, folder: Path, *, has_dev: bool, no_duplicates: bool, from_start: bool
) -> SentenceTransformerTrainingArguments:
    """Return the library's arguments for ``settings``. With several processes, this call also joins them.

    Args:
        settings: what the operator chose.
        folder: directory of the checkpoints.
        has_dev: whether there is a dev metric.
        no_duplicates: whether a text may be in a batch only once.
        from_start: whether the training starts anew; then the dev metric is also measured before the first step.

    Raises:
        UserError: the package that ``--report-to`` names is not installed.
    """
    cuda = torch.cuda.is_available()
    reports: list[str] = [] if settings.report_to == "none" else [settings.report_to]
    for package in reports:
        if importlib.util.find_spec(package) is None:
            raise UserError(f"--report-to {package}: the package is not installed; pip install {package}")
    # By default TensorBoard's files would be among the checkpoints, which are removed at the end.
    os.environ.setdefault("TENSORBOARD_LOGGING_DIR", str(folder.parent / "tensorboard"))
    optional: dict[str, Any] = {}
    if no_duplicates:
        # Hashes make the check for duplicates fast; 0 processes because each would import everything anew.
        optional["batch_sampler"] = partial(NoDuplicatesBatchSampler, precompute_hashes=True, precompute_num_proc=0)
    if has_dev:
        optional |= {"eval_strategy": "steps", "eval_steps": NEVER, "eval_on_start": from_start}
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.accumulate,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        num_train_epochs=settings.epochs,
        max_steps=settings.max_steps or -1,
        seed=settings.seed,
        bf16=cuda and torch.cuda.is_bf16_supported() if settings.bf16 == "auto" else settings.bf16 == "on",
        use_cpu=not cuda,
        dataloader_pin_memory=cuda,
        logging_strategy="no",
        logging_nan_inf_filter=False,
        save_strategy="steps",
        save_steps=NEVER,
        save_total_limit=2,
        metric_for_best_model=METRIC,
        greater_is_better=True,
        restore_callback_states_from_checkpoint=True,
        report_to=reports,
        disable_tqdm=True,
        **optional,
    )
    if arguments.n_gpu > 1:
        say(f"one of {arguments.n_gpu} GPUs is used; `accelerate launch -m trainer …` uses all")
        arguments._n_gpu = 1  # noqa: SLF001  # else the library splits every batch over threads (DataParallel)
    return arguments


def wait_for_all(arguments: SentenceTransformerTrainingArguments) -> None:
    """Wait until every process has reached this call."""
    if arguments.world_size > 1:
        torch.distributed.barrier()


def exit_together(arguments: SentenceTransformerTrainingArguments) -> None:
    """Wait until every process has reached this call, and keep its connections open until the first process knows it.

    A process that ends right after a barrier closes connections in which others may still wait for it.
    """
    wait_for_all(arguments)
    if arguments.world_size > 1:
        token = torch.zeros(1, device=arguments.device)
        if arguments.process_index:
            torch.distributed.recv(token, 0)
        else:
            for other in range(1, arguments.world_size):
                torch.distributed.send(token, other)
