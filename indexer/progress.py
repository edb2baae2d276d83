"""Progress with rate and ETA: a live bar on a terminal, elsewhere a plain line every ten seconds.

Everything goes to stderr: the output of a command can be piped.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

LOG_EVERY_SECONDS = 10.0

_silent = False


def say(message: str) -> None:
    """Print one line of progress to stderr, unless within `quiet`."""
    if not _silent:
        sys.stderr.write(message + "\n")
        sys.stderr.flush()


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress progress, for the steps of work that is itself one step."""
    global _silent  # noqa: PLW0603 - a program has one stderr
    previous, _silent = _silent, True
    try:
        yield
    finally:
        _silent = previous


def format_duration(seconds: float) -> str:
    """Format a duration for people: ``0.4 s``, ``12 s``, ``3:07 min``, ``1:02 h``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes, remainder = divmod(round(seconds), 60)
    if minutes < 100:
        return f"{minutes}:{remainder:02d} min"
    return f"{minutes // 60}:{minutes % 60:02d} h"


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Print the name of a stage when it starts and its duration when it has succeeded."""
    say(f"{name} …")
    started = time.monotonic()
    yield
    say(f"{name}: done in {format_duration(time.monotonic() - started)}")


class Bar:
    """A progress bar over ``total`` units; ``None`` where the total is not known.

    Use as a context manager and call `advance` with the number of finished units.
    """

    def __init__(self, name: str, total: int | None, unit: str) -> None:
        self.name = name
        self.total = total
        self.unit = unit
        self.done = self._skipped = 0
        self._more: dict[str, float] = {}
        self._started = self._logged = time.monotonic()
        self._live: Progress | None = None
        console = Console(stderr=True)
        if console.is_terminal and not _silent:
            self._live = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
                console=console,
                transient=True,
            )
            self._task = self._live.add_task(name, total=total, rate="")

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live:
            self._live.stop()
        if kind is None:
            elapsed = time.monotonic() - self._started
            say(f"{self.name}: {self.done:,} {self.unit} in {format_duration(elapsed)} ({self._rate()})")

    def skip(self, units: int, **more: float) -> None:
        """Record that ``units`` were done before, by a run that was interrupted: they do not count for the rate."""
        self._skipped += units
        self.advance(units, **dict.fromkeys(more, 0.0))

    def advance(self, units: int, **more: float) -> None:
        """Record that ``units`` more units are done; ``more`` names what else is counted, such as passages or MB."""
        self.done += units
        for unit, count in more.items():
            self._more[unit] = self._more.get(unit, 0.0) + count
        if self._live:
            self._live.update(self._task, advance=units, rate=self._rate())
        elif time.monotonic() - self._logged > LOG_EVERY_SECONDS:
            self._logged = time.monotonic()
            say(self._line())

    def note(self, name: str) -> None:
        """Show progress within a unit: the line gets ``name``, now or when the next line is due."""
        self.name = name
        if self._live:
            self._live.update(self._task, description=name)
        self.advance(0)

    def revise(self, name: str, total: int | None) -> None:
        """Change the name, for instance to one with the newest result, and the total, where the work has another size."""
        self.name, self.total = name, total
        if self._live:
            self._live.update(self._task, description=name, total=total)

    def _rate(self) -> str:
        elapsed = max(time.monotonic() - self._started, 1e-6)
        counts = {self.unit: float(self.done - self._skipped)} | self._more
        return ", ".join(
            f"{count / elapsed:,.0f} {unit}/s" if count / elapsed >= 10 else f"{count / elapsed:.2g} {unit}/s"
            for unit, count in counts.items()
        )

    def _line(self) -> str:
        done = self.done - self._skipped
        if not self.total or not done:
            return f"{self.name}: {self.done:,} {self.unit}, {self._rate()}"
        remaining = (time.monotonic() - self._started) / done * (self.total - self.done)
        share = self.done / self.total
        return (
            f"{self.name}: {self.done:,} of {self.total:,} {self.unit} ({share:.0%}), "
            f"{self._rate()}, {format_duration(remaining)} left"
        )
