"""Durations, the progress of a training by steps and by the clock, and what follows from it."""

from __future__ import annotations

import pytest
from pydantic import ValidationError
from transformers import TrainerControl, TrainerState, TrainingArguments

import trainer.training.clock
from trainer.finetune.settings import FinetuneSettings
from trainer.training.clock import Clock, Schedule
from trainer.training.settings import parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("10m", 600),
        ("1h", 3600),
        ("1h30m", 5400),
        ("600", 600),
        (" 1.5H ", 5400),
        ("2d", 172_800),
        (45, 45),
    ],
)
def test_durations(text: str | float, seconds: float) -> None:
    """Budgets are written as people write them."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "ten minutes", "10 m s", "5x", "-3m", "0", "0s", "m", "1h 30"])
def test_what_is_no_duration(text: str) -> None:
    """A budget that is not understood is refused, with an example of one that is."""
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)
    with pytest.raises(ValidationError, match="duration"):
        FinetuneSettings(budget=text)


def test_the_budget_of_the_settings() -> None:
    """Settings take a duration as text or as a number and give seconds."""
    assert FinetuneSettings().budget_seconds is None
    assert FinetuneSettings(budget="2m").budget_seconds == 120
    assert FinetuneSettings(budget=90).budget_seconds == 90


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return a list whose first item is what the clock on the wall says."""
    wall = [1000.0]
    monkeypatch.setattr(trainer.training.clock.time, "monotonic", lambda: wall[0])
    return wall


def started(total: int, budget: float | None = None, warmup: float = 0.1, seconds: float = 0.0) -> Clock:
    """Return a running clock."""
    clock = Clock(budget, warmup)
    clock.total = total
    clock.start(0, seconds)
    return clock


def test_by_steps_the_rate_rises_and_falls_to_zero(now: list[float]) -> None:
    """Warm-up over its share, then linear to 0, and neither the first step nor the last is done for nothing."""
    clock = started(100)
    rates = []
    for step in range(100):
        now[0] += 5
        clock.tick(step)
        rates.append(clock.rate())
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert 0 < rates[0] < 0.1
    assert 0 < rates[-1] < 0.01
    assert max(rates) > 0.95
    assert not clock.over


def test_by_the_clock_the_rate_ends_with_the_budget(now: list[float]) -> None:
    """Steps that take ten times as long as thought end with a rate of zero all the same, at the end of the budget."""
    clock = started(1000, budget=100)
    seen = {}
    for step in range(1, 11):
        now[0] += 10
        clock.tick(step)
        seen[step] = clock.rate()
    assert seen[5] == pytest.approx(0.5 / 0.9)
    assert seen[10] == 0
    assert clock.over
    assert clock.progress == 1


def test_whichever_is_further_counts(now: list[float]) -> None:
    """With more time than steps the steps decide, with less the time."""
    clock = started(10, budget=100)
    now[0] += 10
    clock.tick(5)
    assert clock.progress == 0.5
    now[0] += 60
    clock.tick(6)
    assert clock.progress == pytest.approx(0.7)


def test_the_last_evaluation_is_within_the_budget(now: list[float]) -> None:
    """The steps end early enough for the evaluation that follows them."""
    clock = started(1000, budget=100)
    clock.reserve = 20
    now[0] += 78
    clock.tick(1)
    now[0] += 1
    clock.tick(2)
    assert not clock.over
    now[0] += 1
    clock.tick(3)
    assert clock.over


def test_an_evaluation_never_takes_the_whole_budget(now: list[float]) -> None:
    """However slow the evaluation, half of the budget is for learning."""
    clock = started(1000, budget=100)
    clock.reserve = 500
    now[0] += 10
    clock.tick(1)
    now[0] += 10
    clock.tick(2)
    assert not clock.over


def test_time_before_a_kill_counts(now: list[float]) -> None:
    """A training that was killed does not get its budget anew."""
    clock = started(1000, budget=100, seconds=95)
    now[0] += 6
    clock.tick(1)
    assert clock.seconds == 101
    assert clock.over


