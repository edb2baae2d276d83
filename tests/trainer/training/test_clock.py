"""Durations, the progress of a training by steps and by the clock, and the schedule that follows it."""

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
    """Budgets are written in the usual forms: 90s, 10m, 1h30m, or a number of seconds."""
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
    """Return a list whose first item is the present time."""
    wall = [1000.0]
    monkeypatch.setattr(trainer.training.clock.time, "monotonic", lambda: wall[0])
    return wall


def start_clock(total: int, budget: float | None = None, warmup: float = 0.1, seconds: float = 0.0) -> Clock:
    """Return a running clock."""
    clock = Clock(budget, warmup)
    clock.total = total
    clock.start(0, seconds)
    return clock


def test_by_steps_the_rate_rises_and_falls_to_zero(now: list[float]) -> None:
    """Warm-up over its share, then a linear decay to 0; neither the first step nor the last has a rate of 0."""
    clock = start_clock(100)
    rates = []
    for step in range(100):
        now[0] += 5
        clock.tick(step)
        rates.append(clock.rate_factor())
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert 0 < rates[0] < 0.1
    assert 0 < rates[-1] < 0.01
    assert max(rates) > 0.95
    assert not clock.spent


def test_by_the_clock_the_rate_ends_with_the_budget(now: list[float]) -> None:
    """The rate reaches zero at the end of the budget, even where steps take ten times as long as expected."""
    clock = start_clock(1000, budget=100)
    seen = {}
    for step in range(1, 11):
        now[0] += 10
        clock.tick(step)
        seen[step] = clock.rate_factor()
    assert seen[5] == pytest.approx(0.5 / 0.9)
    assert seen[10] == 0
    assert clock.spent
    assert clock.progress == 1


def test_whichever_is_further_counts(now: list[float]) -> None:
    """Progress is that of the steps or that of the time, whichever is further."""
    clock = start_clock(10, budget=100)
    now[0] += 10
    clock.tick(5)
    assert clock.progress == 0.5
    now[0] += 60
    clock.tick(6)
    assert clock.progress == pytest.approx(0.7)


def test_the_last_evaluation_is_within_the_budget(now: list[float]) -> None:
    """The steps end early enough for the evaluation that follows them."""
    clock = start_clock(1000, budget=100)
    clock.reserve = 20
    now[0] += 78
    clock.tick(1)
    now[0] += 1
    clock.tick(2)
    assert not clock.spent
    now[0] += 1
    clock.tick(3)
    assert clock.spent


def test_an_evaluation_never_takes_the_whole_budget(now: list[float]) -> None:
    """However slow the evaluation, half of the budget is for learning."""
    clock = start_clock(1000, budget=100)
    clock.reserve = 500
    now[0] += 10
    clock.tick(1)
    now[0] += 10
    clock.tick(2)
    assert not clock.spent


def test_time_before_a_kill_counts(now: list[float]) -> None:
    """A training that was killed does not get its budget anew."""
    clock = start_clock(1000, budget=100, seconds=95)
    now[0] += 6
    clock.tick(1)
    assert clock.seconds == 101
    assert clock.spent


def test_expected_steps_follow_the_pace(now: list[float]) -> None:
    """The bar's total is the number of steps that the budget allows, not that of the epochs."""
    clock = start_clock(1000, budget=100)
    now[0] += 10
    clock.tick(5)
    assert clock.expected_steps() == 50


def simulate(schedule: Schedule, clock: Clock, now: list[float], steps: int, seconds: float) -> dict[str, list[int]]:
    """Simulate a training of ``steps`` steps of ``seconds`` each; return the steps of each event."""
    arguments = TrainingArguments(output_dir="unused", use_cpu=True)
    state = TrainerState(max_steps=steps)
    events: dict[str, list[int]] = {"log": [], "evaluate": [], "save": [], "stop": []}
    schedule.on_train_begin(arguments, state, TrainerControl())
    for step in range(1, steps + 1):
        control = TrainerControl()
        now[0] += seconds
        schedule.on_optimizer_step(arguments, state, control)
        state.global_step = step
        schedule.on_step_end(arguments, state, control)
        for name, decided in (("log", control.should_log), ("evaluate", control.should_evaluate)):
            if decided:
                events[name].append(step)
        if control.should_evaluate:
            now[0] += 1
            schedule.on_evaluate(arguments, state, control)
        if control.should_save:
            events["save"].append(step)
        if control.should_training_stop:
            events["stop"].append(step)
            break
    assert clock.step == state.global_step
    return events


def test_ten_evaluations_each_saved(now: list[float]) -> None:
    """Every evaluated step is saved, because it may be the best; the last step is evaluated."""
    clock = Clock(None, 0.1)
    schedule = Schedule(clock, seconds=0, evaluates=True, eval_steps=None, save_steps=None)
    events = simulate(schedule, clock, now, 100, 30)
    assert events["evaluate"] == [10, 20, 30, 40, 50, 60, 70, 80, 90, 100]
    assert set(events["evaluate"]) <= set(events["save"])
    assert events["log"] == list(range(1, 101))
    assert events["stop"] == [100]


def test_evaluations_take_a_fifth_of_the_time_at_most(now: list[float]) -> None:
    """Where one evaluation takes as long as ten steps, there are fewer evaluations, but still one at the end."""
    clock = Clock(None, 0.1)
    schedule = Schedule(clock, seconds=0, evaluates=True, eval_steps=None, save_steps=None)
    evaluated = simulate(schedule, clock, now, 100, 0.1)["evaluate"]
    assert evaluated[-1] == 100
    assert len(evaluated) <= 4


def test_chosen_steps(now: list[float]) -> None:
    """`--eval-steps` and `--save-steps` are obeyed, whatever they cost."""
    clock = Clock(None, 0.1)
    schedule = Schedule(clock, seconds=0, evaluates=True, eval_steps=4, save_steps=5)
    events = simulate(schedule, clock, now, 10, 0.01)
    assert events["evaluate"] == [4, 8, 10]
    assert events["save"] == [4, 5, 8, 10]


def test_a_checkpoint_every_ten_minutes(now: list[float]) -> None:
    """A kill costs a training of days ten minutes at most, not a tenth of its time."""
    clock = Clock(None, 0.1)
    schedule = Schedule(clock, seconds=0, evaluates=False, eval_steps=None, save_steps=None)
    events = simulate(schedule, clock, now, 1000, 60)
    assert events["save"][:3] == [10, 20, 30]
    assert events["evaluate"] == []


@pytest.mark.parametrize(("seconds", "steps"), [(3, 3), (4, 2), (6, 2), (30, 1)])
def test_the_budget_stops_after_a_whole_step(now: list[float], seconds: float, steps: int) -> None:
    """Steps are never interrupted: the training ends after the step whose end is nearest to ten seconds."""
    clock = Clock(10, 0.1)
    schedule = Schedule(clock, seconds=0, evaluates=True, eval_steps=1000, save_steps=1000)
    events = simulate(schedule, clock, now, 1000, seconds)
    assert events == {"log": list(range(1, steps + 1)), "evaluate": [steps], "save": [steps], "stop": [steps]}
