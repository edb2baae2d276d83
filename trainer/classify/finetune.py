"""Fine-tuning: a transformers encoder and a new classification head learn together.

The loop is transformers' own `Trainer`, with the schedule, the journal and the checkpoints of our other trainings. After
every tenth of the training dev is asked; the weights with the best macro-F1 are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from datasets import Dataset
from safetensors.torch import load_file
from torch.nn import functional
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import Sampler
from transformers import (
    DataCollatorWithPadding,
    EarlyStoppingCallback,
    EvalPrediction,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerState,
    TrainingArguments,
)

from indexer.errors import UserError
from indexer.progress import say
from trainer.classify.base import Start
from trainer.classify.calibration import thresholds
from trainer.classify.data import Labelled, Part
from trainer.classify.metrics import macro_f1
from trainer.classify.settings import ClassifyTrainSettings
from trainer.training.arguments import METRIC, training_arguments, wait_for_all
from trainer.training.checkpoints import Checkpoint, MarkComplete, last_checkpoint, remove_incomplete
from trainer.training.clock import Clock, Schedule
from trainer.training.log import LOG, TrainingLog, read_log, scores
from trainer.training.output import CHECKPOINTS, Record, Result, write_record

EVAL_BATCH = 64
HEAVIEST = 50.0
"""The largest weight of one label's rows: beyond it a handful of rows would drown all others."""
WEIGHTS = "model.safetensors"
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def tune(start: Start, data: Labelled, settings: ClassifyTrainSettings, out: Path, record: Record) -> Result:
    """Train the model of ``start`` in place, leave the best weights in it, and say how it went.

    With several processes all of them call this.

    Raises:
        UserError: the memory of the GPU is exhausted, or the loss is no number any more.
    """
    folder = (out / CHECKPOINTS).resolve()
    checkpoint = last_checkpoint(folder)
    arguments = training_arguments(settings, folder, judged=True, distinct=False, fresh=checkpoint is None)
    arguments.label_names = ["labels"]
    arguments.prediction_loss_only = False  # the logits are wanted too
    arguments.per_device_eval_batch_size = max(settings.batch_size, EVAL_BATCH)
    wait_for_all(arguments)
    if arguments.process_index == 0:
        write_record(out, record)
        remove_incomplete(folder)
        if settings.resume:
            say(f"classify: goes on from step {checkpoint.step}" if checkpoint else "classify: no checkpoint yet")
    wait_for_all(arguments)
    state, seconds = _train(start, data, settings, arguments, checkpoint)
    if state.best_model_checkpoint is None:
        raise UserError("macro-F1 on dev was never a number; check texts and labels")
    start.model.load_state_dict(load_file(Path(state.best_model_checkpoint) / WEIGHTS))
    start.model.to("cpu").eval()  # type: ignore[arg-type]
    before, best = scores(read_log(out / LOG))
    say(f"classify: macro-F1 on dev {before if before is not None else 0:.4f} → {best if best is not None else 0:.4f}")
    return Result(steps=state.global_step, seconds=round(seconds, 3), start=before, best=best)


class _Trainer(Trainer):
    """The library's trainer with our schedule, and checkpoints without pickled arguments."""

    def __init__(self, clock: Clock, loss: Loss, **options: Any) -> None:
        self.clock = clock
        self.loss = loss
        super().__init__(**options)
        self.model_accepts_loss_kwargs = False  # the loss is a mean over the batch, which accumulation divides

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Sampler[int]:
        rows = cast("Dataset", self.train_dataset if train_dataset is None else train_dataset)
        return ByLength([len(ids) for ids in rows["input_ids"]], self.args.train_batch_size, self.args.seed)

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,  # noqa: ARG002
    ) -> Any:
        """Return the loss of a batch, and with ``return_outputs`` what the model gave."""
        features = dict(inputs)
        labels = features.pop("labels")
        outputs = model(**features)
        value = self.loss(outputs["logits"], labels)
        return (value, outputs) if return_outputs else value

    def create_scheduler(self, num_training_steps: int, optimizer: Optimizer | None = None) -> LambdaLR:
        """Return a schedule that follows the clock."""
        self.clock.total = max(num_training_steps, 1)
        self.lr_scheduler = LambdaLR(cast("Optimizer", optimizer or self.optimizer), lambda _: self.clock.rate())
        self._created_lr_scheduler = True
        return self.lr_scheduler

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        self.accelerator.unwrap_model(self.model).save_pretrained(str(output_dir))


