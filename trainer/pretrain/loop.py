"""Training loop of pre-training on one or more processes: steps that follow the clock, evaluation, log, checkpoints."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from accelerate import Accelerator
from transformers import PreTrainedModel

from indexer.errors import UserError
from indexer.progress import Bar, say
from trainer.pretrain.batches import Batch, Batcher, prefetch
from trainer.pretrain.checkpoint import State, load, save
from trainer.pretrain.examples import DataPosition, Recipe
from trainer.pretrain.objective import HeldOutEvaluator, Objective
from trainer.pretrain.settings import PretrainSettings
from trainer.training.checkpoints import Checkpoint, last_checkpoint, remove_incomplete
from trainer.training.clock import CADENCE, EVALUATION_SHARE, LOG_POINTS, SAVE_SECONDS, Clock
from trainer.training.log import LOG, read_log
from trainer.training.output import CHECKPOINTS

ACCUMULATION_RAMP = 0.5
"""Share of the training after which the full `--accumulate` is used."""
UNLIMITED = 10**12
"""Number of steps where only the budget ends the training."""


@dataclass(frozen=True)
class Job:
    """Model, data and evaluator of a training; equal on all processes."""

    model: PreTrainedModel
    batcher: Batcher
    recipe: Recipe
    evaluator: HeldOutEvaluator
    batch_tokens: int
    learning_rate: float
    nsp: bool


class TrainingTotals(NamedTuple):
    """Totals of a finished training."""

    step: int
    tokens: int
    seconds: float
    training_seconds: float
    """Seconds without evaluations."""


class Loop:
    """One training.

    Args:
        job: model, data and evaluator.
        settings: how it is trained.
        out: the output directory.
        accelerator: the processes and their devices.
        total: number of steps; None for as many as the budget allows.
    """

    def __init__(
        self, job: Job, settings: PretrainSettings, out: Path, accelerator: Accelerator, total: int | None
    ) -> None:
        self._job = job
        self._settings = settings
        self._out = out
        self._folder = out / CHECKPOINTS
        self._accelerator = accelerator
        self._clock = Clock(settings.budget_seconds, settings.warmup)
        self._clock.total = total or UNLIMITED
        self._objective = Objective(job.model, nsp=job.nsp).to(accelerator.device)
        self._optimizer = make_optimizer(self._objective, settings, job.learning_rate)
        self._state = State()
        self._losses = torch.zeros(3, device=accelerator.device, dtype=torch.float64)
        """Sums since the last line of the log: MLM loss, NSP loss, batches."""
        self._new_tokens = 0
        """Tokens of this process since the last line of the log."""
        self._saved = 0.0
        self._cost_ratio = job.evaluator.cost_ratio()

    def run(self) -> TrainingTotals:
        """Train to the end and return the totals.

        Raises:
            UserError: the loss is not finite, or the GPU is out of memory.
        """
        checkpoint = last_checkpoint(self._folder)
        self._accelerator.wait_for_everyone()
        if checkpoint:
            self._state = load(checkpoint.path, self._job.model, self._optimizer)
        if self._accelerator.is_main_process:
            remove_incomplete(self._folder)
            if self._settings.resume:
                say(f"pretrain: resumes from step {checkpoint.step:,}" if checkpoint else "pretrain: no checkpoint yet")
            _truncate_log(self._out / LOG, self._state.step)
        if checkpoint and checkpoint.stopped:
            return self._totals(checkpoint.seconds)
        if self._settings.compile:
            self._objective.compile(dynamic=True)
        wrapped = self._accelerator.prepare_model(self._objective)
        self._clock.start(self._state.step, checkpoint.seconds if checkpoint else 0.0)
        self._saved = self._clock.seconds
        if not checkpoint:
            self._evaluate()
        stream = self._job.batcher.stream(
            self._job.recipe,
            self._job.batch_tokens,
            self._state.place,
            processes=self._accelerator.num_processes,
            process=self._accelerator.process_index,
        )
        bar = Bar("pretrain", None, "tokens") if self._accelerator.is_main_process else None
        try:
            with prefetch(stream) as batches:
                self._train(wrapped, batches, bar)
        except torch.OutOfMemoryError as error:
            raise UserError("the GPU is out of memory; lower --batch-tokens and raise --accumulate") from error
        finally:
            if bar:
                bar.__exit__(None, None, None)
        return self._totals(self._clock.seconds)

    def _totals(self, seconds: float) -> TrainingTotals:
        return TrainingTotals(self._state.step, self._state.tokens, seconds, seconds - self._state.measuring)

    def _train(self, wrapped: torch.nn.Module, batches: Iterator[tuple[DataPosition, Batch]], bar: Bar | None) -> None:
        if bar:
            bar.__enter__()
        wrapped.train()
        finished = False
        while not finished:
            position = self._step(wrapped, batches)
            before = self._clock.progress
            self._clock.tick(self._state.step + 1)
            self._state = self._state._replace(step=self._state.step + 1, place=position)
            finished = self._clock.spent or self._clock.step >= self._clock.total
            now = self._clock.progress
            evaluates = finished or self._evaluation_due(self._settings.eval_steps, now)
            saves = evaluates or self._save_due(
                self._settings.save_steps, self._clock.seconds - self._saved >= SAVE_SECONDS
            )
            # A log line is written before every checkpoint, whose state has no losses of an unfinished line.
            if saves or crosses_boundary(before, now, LOG_POINTS):
                self._log(bar)
            if evaluates:
                self._evaluate()
            if saves:
                self._save(stopped=finished)

    def _step(self, wrapped: torch.nn.Module, batches: Iterator[tuple[DataPosition, Batch]]) -> DataPosition:
        """Train one step and return the position of its last group of batches."""
        ramp = min(self._clock.progress / ACCUMULATION_RAMP, 1.0)
        count = max(round(self._settings.accumulate * ramp), 1)
        rate = self._job.learning_rate * self._clock.rate_factor()
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        position = DataPosition()
        for number in range(count):
            position, batch = next(batches)
            self._new_tokens += batch.tokens
            if number + 1 < count:
                with self._accelerator.no_sync(wrapped):
                    self._backward(wrapped, batch, count)
            else:
                self._backward(wrapped, batch, count)
        torch.nn.utils.clip_grad_norm_(self._objective.parameters(), self._settings.clip)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return position

    def _backward(self, wrapped: torch.nn.Module, batch: Batch, count: int) -> None:
        if self._settings.dropout:  # seeded by the step, for the same dropout in a resumed training
            torch.manual_seed(hash((self._settings.seed, self._state.step, self._accelerator.process_index)))
        losses = wrapped(batch.to(self._accelerator.device))
        self._accelerator.backward(losses.sum() / count)
        self._losses[:2] += losses.detach()
        self._losses[2] += 1

    def _evaluation_due(self, eval_steps: int | None, now: float) -> bool:
        if eval_steps is not None:
            return self._state.step % eval_steps == 0
        # The reserve is the cost of the final evaluation on everything.
        seconds = self._state.measuring + self._clock.reserve / self._cost_ratio
        return (
            crosses_boundary(self._state.evaluated, now, CADENCE) and seconds <= EVALUATION_SHARE * self._clock.seconds
        )

    def _save_due(self, save_steps: int | None, otherwise: bool) -> bool:
        return otherwise if save_steps is None else self._state.step % save_steps == 0

    def _log(self, bar: Bar | None) -> None:
        """Write a line with the mean losses since the last one. All processes must call this.

        Raises:
            UserError: the loss is not finite.
        """
        sums = torch.cat([self._losses, self._losses.new_tensor([float(self._new_tokens)])])
        mlm, nsp, count, new_tokens = (float(value) for value in self._accelerator.reduce(sums, "sum"))
        self._losses.zero_()
        self._new_tokens = 0
        self._state = self._state._replace(tokens=self._state.tokens + int(new_tokens))
        if not math.isfinite(mlm + nsp):
            raise UserError(f"the loss is not a number at step {self._state.step}; lower --learning-rate")
        if not bar:
            return
        losses: dict[str, float] = {"mlm": mlm / count} | ({"nsp": nsp / count} if self._job.nsp else {})
        self._write({name: round(value, 6) for name, value in losses.items()} | {"learning_rate": self._rate()})
        title = ", ".join(f"{name.upper()} {value:.3f}" for name, value in losses.items())
        bar.revise(f"pretrain ({title})", round(self._state.tokens / max(self._clock.progress, 1e-9)))
        bar.advance(int(new_tokens))

    def _rate(self) -> float:
        return float(self._optimizer.param_groups[0]["lr"])

    def _evaluate(self) -> None:
        """Evaluate on a sample of the held-out documents, on the first process."""
        started = self._clock.seconds
        if self._accelerator.is_main_process:
            metrics = self._job.evaluator.measure(
                self._objective, self._accelerator.device, everything=False, autocast=self._accelerator.autocast
            )
            self._write(
                {
                    f"held_out_{name}": round(value, 6)
                    for name, value in metrics.model_dump().items()
                    if value is not None
                }
            )
            nsp = "" if metrics.nsp_accuracy is None else f", NSP accuracy {metrics.nsp_accuracy:.3f}"
            say(
                f"step {self._state.step:,}, held out: MLM {metrics.mlm_loss:.3f} "
                f"({metrics.mlm_loss - metrics.unigram_loss:+.3f} to unigrams){nsp}"
            )
        self._clock.tick(self._state.step)
        seconds = self._clock.seconds - started
        self._clock.reserve = seconds * self._cost_ratio  # for the final evaluation on everything
        self._state = self._state._replace(evaluated=self._clock.progress, measuring=self._state.measuring + seconds)

    def _save(self, *, stopped: bool) -> None:
        self._accelerator.wait_for_everyone()
        if self._accelerator.is_main_process:
            path = self._folder / f"checkpoint-{self._state.step}"
            mark = Checkpoint(path, self._state.step, self._clock.seconds, stopped)
            save(self._folder, self._state, self._job.model, self._optimizer, mark)
        self._clock.tick(self._state.step)
        self._saved = self._clock.seconds

    def _write(self, line: dict[str, float]) -> None:
        head = {"step": self._state.step, "seconds": round(self._clock.seconds, 3), "tokens": self._state.tokens}
        with (self._out / LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps(head | line) + "\n")


def make_optimizer(model: torch.nn.Module, settings: PretrainSettings, rate: float) -> torch.optim.Optimizer:
    """Return the optimizer of all trainable weights; weight decay applies to matrices only."""
    trainable = [weight for weight in model.parameters() if weight.requires_grad]
    groups = [
        {"params": [weight for weight in trainable if weight.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [weight for weight in trainable if weight.ndim < 2], "weight_decay": 0.0},
    ]
    kind = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, lr=rate, betas=(0.9, 0.98), eps=1e-6, fused=True)


def crosses_boundary(before: float, now: float, parts: int) -> bool:
    """Return whether progress has crossed a boundary between ``parts`` equal parts of the training."""
    return math.floor(now * parts + 1e-9) > math.floor(before * parts + 1e-9)


def _truncate_log(path: Path, step: int) -> None:
    """Drop the lines after the checkpoint that is resumed from."""
    kept = [line for line in read_log(path) if step and line["step"] <= step]
    partial = path.with_name(f".{path.name}")
    partial.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
    partial.replace(path)
