"""Training loop that `tsdae` and `finetune` share, for any loss.

The loop itself is `SentenceTransformerTrainer`. This module adds four things: a schedule tied to the clock, one
dev metric that decides, checkpoints that are complete or absent, and the best weights at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.sampler import DefaultBatchSampler
from sentence_transformers.sentence_transformer.data_collator import SentenceTransformerDataCollator
from sentence_transformers.sentence_transformer.trainer import SentenceTransformerTrainer
from sentence_transformers.sentence_transformer.training_args import SentenceTransformerTrainingArguments
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from transformers import EarlyStoppingCallback, PrinterCallback, TrainerCallback, TrainerState

from indexer.errors import UserError
from indexer.progress import say
from trainer.finetune.dev import DevEvaluator, DevMetric
from trainer.finetune.divided import DividedBatchSampler
from trainer.finetune.grouped import GroupedBatchSampler
from trainer.training.arguments import METRIC, exit_together, training_arguments, wait_for_all
from trainer.training.base_model import read_weights
from trainer.training.checkpoints import (
    Checkpoint,
    MarkComplete,
    last_checkpoint,
    load_loss_parameters,
    remove_incomplete,
)
from trainer.training.clock import Clock, Schedule
from trainer.training.log import LOG, TrainingLog, dev_scores, read_log
from trainer.training.output import CHECKPOINTS, FinishedTraining, Record, Result, finish, load_finished, write_record
from trainer.training.settings import FitSettings


@dataclass(frozen=True)
class Task:
    """A training: model, loss, examples and how batches are made."""

    name: str
    model: SentenceTransformer
    loss: nn.Module
    examples: Dataset
    record: Record
    dev_metric: DevMetric | None = None
    full_model: SentenceTransformer | None = None
    """The model to save where ``model`` is only a part of it."""
    collator: SentenceTransformerDataCollator | None = None
    no_duplicates: bool = False
    """Whether a text may be in a batch only once, because the texts of a batch are each other's negatives."""
    grouped: bool = False
    """Whether all rows of a positive belong in one batch."""
    neighbourhoods: Sequence[int] | None = None
    """For ``grouped``: a number for each row; positives with the same number belong in one batch."""
    prompts: Mapping[str, str] | None = None
    """Prompt of each column."""
    routes: Mapping[str, str] | None = None
    """Route of each column through a `Router` module: query or document."""