def _train(
    start: Start,
    data: Labelled,
    settings: ClassifyTrainSettings,
    arguments: TrainingArguments,
    checkpoint: Checkpoint | None,
) -> tuple[TrainerState, float]:
    if checkpoint and checkpoint.stopped:  # killed between the last step and the end
        return TrainerState.load_from_json(str(checkpoint.path / "trainer_state.json")), checkpoint.seconds
    folder = Path(str(arguments.output_dir))
    clock = Clock(settings.budget_seconds, settings.warmup)
    journal = TrainingLog("classify", folder.parent / LOG, clock, METRIC, checkpoint.step if checkpoint else 0)
    callbacks: list[TrainerCallback] = [
        Schedule(
            clock,
            seconds=checkpoint.seconds if checkpoint else 0.0,
            evaluates=True,
            eval_steps=settings.eval_steps,
            save_steps=settings.save_steps,
        ),
        journal,
        MarkComplete(folder, clock, torch.nn.Module(), start.model),
    ]
    if settings.patience:
        callbacks.append(EarlyStoppingCallback(settings.patience))
    weights = label_weights(data) if settings.class_weights == "balanced" else None
    trainer = _Trainer(
        clock,
        partial(loss, multi_label=data.multi_label, weights=weights),
        model=start.model,
        args=arguments,
        train_dataset=_dataset(start, data.train, multi_label=data.multi_label),
        eval_dataset=_dataset(start, data.dev, multi_label=data.multi_label),
        data_collator=DataCollatorWithPadding(start.tokenizer),
        compute_metrics=_metrics(multi_label=data.multi_label),
        callbacks=callbacks,
    )
    trainer.remove_callback(PrinterCallback)  # it prints to stdout, where only results belong
    try:
        trainer.train(resume_from_checkpoint=str(checkpoint.path) if checkpoint else None)
    except torch.OutOfMemoryError as error:
        raise UserError(
            "the memory of the GPU is exhausted; lower --batch-size and raise --accumulate, or lower --max-tokens"
        ) from error
    finally:
        journal.close()
    return trainer.state, clock.seconds


def _dataset(start: Start, part: Part, *, multi_label: bool) -> Dataset:
    """Return token ids, cut off but not padded: every batch is padded to its own longest row."""
    encoded = start.tokenizer(part.texts, truncation=True, max_length=start.max_tokens)
    columns: dict[str, Any] = {name: encoded[name] for name in encoded}
    columns["labels"] = part.truth.astype(np.float32).tolist() if multi_label else part.places.tolist()
    return Dataset.from_dict(columns)


def _metrics(*, multi_label: bool) -> Callable[[EvalPrediction], dict[str, float]]:
    def metrics(asked: EvalPrediction) -> dict[str, float]:
        logits = np.asarray(asked.predictions, dtype=np.float32)
        if multi_label:  # each label at its best threshold, which is what the finished classifier has
            truth = np.asarray(asked.label_ids) > 0.5
            answers = logits >= np.asarray(thresholds(logits, truth), dtype=np.float32)
        else:
            places = np.arange(logits.shape[1])
            truth = np.asarray(asked.label_ids)[:, None] == places
            answers = logits.argmax(axis=1)[:, None] == places
        return {METRIC.removeprefix("eval_"): macro_f1(truth, answers)}

    return metrics


def label_weights(data: Labelled) -> torch.Tensor:
    """Return what a row of each label counts, shape (labels,), when labels are to count alike.

    One label per text: rows / (labels × rows of the label), as scikit-learn's «balanced». Several: rows without the label
    for each row with it.
    """
    truth = data.train.truth
    rows, having = len(truth), truth.sum(axis=0)
    weights = (rows - having) / having if data.multi_label else rows / (len(having) * having)
    return torch.tensor(np.clip(weights, 1 / HEAVIEST, HEAVIEST), dtype=torch.float32)


def loss(
    logits: torch.Tensor, labels: torch.Tensor, *, multi_label: bool, weights: torch.Tensor | None
) -> torch.Tensor:
    """Return the mean cross-entropy of a batch: over the labels of each row, or over each label's yes and no."""
    own = None if weights is None else weights.to(logits.device)
    if multi_label:
        return functional.binary_cross_entropy_with_logits(logits.float(), labels.float(), pos_weight=own)
    return functional.cross_entropy(logits.float(), labels, weight=own)


POOL = 50
"""Batches' worth of rows among which similar lengths are sought: enough to find them, few enough to keep chance."""


class ByLength(Sampler[int]):
    """Yields each row once an epoch; every ``batch_size`` in a row are of similar length.

    Args:
        lengths: number of tokens of every row.
        batch_size: rows in a batch.
        seed: of the order.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self._lengths = np.asarray(lengths)
        self._batch_size = batch_size
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of ``epoch``; the training's loop calls this."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        chance = np.random.default_rng((self._seed, self._epoch))
        order = chance.permutation(len(self))
        size = self._batch_size
        full = len(order) // size * size  # what makes no whole batch comes last, and keeps the others aligned
        batches = []
        for start in range(0, full, size * POOL):
            pool = order[start : min(start + size * POOL, full)]
            pool = pool[np.argsort(self._lengths[pool], kind="stable")]
            batches += [pool[at : at + size] for at in range(0, len(pool), size)]
        for place in chance.permutation(len(batches)):
            yield from batches[place].tolist()
        yield from order[full:].tolist()
