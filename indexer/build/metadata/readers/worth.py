"""What the answers of a reader are worth for a column: which value an answer stands for, and how often that is right.

An answer stands for the value beside which it mostly stands: «Ciutadella de Menorca» for Ciutadella. Those are rules as for
runs of words (rules.py), learned and measured in the same way. An answer that no rule knows is taken as it is written, if
such answers are right often enough where no other row has the value.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from indexer.build.metadata.measure import FOLDS, Flags, Measured, judge, measure_rules
from indexer.build.metadata.readers.reader import Said
from indexer.build.metadata.rules import Numbers, Rules, Shares, learn_rules

NONE: Numbers = np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class Worth:
    """Which answers are taken, for which values.

    Attributes:
        values: of the column, as its rows write them.
        answers: number of each answer that was seen, by its words without case.
        rules: numbers of answers → values.
        by_rule: how well they fill cells.
        as_written: how well other answers do.
    """

    values: list[str]
    answers: dict[str, int] = field(default_factory=dict)
    rules: Rules = field(default_factory=lambda: Rules(NONE, NONE, np.empty(0)))
    by_rule: Measured = field(default_factory=lambda: Measured(np.inf, 0.0, 0.0, 0))
    as_written: Measured = field(default_factory=lambda: Measured(np.inf, 0.0, 0.0, 0))

    @property
    def usable(self) -> bool:
        """Whether any answer is taken."""
        return self.by_rule.usable or self.as_written.usable

    def find(self, said: Said | None) -> str | None:
        """Return the value that an answer stands for; None where it is not sure enough."""
        if said is None:
            return None
        value, precision, _ = self.rules.apply(_grams(said, self.answers))
        if value >= 0:
            return self.values[value] if precision >= self.by_rule.least else None
        if said.confidence < self.as_written.least:
            return None
        return self._spellings.get(normal(said.value), said.value)

    @cached_property
    def _spellings(self) -> dict[str, str]:
        return {normal(value): value for value in self.values}


def unmeasured(values: list[str]) -> Worth:
    """Return that every answer is taken as it is written."""
    return Worth(values, as_written=Measured(0.0, 0.0, 0.0, 0))


def measure_answers(
    said: Sequence[Said | None], cells: Sequence[str], min_precision: float, others: Collection[str] = ()
) -> Worth:
    """Learn and measure which answers to take, on rows whose value is known.

    Args:
        said: what the reader says of each row.
        cells: what the row has.
        min_precision: least share of the filled cells that are right.
        others: values of the column in other rows, for their spelling.
    """
    values = sorted({*cells, *others})
    number = {value: place for place, value in enumerate(values)}
    of_rows = np.array([number[cell] for cell in cells], dtype=np.int64)
    answers: dict[str, int] = {}
    for one in said:
        if one is not None:
            answers.setdefault(normal(one.value), len(answers))
    grams = [_grams(one, answers) for one in said]
    rules, by_rule = measure_rules(grams, of_rows, min_precision)
    written = _try_written(said, cells, grams, of_rows, by_rule.least)
    as_written = judge(*written, min_precision)
    return Worth(values, answers, rules, by_rule, as_written)


def _try_written(
    said: Sequence[Said | None],
    cells: Sequence[str],
    grams: Sequence[Numbers],
    of_rows: Numbers,
    least_rule: float,
) -> tuple[Flags, Flags, Shares, Flags]:
    """Take answers as they are written, as if no other row had the value: folds are cut by value.

    Returns:
        Rows that are filled, rows whose answer is right, confidences, and rows that a rule fills wrongly.
    """
    filled, right, by_rule = (np.zeros(len(cells), dtype=bool) for _ in range(3))
    confidences = np.zeros(len(cells))
    for fold in range(FOLDS):
        others = np.flatnonzero(of_rows % FOLDS != fold)
        rules = learn_rules([grams[row] for row in others.tolist()], of_rows[others])
        for row in np.flatnonzero(of_rows % FOLDS == fold).tolist():
            one = said[row]
            if one is None:
                continue
            value, precision, _ = rules.apply(grams[row])
            by_rule[row] = value >= 0 and precision >= least_rule
            filled[row] = value < 0
            right[row] = normal(one.value) == normal(cells[row])
            confidences[row] = one.confidence
    return filled, right, confidences, by_rule


def normal(value: str) -> str:
    """Return a value without case and more than one blank, for comparing."""
    return " ".join(value.casefold().split())


def _grams(said: Said | None, answers: dict[str, int]) -> Numbers:
    place = None if said is None else answers.get(normal(said.value))
    return NONE if place is None else np.array([place], dtype=np.int64)