class _Trainer(SentenceTransformerTrainer):
    """The library's trainer with our schedule, and without its model card, which `trainer evaluate` writes."""

    def __init__(self, clock: Clock, **options: Any) -> None:
        self.clock = clock
        super().__init__(**options)

    def create_scheduler(self, num_training_steps: int, optimizer: Optimizer | None = None) -> LambdaLR:
        """Return a schedule that follows the clock."""
        self.clock.total = max(num_training_steps, 1)
        self.lr_scheduler = LambdaLR(cast("Optimizer", optimizer or self.optimizer), lambda _: self.clock.rate_factor())
        self._created_lr_scheduler = True
        return self.lr_scheduler

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """Leave the card out: the library would count the tokens of all examples for it."""

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Write the encoder of a checkpoint, without a card and without pickled arguments."""
        self.model.save_pretrained(str(output_dir), create_model_card=False)


def fit(task: Task, settings: FitSettings, out: Path) -> FinishedTraining:
    """Train, keep the best weights, write the model into ``out`` and return the finished training.

    With several processes all of them call this, and the first one writes.

    Raises:
        UserError: there are too few examples, the GPU is out of memory, or the loss is not finite.
    """
    folder = (out / CHECKPOINTS).resolve()
    checkpoint = last_checkpoint(folder)
    arguments = training_arguments(
        settings,
        folder,
        has_dev=task.dev_metric is not None,
        no_duplicates=task.no_duplicates,
        from_start=checkpoint is None,
    )
    if task.grouped:
        arguments.batch_sampler = partial(GroupedBatchSampler, neighbourhoods=task.neighbourhoods)
    if arguments.world_size > 1 and (task.grouped or task.no_duplicates):
        make = cast("Callable[..., DefaultBatchSampler]", arguments.batch_sampler)
        arguments.batch_sampler = partial(DividedBatchSampler, make=make, processes=arguments.world_size)
    first = arguments.process_index == 0
    wait_for_all(arguments)
    if first:
        write_record(out, task.record)
        remove_incomplete(folder)
        if settings.resume:
            say(
                f"{task.name}: resumes from step {checkpoint.step}" if checkpoint else f"{task.name}: no checkpoint yet"
            )
    wait_for_all(arguments)
    state, seconds = _train(task, settings, arguments, out, checkpoint)
    if task.dev_metric:
        _load_best(task.model, state)
    log = read_log(out / LOG)
    start, best = dev_scores(log)
    result = Result(steps=state.global_step, seconds=round(seconds, 3), start=start, best=best)
    wait_for_all(arguments)  # every process has read the best checkpoint, which finishing removes
    if first:
        if start is not None and best is not None:
            say(f"{task.name}: dev {start:.4f} → {best:.4f}" + ("" if best > start else ", not better than the start"))
        finish(out, (task.full_model or task.model).to("cpu").eval(), task.record, result)
    exit_together(arguments)
    return load_finished(out, result)


def _train(
    task: Task,
    settings: FitSettings,
    arguments: SentenceTransformerTrainingArguments,
    out: Path,
    checkpoint: Checkpoint | None,
) -> tuple[TrainerState, float]:
    """Run the library's loop and return its state and the seconds of the training."""
    if checkpoint and checkpoint.stopped:  # it was killed after the last step, before the model was written
        task.model.load_state_dict(read_weights(checkpoint.path))
        return TrainerState.load_from_json(str(checkpoint.path / "trainer_state.json")), checkpoint.seconds
    folder = Path(str(arguments.output_dir))
    clock = Clock(settings.budget_seconds, settings.warmup)
    log = TrainingLog(
        task.name, out / LOG, clock, METRIC if task.dev_metric else None, checkpoint.step if checkpoint else 0
    )
    callbacks: list[TrainerCallback] = [
        Schedule(
            clock,
            seconds=checkpoint.seconds if checkpoint else 0.0,
            evaluates=task.dev_metric is not None,
            eval_steps=settings.eval_steps,
            save_steps=settings.save_steps,
        ),
        log,
        MarkComplete(folder, clock, task.loss, task.model),
    ]
    if settings.patience and task.dev_metric:
        callbacks.append(EarlyStoppingCallback(settings.patience))
    trainer = _Trainer(
        clock,
        model=task.model,
        args=arguments,
        train_dataset=task.examples,
        loss=task.loss,
        evaluator=DevEvaluator(task.dev_metric) if task.dev_metric else None,
        data_collator=task.collator or _make_collator(task, settings),
        callbacks=callbacks,
    )
    trainer.remove_callback(PrinterCallback)  # it prints to stdout, which is for results only
    if not len(trainer.get_train_dataloader()):
        raise UserError(
            f"--batch-size {settings.batch_size}: {len(task.examples)} examples make no batch on "
            f"{arguments.world_size} processes; lower it or give more examples"
        )
    try:
        if checkpoint:
            load_loss_parameters(checkpoint.path, task.loss, task.model)
        trainer.train(resume_from_checkpoint=str(checkpoint.path) if checkpoint else None)
    except torch.OutOfMemoryError as error:
        raise UserError(
            "the GPU is out of memory; lower --batch-size and raise --accumulate, lower --max-tokens, "
            "or use --loss cached-mnr with a small --mini-batch-size"
        ) from error
    finally:
        log.close()
    return trainer.state, clock.seconds


def _make_collator(task: Task, settings: FitSettings) -> SentenceTransformerDataCollator:
    return SentenceTransformerDataCollator(
        preprocess_fn=task.model.preprocess,
        prompts=dict(task.prompts or {}),
        router_mapping=dict(task.routes or {}),
        max_length=settings.max_tokens,
    )


def _load_best(model: SentenceTransformer, state: TrainerState) -> None:
    """Load the weights of the best checkpoint into the model; raise `UserError` where there is none.

    The library would only log such a failure and keep the last weights.
    """
    if state.best_model_checkpoint is None:
        raise UserError("the dev metric was never a number; check the examples given with --dev")
    model.load_state_dict(read_weights(Path(state.best_model_checkpoint)))
