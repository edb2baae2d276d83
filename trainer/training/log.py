"""Log of a training while it runs: a progress bar with rate and ETA, and one JSON line per loss and evaluation.

{"step": 12, "seconds": 8.4, "loss": 0.4127, "learning_rate": 1.8e-05}
{"step": 20, "seconds": 13.9, "dev": 0.7312}
"""

# ruff: noqa: ARG002 - transformers passes every callback all arguments

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from indexer.errors import UserError
from indexer.progress import Bar, say
from trainer.training.clock import Clock

LOG = "log.jsonl"


class DevScores(NamedTuple):
    """The dev metric of the weights that training started from, and its best value; None without a dev split."""

    start: float | None
    best: float | None


def read_log(path: Path) -> list[dict[str, float]]:
    """Return the lines of a training log. A last line that a kill cut off is left out."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return lines


def dev_scores(log: list[dict[str, float]]) -> DevScores:
    """Return the dev metric before the first step, and its best value after it."""
    dev = [(int(line["step"]), line["dev"]) for line in log if "dev" in line]
    trained = [value for step, value in dev if step]
    return DevScores(dev[0][1] if dev and not dev[0][0] else None, max(trained) if trained else None)


class TrainingLog(TrainerCallback):
    """Callback that writes the log and advances the bar, on the first of several processes only.

    Args:
        name: title of the bar.
        path: the log. Lines of steps after the checkpoint that is resumed from are dropped.
        clock: the clock of the training.
        metric: the key of the dev metric; None without a dev split.
        step: the step that the training resumes from.
    """

    def __init__(self, name: str, path: Path, clock: Clock, metric: str | None, step: int) -> None:
        self._name = name
        self._path = path
        self._clock = clock
        self._metric = metric
        self._from = step
        self._loss: float | None = None
        self._bar: Bar | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Open the log and the bar."""
        if not state.is_world_process_zero:
            return
        kept = [line for line in read_log(self._path) if self._from and line["step"] <= self._from]
        partial = self._path.with_name(f".{self._path.name}")
        partial.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
        partial.replace(self._path)
        self._bar = Bar(self._name, state.max_steps - state.global_step, "steps").__enter__()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Advance the bar."""
        if self._bar:
            title = self._name if self._loss is None else f"{self._name} (loss {self._loss:.4g})"
            self._bar.revise(title, self._clock.expected_steps() - self._from)
            self._bar.advance(1)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Write the loss.

        Raises:
            UserError: the loss is not finite; nothing is learned from then on.
        """
        if not logs or "loss" not in logs:
            return
        self._loss = logs["loss"]
        if not math.isfinite(self._loss):
            self.close()
            raise UserError(f"the loss is not a number at step {state.global_step}; lower --learning-rate")
        self._write(state.global_step, loss=round(self._loss, 6), learning_rate=logs["learning_rate"])

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Log and print the dev metric."""
        if self._bar and metrics and self._metric:
            value = float(metrics[self._metric])
            self._write(state.global_step, dev=round(value, 6))
            say(f"step {state.global_step:,}: dev {value:.4f}")

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Close the bar."""
        self.close()

    def close(self) -> None:
        """Close the bar, whether the training ended or failed."""
        if self._bar:
            self._bar.__exit__(None, None, None)
            self._bar = None

    def _write(self, step: int, **values: float) -> None:
        if self._bar:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, "seconds": round(self._clock.seconds, 3), **values}) + "\n")
