"""Fine-tuning of all weights of a classifier, encoder and head together, in batches of texts of similar length.

The loop is transformers' own `Trainer`, with the schedule, the log and the checkpoints of our other trainings. By
default dev is evaluated after every tenth of the training, and the weights with the best macro-F1 are kept. Batches of
similar length have little padding. Seed and epoch decide their order, so a resumed training draws the same batches as
an uninterrupted one; transformers' own sampler by length draws others.
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
from trainer.classify.base import TrainableModel
from trainer.classify.calibration import choose_thresholds
from trainer.classify.data import LabelledData, Split
from trainer.classify.metrics import macro_f1
from trainer.classify.settings import ClassifyTrainSettings
from trainer.training.arguments import METRIC, training_arguments, wait_for_all
from trainer.training.checkpoints import Checkpoint, MarkComplete, last_checkpoint, remove_incomplete
from trainer.training.clock import Clock, Schedule
from trainer.training.log import LOG, TrainingLog, dev_scores, read_log
from trainer.training.output import CHECKPOINTS, Record, Result, write_record

EVAL_BATCH = 64
MAX_LABEL_WEIGHT = 50.0
"""Largest weight of a label: with a larger one a handful of rows would outweigh all others."""
WEIGHTS_FILE = "model.safetensors"
POOL_BATCHES = 50
"""Batches whose rows are sorted by length together: enough to find similar lengths, few enough to stay random."""
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Function from logits and labels of a batch to a scalar."""


def train_all_weights(
    trainable: TrainableModel, data: LabelledData, settings: ClassifyTrainSettings, out: Path, record: Record
) -> Result:
    """Train the model in place, leave the best weights in it, and return the result.

    With several processes all of them call this.

    Raises:
        UserError: the GPU is out of memory, or the loss is not finite.
    """
    folder = (out / CHECKPOINTS).resolve()
    checkpoint = last_checkpoint(folder)
    arguments = training_arguments(settings, folder, has_dev=True, no_duplicates=False, from_start=checkpoint is None)
    arguments.label_names = ["labels"]
    arguments.prediction_loss_only = False  # the dev metric needs the logits
    arguments.per_device_eval_batch_size = max(settings.batch_size, EVAL_BATCH)
    wait_for_all(arguments)
    if arguments.process_index == 0:
        write_record(out, record)
        remove_incomplete(folder)
        if settings.resume:
            say(f"classify: resumes from step {checkpoint.step}" if checkpoint else "classify: no checkpoint yet")
    wait_for_all(arguments)
    state, seconds = _train(trainable, data, settings, arguments, checkpoint)
    if state.best_model_checkpoint is None:
        raise UserError("macro-F1 on dev was never a number; check texts and labels")
    trainable.model.load_state_dict(load_file(Path(state.best_model_checkpoint) / WEIGHTS_FILE))
    trainable.model.to("cpu").eval()  # type: ignore[arg-type]
    before, best = dev_scores(read_log(out / LOG))
    say(f"classify: macro-F1 on dev {before if before is not None else 0:.4f} → {best if best is not None else 0:.4f}")
    return Result(steps=state.global_step, seconds=round(seconds, 3), start=before, best=best)


def label_weights(data: LabelledData) -> torch.Tensor:
    """Return the weights, shape (labels,), with which every label counts the same in the loss.

    One label per text: rows / (labels × rows of the label), as scikit-learn's «balanced». Several labels: rows without
    the label / rows with it.
    """
    truth = data.train.truth
    rows, label_rows = len(truth), truth.sum(axis=0)
    weights = (rows - label_rows) / label_rows if data.multi_label else rows / (len(label_rows) * label_rows)
    return torch.tensor(np.clip(weights, 1 / MAX_LABEL_WEIGHT, MAX_LABEL_WEIGHT), dtype=torch.float32)


def classification_loss(
    logits: torch.Tensor, labels: torch.Tensor, *, multi_label: bool, weights: torch.Tensor | None
) -> torch.Tensor:
    """Return the mean cross-entropy of a batch: over its rows or, with several labels, over each label of each row."""
    weight = None if weights is None else weights.to(logits.device)
    if multi_label:
        return functional.binary_cross_entropy_with_logits(logits.float(), labels.float(), pos_weight=weight)
    return functional.cross_entropy(logits.float(), labels, weight=weight)


