"""The loop of pre-training: steps tied to the clock, measured, logged and saved, on one process or several."""

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
from trainer.pretrain.batches import Batch, Batcher, prefetched
from trainer.pretrain.checkpoint import State, load, save
from trainer.pretrain.examples import Place, Recipe
from trainer.pretrain.objective import HeldOutEvaluator, Objective
from trainer.pretrain.settings import PretrainSettings
from trainer.training.checkpoints import Checkpoint, last_checkpoint, remove_incomplete
from trainer.training.clock import CADENCE, EVALUATION_SHARE, LOG_POINTS, SAVE_SECONDS, Clock
from trainer.training.log import LOG, read_log
from trainer.training.output import CHECKPOINTS

RAMP = 0.5
"""Share of the training in which `--accumulate` is reached."""
NEVER = 10**12


@dataclass(frozen=True)
class Job:
    """What is trained on what; the same on all processes."""

    model: PreTrainedModel
    batcher: Batcher
    recipe: Recipe
    watch: HeldOutEvaluator
    room: int
    learning_rate: float
    nsp: bool


class Ended(NamedTuple):
    """How far a training came."""

    step: int
    tokens: int
    seconds: float
    training: float
    """Seconds without measuring."""


class Loop:
    """One training.

    Args:
        job: what is trained.
        settings: how.
        out: the run's directory.
        accelerator: the processes and their devices.
        total: steps that the training has without a clock; None for as many as the budget allows.
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
        self._clock.total = total or NEVER
        self._objective = Objective(job.model, nsp=job.nsp).to(accelerator.device)
        self._optimizer = optimizer(self._objective, settings, job.learning_rate)
        self._state = State()
        self._losses = torch.zeros(3, device=accelerator.device, dtype=torch.float64)
        """Sums since the last line of the log: masked words, next sentence, batches."""
        self._fresh = 0
        """Tokens of this process since the last line of the log."""
        self._saved = 0.0
        self._cost = job.watch.cost()

    def run(self) -> Ended:
        """Train to the end and return how far it came.

        Raises:
            UserError: the loss is no number any more, or the memory of the GPU is exhausted.
        """
        before = last_checkpoint(self._folder)
        self._accelerator.wait_for_everyone()
        if before:
            self._state = load(before.path, self._job.model, self._optimizer)
        if self._accelerator.is_main_process:
            remove_incomplete(self._folder)
            if self._settings.resume:
                say(f"pretrain: goes on from step {before.step:,}" if before else "pretrain: no checkpoint yet")
            _cut_log(self._out / LOG, self._state.step)
        if before and before.stopped:
            return self._ended(before.seconds)
        if self._settings.compile:
            self._objective.compile(dynamic=True)
        wrapped = self._accelerator.prepare_model(self._objective)
        self._clock.start(self._state.step, before.seconds if before else 0.0)
        self._saved = self._clock.seconds
        if not before:
            self._measure()
        stream = self._job.batcher.stream(
            self._job.recipe,
            self._job.room,
            self._state.place,
            processes=self._accelerator.num_processes,
            process=self._accelerator.process_index,
        )
        bar = Bar("pretrain", None, "tokens") if self._accelerator.is_main_process else None
        try:
            with prefetched(stream) as coming:
                self._train(wrapped, coming, bar)
        except torch.OutOfMemoryError as error:
            raise UserError(
                "the memory of the GPU is exhausted; lower --batch-tokens and raise --accumulate"
            ) from error
        finally:
            if bar:
                bar.__exit__(None, None, None)
        return self._ended(self._clock.seconds)

    def _ended(self, seconds: float) -> Ended:
        return Ended(self._state.step, self._state.tokens, seconds, seconds - self._state.measuring)

    def _train(self, wrapped: torch.nn.Module, coming: Iterator[tuple[Place, Batch]], bar: Bar | None) -> None:
        if bar:
            bar.__enter__()
        wrapped.train()
        over = False
        while not over:
            place = self._step(wrapped, coming)
            before = self._clock.progress
            self._clock.tick(self._state.step + 1)
            self._state = self._state._replace(step=self._state.step + 1, place=place)
            over = self._clock.over or self._clock.step >= self._clock.total
            now = self._clock.progress
            due = over or self._due(self._settings.eval_steps, now)
            saves = due or self._every(self._settings.save_steps, self._clock.seconds - self._saved >= SAVE_SECONDS)
            if saves or passed(before, now, LOG_POINTS):  # a checkpoint holds no half of a line
                self._log(bar)
            if due:
                self._measure()
            if saves:
                self._save(stopped=over)

    def _step(self, wrapped: torch.nn.Module, coming: Iterator[tuple[Place, Batch]]) -> Place:
        """Do one step and return the place of its last group of batches."""
        reached = min(self._clock.progress / RAMP, 1.0)
        count = max(round(self._settings.accumulate * reached), 1)
        rate = self._job.learning_rate * self._clock.rate()
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        place = Place()
        for number in range(count):
            place, batch = next(coming)
            self._fresh += batch.tokens
            if number + 1 < count:
                with self._accelerator.no_sync(wrapped):
                    self._backward(wrapped, batch, count)
            else:
                self._backward(wrapped, batch, count)
        torch.nn.utils.clip_grad_norm_(self._objective.parameters(), self._settings.clip)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return place

    def _backward(self, wrapped: torch.nn.Module, batch: Batch, count: int) -> None:
        if self._settings.dropout:  # drawn from the step, so that a training that was taken up draws the same
            torch.manual_seed(hash((self._settings.seed, self._state.step, self._accelerator.process_index)))
        losses = wrapped(batch.to(self._accelerator.device))
        self._accelerator.backward(losses.sum() / count)
        self._losses[:2] += losses.detach()
        self._losses[2] += 1

    def _due(self, every: int | None, now: float) -> bool:
        if every is not None:
            return self._state.step % every == 0
        affordable = self._state.measuring + self._clock.reserve / self._cost <= EVALUATION_SHARE * self._clock.seconds
        return passed(self._state.evaluated, now, CADENCE) and affordable

    def _every(self, every: int | None, otherwise: bool) -> bool:
        return otherwise if every is None else self._state.step % every == 0

    def _log(self, bar: Bar | None) -> None:
        """Write a line about what has been learned since the last one. All processes have a part in it.

        Raises:
            UserError: the loss is no number any more.
        """
        sums = torch.cat([self._losses, self._losses.new_tensor([float(self._fresh)])])
        mlm, nsp, count, fresh = (float(value) for value in self._accelerator.reduce(sums, "sum"))
        self._losses.zero_()
        self._fresh = 0
        self._state = self._state._replace(tokens=self._state.tokens + int(fresh))
        if not math.isfinite(mlm + nsp):
            raise UserError(f"the loss is no number at step {self._state.step}; lower --learning-rate")
        if not bar:
            return
        said: dict[str, float] = {"mlm": mlm / count} | ({"nsp": nsp / count} if self._job.nsp else {})
        self._write({name: round(value, 6) for name, value in said.items()} | {"learning_rate": self._rate()})
        figures = ", ".join(f"{name.upper()} {value:.3f}" for name, value in said.items())
        bar.revise(f"pretrain ({figures})", round(self._state.tokens / max(self._clock.progress, 1e-9)))
        bar.advance(int(fresh))

    def _rate(self) -> float:
        return float(self._optimizer.param_groups[0]["lr"])

    def _measure(self) -> None:
        """Measure on a sample of the held-out documents, on the first process."""
        started = self._clock.seconds
        if self._accelerator.is_main_process:
            figures = self._job.watch.measure(
                self._objective, self._accelerator.device, everything=False, autocast=self._accelerator.autocast
            )
            self._write(
                {
                    f"held_out_{name}": round(value, 6)
                    for name, value in figures.model_dump().items()
                    if value is not None
                }
            )
            nsp = "" if figures.nsp_accuracy is None else f", NSP accuracy {figures.nsp_accuracy:.3f}"
            say(
                f"step {self._state.step:,}, held out: MLM {figures.mlm_loss:.3f} "
                f"({figures.mlm_loss - figures.unigram_loss:+.3f} to unigrams){nsp}"
            )
        self._clock.tick(self._state.step)
        took = self._clock.seconds - started
        self._clock.reserve = took * self._cost  # what measuring everything at the end will take
        self._state = self._state._replace(evaluated=self._clock.progress, measuring=self._state.measuring + took)

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


def optimizer(model: torch.nn.Module, settings: PretrainSettings, rate: float) -> torch.optim.Optimizer:
    """Return the optimizer of all weights that learn; only matrices decay."""
    learning = [weight for weight in model.parameters() if weight.requires_grad]
    groups = [
        {"params": [weight for weight in learning if weight.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [weight for weight in learning if weight.ndim < 2], "weight_decay": 0.0},
    ]
    kind = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, lr=rate, betas=(0.9, 0.98), eps=1e-6, fused=True)


def passed(before: float, now: float, parts: int) -> bool:
    """Say whether progress has gone from one to another of so many equal parts of the training."""
    return math.floor(now * parts + 1e-9) > math.floor(before * parts + 1e-9)


def _cut_log(path: Path, step: int) -> None:
    """Leave in the log what belongs to the checkpoint that is taken up."""
    kept = [line for line in read_log(path) if step and line["step"] <= step]
    partial = path.with_name(f".{path.name}")
    partial.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
    partial.replace(path)
