"""One training, whatever its loss: the loop that `tsdae` and `finetune` share.

The loop itself is `SentenceTransformerTrainer`. Here are the things that it leaves open: a schedule tied to the clock,
one metric that decides, checkpoints that are complete or not there, and an end that keeps the best weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformer
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
from trainer.finetune.grouped import GroupedBatchSampler
from trainer.training.arguments import METRIC, leave_together, training_arguments, wait_for_all
from trainer.training.base_model import read_weights
from trainer.training.checkpoints import Checkpoint, MarkComplete, last_checkpoint, load_loss, remove_incomplete
from trainer.training.clock import Clock, Schedule
from trainer.training.log import LOG, TrainingLog, read_log, scores
from trainer.training.output import CHECKPOINTS, Record, Result, Trained, finish, trained, write_record
from trainer.training.settings import FitSettings


@dataclass(frozen=True)
class Task:
    """What is trained on what."""

    name: str
    model: SentenceTransformer
    loss: nn.Module
    examples: Dataset
    record: Record
    judge: DevMetric | None = None
    whole: SentenceTransformer | None = None
    """What is saved where ``model`` is only a part of it."""
    collator: SentenceTransformerDataCollator | None = None
    distinct: bool = False
    """Whether no text may be twice in a batch, because a batch's texts are each other's negatives."""
    grouped: bool = False
    """Whether the rows of a text belong into one batch,"""
    neighbourhoods: Sequence[int] | None = None
    """and of texts with the same number."""
    prompts: Mapping[str, str] | None = None
    routes: Mapping[str, str] | None = None


class _Trainer(SentenceTransformerTrainer):
    """The library's trainer with our schedule, and without its model card, which `trainer evaluate` writes."""

    def __init__(self, clock: Clock, **options: Any) -> None:
        self.clock = clock
        super().__init__(**options)

    def create_scheduler(self, num_training_steps: int, optimizer: Optimizer | None = None) -> LambdaLR:
        """Return a schedule that follows the clock."""
        self.clock.total = max(num_training_steps, 1)
        self.lr_scheduler = LambdaLR(cast("Optimizer", optimizer or self.optimizer), lambda _: self.clock.rate())
        self._created_lr_scheduler = True
        return self.lr_scheduler

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """Leave the card out: it would count the tokens of all examples first."""

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Write the encoder of a checkpoint, without a card and without pickled arguments."""
        self.model.save_pretrained(str(output_dir), create_model_card=False)


def fit(task: Task, settings: FitSettings, out: Path) -> Trained:
    """Train, keep the best weights, write the model into ``out`` and return how it went.

    With several processes all of them call this, and the first writes.

    Raises:
        UserError: there are too few examples, the memory of the GPU is exhausted, or the loss is no number any more.
    """
    folder = (out / CHECKPOINTS).resolve()
    checkpoint = last_checkpoint(folder)
    arguments = training_arguments(
        settings, folder, judged=task.judge is not None, distinct=task.distinct, fresh=checkpoint is None
    )
    if task.grouped:
        arguments.batch_sampler = partial(GroupedBatchSampler, neighbourhoods=task.neighbourhoods)
    first = arguments.process_index == 0
    wait_for_all(arguments)
    if first:
        write_record(out, task.record)
        remove_incomplete(folder)
        if settings.resume:
            say(
                f"{task.name}: goes on from step {checkpoint.step}" if checkpoint else f"{task.name}: no checkpoint yet"
            )
    wait_for_all(arguments)
    state, seconds = _train(task, settings, arguments, out, checkpoint)
    if task.judge:
        _take_best(task.model, state)
    log = read_log(out / LOG)
    start, best = scores(log)
    result = Result(steps=state.global_step, seconds=round(seconds, 3), start=start, best=best)
    if first:
        if start is not None and best is not None:
            say(f"{task.name}: dev {start:.4f} → {best:.4f}" + ("" if best > start else ", not better than the start"))
        finish(out, (task.whole or task.model).to("cpu").eval(), task.record, result)
    leave_together(arguments)
    return trained(out, result)


def _train(
    task: Task,
    settings: FitSettings,
    arguments: SentenceTransformerTrainingArguments,
    out: Path,
    checkpoint: Checkpoint | None,
) -> tuple[TrainerState, float]:
    if checkpoint and checkpoint.stopped:  # killed between the last step and the end
        task.model.load_state_dict(read_weights(checkpoint.path))
        return TrainerState.load_from_json(str(checkpoint.path / "trainer_state.json")), checkpoint.seconds
    folder = Path(str(arguments.output_dir))
    clock = Clock(settings.budget_seconds, settings.warmup)
    journal = TrainingLog(
        task.name, out / LOG, clock, METRIC if task.judge else None, checkpoint.step if checkpoint else 0
    )
    callbacks: list[TrainerCallback] = [
        Schedule(
            clock,
            seconds=checkpoint.seconds if checkpoint else 0.0,
            evaluates=task.judge is not None,
            eval_steps=settings.eval_steps,
            save_steps=settings.save_steps,
        ),
        journal,
        MarkComplete(folder, clock, task.loss, task.model),
    ]
    if settings.patience and task.judge:
        callbacks.append(EarlyStoppingCallback(settings.patience))
    trainer = _Trainer(
        clock,
        model=task.model,
        args=arguments,
        train_dataset=task.examples,
        loss=task.loss,
        evaluator=DevEvaluator(task.judge) if task.judge else None,
        data_collator=task.collator or _collator(task, settings),
        callbacks=callbacks,
    )
    trainer.remove_callback(PrinterCallback)  # it prints to stdout, where only results belong
    if not len(trainer.get_train_dataloader()):
        raise UserError(
            f"--batch-size {settings.batch_size}: {len(task.examples)} examples make no batch on "
            f"{arguments.world_size} processes; lower it or give more examples"
        )
    try:
        if checkpoint:
            load_loss(checkpoint.path, task.loss, task.model)
        trainer.train(resume_from_checkpoint=str(checkpoint.path) if checkpoint else None)
    except torch.OutOfMemoryError as error:
        raise UserError(
            "the memory of the GPU is exhausted; lower --batch-size and raise --accumulate, lower --max-tokens, "
            "or take --loss cached-mnr with a small --mini-batch-size"
        ) from error
    finally:
        journal.close()
    return trainer.state, clock.seconds


def _collator(task: Task, settings: FitSettings) -> SentenceTransformerDataCollator:
    return SentenceTransformerDataCollator(
        preprocess_fn=task.model.preprocess,
        prompts=dict(task.prompts or {}),
        router_mapping=dict(task.routes or {}),
        max_length=settings.max_tokens,
    )


def _take_best(model: SentenceTransformer, state: TrainerState) -> None:
    """Put the weights of the best checkpoint into the model, and fail where there is none.

    The library logs such a failure and goes on with the last weights.
    """
    if state.best_model_checkpoint is None:
        raise UserError("the dev metric was never a number; check the examples given with --dev")
    model.load_state_dict(read_weights(Path(state.best_model_checkpoint)))
