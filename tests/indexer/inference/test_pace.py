"""Which of two ways is taken, by the times that both have shown."""

from __future__ import annotations

from indexer.inference.pace import KEPT, PROBE_EVERY, Pace


def run(pace: Pace, calls: int, *, preferred: float, other: float) -> list[bool]:
    """Let ``pace`` choose for so many calls, which take this many seconds in each way; return what it chose."""
    chosen = []
    for _ in range(calls):
        way = pace.prefer()
        pace.add(preferred if way else other, preferred=way)
        chosen.append(way)
    return chosen


def test_both_are_tried_and_then_the_faster_one_is_taken() -> None:
    """At first nothing is known of either."""
    pace = Pace()
    assert run(pace, 2 * KEPT, preferred=1.0, other=2.0) == [True] * KEPT + [False] * KEPT
    assert all(run(pace, PROBE_EVERY - 1, preferred=1.0, other=2.0))


def test_the_slower_one_is_tried_now_and_then() -> None:
    """Else nobody would notice that it has become the faster one."""
    pace = Pace()
    run(pace, 2 * KEPT, preferred=3.0, other=2.0)
    assert run(pace, 2 * PROBE_EVERY, preferred=3.0, other=2.0).count(True) == 2


def test_another_program_that_comes_and_goes_changes_the_choice() -> None:
    """The preferred way becomes slow, and fast again: the choice follows within a few calls, and within a few probes."""
    pace = Pace()
    run(pace, 100, preferred=1.0, other=1.5)
    assert sum(run(pace, PROBE_EVERY, preferred=4.0, other=1.6)[KEPT:]) <= 1
    run(pace, KEPT * PROBE_EVERY, preferred=1.0, other=1.5)
    assert sum(run(pace, PROBE_EVERY, preferred=1.0, other=1.5)) == PROBE_EVERY - 1


def test_one_interrupted_call_changes_nothing() -> None:
    """The median of the last calls counts, and not the last one."""
    pace = Pace()
    run(pace, 50, preferred=1.0, other=1.5)
    pace.add(100.0, preferred=True)
    assert pace.prefer()
