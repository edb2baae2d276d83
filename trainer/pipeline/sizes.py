"""How many queries a run works with: fewer where it has little time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

FULL = 180.0
"""Seconds of budget from which nothing is saved on."""


@dataclass(frozen=True)
class Sizes:
    """Numbers of queries.

    Attributes:
        practice: to learn from; more than 6,000 gave little (DECISIONS.md), and each costs an encoding and a search.
        dev: to choose by, where there are no labels.
        keywords: of the exam, where there are no labels.
        clozes: sentences of the exam; each makes two queries.
    """

    practice: int = 6_000
    dev: int = 800
    keywords: int = 1_200
    clozes: int = 300

    @classmethod
    def within(cls, budget: float) -> Self:
        """Return what fits into a budget in seconds."""
        share = min(1.0, budget / FULL)
        return cls(
            practice=max(int(6_000 * share**2), 1_000),  # the dearest part, and the one where half does nearly as well
            dev=max(int(800 * share), 200),
            keywords=max(int(1_200 * share), 400),
            clozes=max(int(300 * share), 120),
        )