def test_expected_steps_follow_the_pace(now: list[float]) -> None:
    """The bar's total is what the budget allows, not what the epochs would want."""
    clock = started(1000, budget=100)
    now[0] += 10
    clock.tick(5)
    assert clock.expected_steps() == 50


def follow(schedule: Schedule, clock: Clock, now: list[float], steps: int, seconds: float) -> dict[str, list[int]]:
    """Play a training of ``steps`` steps, each of so many seconds; return at which steps what happened."""
    arguments = TrainingArguments(output_dir="unused", use_cpu=True)
    state = TrainerState(max_steps=steps)
    happened: dict[str, list[int]] = {"log": [], "evaluate": [], "save": [], "stop": []}
    schedule.on_train_begin(arguments, state, TrainerControl())
    for step in range(1, steps + 1):
        control = TrainerControl()
        now[0] += seconds
        schedule.on_optimizer_step(arguments, state, control)
        state.global_step = step
        schedule.on_step_end(arguments, state, control)
        for name, told in (("log", control.should_log), ("evaluate", control.should_evaluate)):
            if told:
                happened[name].append(step)
        if control.should_evaluate:
            now[0] += 1
            schedule.on_evaluate(arguments, state, control)
        if control.should_save:
            happened["save"].append(step)
        if control.should_training_stop:
            happened["stop"].append(step)
            break
    assert clock.step == state.global_step
    return happened


def test_ten_evaluations_each_saved(now: list[float]) -> None:
    """Nothing is evaluated that could not be taken up as the best, and the last step is."""
    clock = Clock(None, 0.1)
    schedule = Schedule(clock, seconds=0, evaluates=True, eval_steps=None, save_steps=None)
    happened = follow(schedule, clock, now, 100, 30)
    assert happened["evaluate"] == [10, 20, 30, 40, 50, 60, 70, 80, 90, 100]
    assert set(happened["evaluate"]) <= set(happened["save"])
    assert happened["log"] == list(range(1, 101))
    assert happened["stop"] == [100]


def test_evaluations_take_a_fifth_of_the_time_at_most(now: list[float]) -> None:
    """Where one evaluation takes as long as ten steps there are fewer of them, but one at the end."""
    clock = Clock(None, 0.1)
    schedule = Schedule(clock, seconds=0, evaluates=True, eval_steps=None, save_steps=None)
    evaluated = follow(schedule, clock, now, 100, 0.1)["evaluate"]
    assert evaluated[-1] == 100
    assert len(evaluated) <= 4


def test_chosen_steps(now: list[float]) -> None:
    """`--eval-steps` and `--save-steps` are kept to, whatever they cost."""
    clock = Clock(None, 0.1)
    schedule = Schedule(clock, seconds=0, evaluates=True, eval_steps=4, save_steps=5)
    happened = follow(schedule, clock, now, 10, 0.01)
    assert happened["evaluate"] == [4, 8, 10]
    assert happened["save"] == [4, 5, 8, 10]


def test_a_checkpoint_every_ten_minutes(now: list[float]) -> None:
    """A training of days loses ten minutes by a kill, not a tenth of itself."""
    clock = Clock(None, 0.1)
    schedule = Schedule(clock, seconds=0, evaluates=False, eval_steps=None, save_steps=None)
    happened = follow(schedule, clock, now, 1000, 60)
    assert happened["save"][:3] == [10, 20, 30]
    assert happened["evaluate"] == []


@pytest.mark.parametrize(("seconds", "steps"), [(3, 3), (4, 2), (6, 2), (30, 1)])
def test_the_budget_stops_after_a_whole_step(now: list[float], seconds: float, steps: int) -> None:
    """No step is broken off: what comes nearer to ten seconds, one step fewer or more, is done, evaluated and saved."""
    clock = Clock(10, 0.1)
    schedule = Schedule(clock, seconds=0, evaluates=True, eval_steps=1000, save_steps=1000)
    happened = follow(schedule, clock, now, 1000, seconds)
    assert happened == {"log": list(range(1, steps + 1)), "evaluate": [steps], "save": [steps], "stop": [steps]}