class LengthSampler(Sampler[int]):
    """Sampler that yields each row once per epoch; each run of ``batch_size`` rows has similar lengths.

    Args:
        lengths: number of tokens of each row.
        batch_size: rows in a batch.
        seed: of the order.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self._lengths = np.asarray(lengths)
        self._batch_size = batch_size
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, which decides the order; the training loop calls this."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng((self._seed, self._epoch))
        order = rng.permutation(len(self))
        size = self._batch_size
        full = len(order) // size * size  # rows of an incomplete batch come last, which keeps the others aligned
        batches = []
        for start in range(0, full, size * POOL_BATCHES):
            pool = order[start : min(start + size * POOL_BATCHES, full)]
            pool = pool[np.argsort(self._lengths[pool], kind="stable")]
            batches += [pool[first : first + size] for first in range(0, len(pool), size)]
        for index in rng.permutation(len(batches)):
            yield from batches[index].tolist()
        yield from order[full:].tolist()


class _Trainer(Trainer):
    """The library's trainer with our schedule, and checkpoints without pickled arguments."""

    def __init__(self, clock: Clock, loss: Loss, **options: Any) -> None:
        self.clock = clock
        self.loss = loss
        super().__init__(**options)
        self.model_accepts_loss_kwargs = False  # the loss is a mean over the batch; accumulation then divides it

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Sampler[int]:
        rows = cast("Dataset", self.train_dataset if train_dataset is None else train_dataset)
        return LengthSampler([len(ids) for ids in rows["input_ids"]], self.args.train_batch_size, self.args.seed)

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,  # noqa: ARG002
    ) -> Any:
        """Return the loss of a batch, and with ``return_outputs`` also the model's outputs."""
        features = dict(inputs)
        labels = features.pop("labels")
        outputs = model(**features)
        value = self.loss(outputs["logits"], labels)
        return (value, outputs) if return_outputs else value

    def create_scheduler(self, num_training_steps: int, optimizer: Optimizer | None = None) -> LambdaLR:
        """Return a schedule that follows the clock."""
        self.clock.total = max(num_training_steps, 1)
        self.lr_scheduler = LambdaLR(cast("Optimizer", optimizer or self.optimizer), lambda _: self.clock.rate_factor())
        self._created_lr_scheduler = True
        return self.lr_scheduler

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        self.accelerator.unwrap_model(self.model).save_pretrained(str(output_dir))


def _train(
    trainable: TrainableModel,
    data: LabelledData,
    settings: ClassifyTrainSettings,
    arguments: TrainingArguments,
    checkpoint: Checkpoint | None,
) -> tuple[TrainerState, float]:
    """Run the library's loop and return its state and the seconds of the training."""
    if checkpoint and checkpoint.stopped:  # it was killed after the last step, before the model was written
        return TrainerState.load_from_json(str(checkpoint.path / "trainer_state.json")), checkpoint.seconds
    folder = Path(str(arguments.output_dir))
    clock = Clock(settings.budget_seconds, settings.warmup)
    log = TrainingLog("classify", folder.parent / LOG, clock, METRIC, checkpoint.step if checkpoint else 0)
    callbacks: list[TrainerCallback] = [
        Schedule(
            clock,
            seconds=checkpoint.seconds if checkpoint else 0.0,
            evaluates=True,
            eval_steps=settings.eval_steps,
            save_steps=settings.save_steps,
        ),
        log,
        MarkComplete(folder, clock, torch.nn.Module(), trainable.model),
    ]
    if settings.patience:
        callbacks.append(EarlyStoppingCallback(settings.patience))
    weights = label_weights(data) if settings.class_weights == "balanced" else None
    trainer = _Trainer(
        clock,
        partial(classification_loss, multi_label=data.multi_label, weights=weights),
        model=trainable.model,
        args=arguments,
        train_dataset=_encode(trainable, data.train, multi_label=data.multi_label),
        eval_dataset=_encode(trainable, data.dev, multi_label=data.multi_label),
        data_collator=DataCollatorWithPadding(trainable.tokenizer),
        compute_metrics=_make_metric(multi_label=data.multi_label),
        callbacks=callbacks,
    )
    trainer.remove_callback(PrinterCallback)  # it prints to stdout, which is for results only
    try:
        trainer.train(resume_from_checkpoint=str(checkpoint.path) if checkpoint else None)
    except torch.OutOfMemoryError as error:
        raise UserError(
            "the GPU is out of memory; lower --batch-size and raise --accumulate, or lower --max-tokens"
        ) from error
    finally:
        log.close()
    return trainer.state, clock.seconds


def _encode(trainable: TrainableModel, split: Split, *, multi_label: bool) -> Dataset:
    """Return token ids, truncated but not padded: every batch is padded to its own longest row."""
    encoded = trainable.tokenizer(split.texts, truncation=True, max_length=trainable.max_tokens)
    columns: dict[str, Any] = {name: encoded[name] for name in encoded}
    columns["labels"] = split.truth.astype(np.float32).tolist() if multi_label else split.label_indices.tolist()
    return Dataset.from_dict(columns)


def _make_metric(*, multi_label: bool) -> Callable[[EvalPrediction], dict[str, float]]:
    """Return the function that computes macro-F1 from the library's predictions on dev."""

    def metric(prediction: EvalPrediction) -> dict[str, float]:
        logits = np.asarray(prediction.predictions, dtype=np.float32)
        if multi_label:  # each label at its best threshold, as in the finished classifier
            truth = np.asarray(prediction.label_ids) > 0.5
            answers = logits >= np.asarray(choose_thresholds(logits, truth), dtype=np.float32)
        else:
            indices = np.arange(logits.shape[1])
            truth = np.asarray(prediction.label_ids)[:, None] == indices
            answers = logits.argmax(axis=1)[:, None] == indices
        return {METRIC.removeprefix("eval_"): macro_f1(truth, answers)}

    return metric
