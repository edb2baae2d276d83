"""Progress of a training, by steps or by the clock; and the schedule of logs, evaluations and checkpoints.

A budget of time holds where a number of steps does not: the machine may be busy, or the texts longer than expected.
Warm-up and decay of the learning rate therefore follow ``max(steps done / all steps, time gone / budget)``. The rate
reaches zero when the budget ends, and the decay is never cut off (Geiping and Goldstein 2022,
https://arxiv.org/abs/2212.14034).
"""

# ruff: noqa: ARG002 - transformers passes every callback all arguments

from __future__ import annotations

import math
import time
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

CADENCE = 10
"""Evaluations, and checkpoints, of one training where the operator gives no number of steps."""
LOG_POINTS = 500
"""Lines of the log with a loss, in one training."""
SAVE_SECONDS = 600.0
"""Longest time between checkpoints: a killed training loses at most this much."""
EVALUATION_SHARE = 0.2
"""Largest share of the elapsed time that evaluations take, unless the operator chose their steps."""


class Clock:
    """Steps and seconds of one training, equal on all processes.

    Args:
        budget: seconds that the training may take; None for as long as its steps take.
        warmup: share of the training in which the learning rate rises, 0 to 1.
    """

    def __init__(self, budget: float | None, warmup: float) -> None:
        self.budget = budget
        self.warmup = warmup
        self.total = 1
        self.step = 0
        self.seconds = 0.0
        self.reserve = 0.0
        """Seconds that the last evaluation will take; the steps end this much before the budget does."""
        self.pace = 0.0
        """Seconds that the last step took."""
        self._origin = time.monotonic()

    def start(self, step: int, seconds: float) -> None:
        """Start, or resume a training that had done ``step`` steps in ``seconds``."""
        self._origin = time.monotonic() - seconds
        self.step = step
        self.tick(step)

    def tick(self, step: int) -> None:
        """Record that ``step`` steps are done now. All processes use the clock of the first one."""
        before = self.seconds
        self.seconds = time.monotonic() - self._origin
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            device = "cuda" if torch.distributed.get_backend() == "nccl" else "cpu"
            seconds = torch.tensor([self.seconds], dtype=torch.float64, device=device)
            torch.distributed.broadcast(seconds, src=0)
            self.seconds = float(seconds.item())
        if step > self.step:
            self.pace = self.seconds - before
        self.step = step

    @property
    def time_share(self) -> float:
        """The share of the budget that is spent, 0 to 1; 0 without a budget."""
        if self.budget is None:
            return 0.0
        return min(self.seconds / self._step_budget(self.budget), 1.0)

    def _step_budget(self, budget: float) -> float:
        """Return the seconds for steps: at least half of the budget, however long an evaluation takes."""
        return max(budget - self.reserve, budget / 2)

    @property
    def progress(self) -> float:
        """How much of the training is done, 0 to 1."""
        return min(max(self.step / self.total, self.time_share), 1.0)

    @property
    def spent(self) -> bool:
        """Whether the budget is spent.

        It counts as spent, too, where one more step would miss its end by more than stopping now does.
        """
        return self.budget is not None and self.seconds + self.pace / 2 >= self._step_budget(self.budget)

    def rate_factor(self) -> float:
        """Return the factor on the learning rate for the next step: a linear warm-up, then a linear decay to 0.

        It is computed for the middle of the step: neither the first step nor the last has a rate of 0.
        """
        progress = min(max((self.step + 0.5) / self.total, self.time_share), 1.0)
        if progress < self.warmup:
            return progress / self.warmup
        return (1 - progress) / (1 - self.warmup) if self.warmup < 1 else 1.0

    def expected_steps(self) -> int:
        """Return the estimated number of steps of the whole training."""
        return min(self.total, max(round(self.step / max(self.progress, 1e-9)), self.step))


class Schedule(TrainerCallback):
    """Callback that decides after every step whether to log, to evaluate, to save and to stop.

    Args:
        clock: the clock that this callback advances.
        seconds: time of the training before it was resumed.
        evaluates: whether there is a dev split to evaluate on.
        eval_steps: steps between evaluations; None for ten in the whole training.
        save_steps: steps between checkpoints; None for ten in the whole training, or ten minutes.
    """

    def __init__(
        self, clock: Clock, *, seconds: float, evaluates: bool, eval_steps: int | None, save_steps: int | None
    ) -> None:
        self.clock = clock
        self.evaluates = evaluates
        self._before = seconds
        self._eval_steps = eval_steps
        self._save_steps = save_steps
        self._logged = self._evaluated = self._saved = 0.0  # progress at the last of each
        self._saved_at = seconds
        self._evaluations = 0.0  # seconds

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the clock."""
        self.clock.total = max(state.max_steps, 1)
        self.clock.start(state.global_step, self._before)
        self._logged = self._evaluated = self._saved = self.clock.progress

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Advance the clock before the learning-rate schedule reads it."""
        self.clock.tick(state.global_step + 1)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Decide what happens after the step."""
        clock = self.clock
        control.should_training_stop |= clock.spent or state.global_step >= state.max_steps
        last = control.should_training_stop
        if last or self._passed(self._logged, LOG_POINTS):
            control.should_log = True
            self._logged = clock.progress
        if self.evaluates and (last or self._evaluation_due(state.global_step)):
            control.should_evaluate = True
            self._evaluated = clock.progress
        # Evaluated weights are saved, because the best of them are loaded at the end.
        if control.should_evaluate or last or self._save_due(state.global_step):
            control.should_save = True
            self._saved, self._saved_at = clock.progress, clock.seconds

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Record how long the evaluation took."""
        before = self.clock.seconds
        self.clock.tick(state.global_step)
        self.clock.reserve = self.clock.seconds - before
        self._evaluations += self.clock.reserve

    def _evaluation_due(self, step: int) -> bool:
        if self._eval_steps is not None:
            return step % self._eval_steps == 0
        affordable = self._evaluations + self.clock.reserve <= EVALUATION_SHARE * self.clock.seconds
        return affordable and self._passed(self._evaluated, CADENCE)

    def _save_due(self, step: int) -> bool:
        if self._save_steps is not None:
            return step % self._save_steps == 0
        unsaved = self.clock.seconds - self._saved_at
        return self._passed(self._saved, CADENCE) or unsaved >= SAVE_SECONDS

    def _passed(self, before: float, parts: int) -> bool:
        """Return whether progress has crossed a boundary between ``parts`` equal parts of the training."""
        return math.floor(self.clock.progress * parts + 1e-9) > math.floor(before * parts + 1e-9)
