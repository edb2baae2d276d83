"""Precision and recall with which the cells of a column are filled, measured on rows that were not learned from.

The rows with a value are cut into five folds; the rules of four fill the fifth. What is filled so chooses how precise a
rule must be: so that the share of right cells is above the wanted one with a certainty of 99 %. The figures that are said
are of each half of the rows with what the other half has chosen. What is used is learned from
four folds as well: with more rows the same words seem more precise. Contexts are for values that no other row has: their
folds are cut by value, and no value of a fold is learned from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from indexer.build.metadata.contexts import Contexts, Words, learn_contexts
from indexer.build.metadata.grams import Grams
from indexer.build.metadata.rules import Numbers, Rules, Shares, learn_rules, lower_bound

Flags = npt.NDArray[np.bool_]

FOLDS = 5
CERTAINTY = 2.33
"""Standard errors by which the share of right cells has to be above the wanted one: one side of 99 %."""


@dataclass(frozen=True)
class Measured:
    """How well cells are filled in one of the two ways.

    Attributes:
        least: precision that a rule or a context must have; above 1 where none is precise enough: then none is used.
        precision: share of the filled cells that are right.
        recall: share of the rows that are filled rightly.
        rows: how many have a value.
    """

    least: float
    precision: float
    recall: float
    rows: int

    @property
    def usable(self) -> bool:
        """Whether any cell can be filled."""
        return self.least <= 1


def measure_rules(documents: Sequence[Grams], values: Numbers, min_precision: float) -> tuple[Rules, Measured]:
    """Learn rules and choose how precise one has to be for ``min_precision`` of the filled cells to be right.

    Args:
        documents: the runs of words of rows whose value is known.
        values: the number of each one's value, shape (len(documents),).
        min_precision: least share of the filled cells that are right.
    """
    given, precisions = _fill_folds(documents, values)
    found = judge(given >= 0, given == values, precisions, np.zeros(len(values), dtype=bool), min_precision)
    used = np.flatnonzero(np.arange(len(values)) % FOLDS)  # as many rows as ``least`` was chosen for
    return learn_rules([documents[row] for row in used.tolist()], values[used]), found


def measure_contexts(
    texts: Sequence[Sequence[Words]],
    documents: Sequence[Grams],
    names: Sequence[str],
    values: Numbers,
    *,
    least_rule: float,
    min_precision: float,
) -> tuple[Contexts, Measured]:
    """Learn contexts and choose how precise one has to be where a row's value is one that no other row has.

    A rule that fires for such a row is wrong, whatever a context says.

    Args:
        texts: of rows whose value is known.
        documents: their runs of words.
        names: the values.
        values: the number of each row's value among them, shape (len(texts),).
        least_rule: precision that a rule must have.
        min_precision: least share of the filled cells that are right.
    """
    of_rows = [names[value] for value in values.tolist()]
    filled, right, by_rule = (np.zeros(len(values), dtype=bool) for _ in range(3))
    precisions = np.zeros(len(values))
    for fold in range(FOLDS):
        others = np.flatnonzero(values % FOLDS != fold)
        if not len(others):
            continue
        rules = learn_rules([documents[row] for row in others.tolist()], values[others])
        contexts = learn_contexts([texts[row] for row in others.tolist()], [of_rows[row] for row in others.tolist()])
        for row in np.flatnonzero(values % FOLDS == fold).tolist():
            by_rule[row] = rules.apply(documents[row])[1] >= least_rule
            value, precisions[row] = contexts.apply(texts[row])
            filled[row] = value is not None
            right[row] = filled[row] and (value or "").casefold() == of_rows[row].casefold()
    found = judge(filled, right, precisions, by_rule, min_precision)
    used = np.flatnonzero(values % FOLDS).tolist()
    return learn_contexts([texts[row] for row in used], [of_rows[row] for row in used]), found


def judge(filled: Flags, right: Flags, precisions: Shares, wrong: Flags, min_precision: float) -> Measured:
    """Choose the least precision, and measure what it gives.

    Args:
        filled: rows that get a value.
        right: rows whose value is the right one.
        precisions: of the rule or the context that gives it.
        wrong: rows that get a wrong value in another way.
        min_precision: least share of the filled cells that are right.
    """
    taken, sure = filled & ~wrong, right & filled & ~wrong
    first_half = np.arange(len(right)) // FOLDS % 2 == 0  # in the order of the corpus, each half from all over it
    hits = cells = 0
    for half in (first_half, ~first_half):
        least = _least_precision(sure[taken & ~half], precisions[taken & ~half], min_precision)
        measured = taken & half & (precisions >= least)
        hits += int((sure & measured).sum())
        cells += int(measured.sum()) + (int((wrong & half).sum()) if measured.any() else 0)
    least = _least_precision(sure[taken], precisions[taken], min_precision)
    return Measured(least, hits / max(cells, 1), hits / max(len(right), 1), len(right))


def _fill_folds(documents: Sequence[Grams], values: Numbers) -> tuple[Numbers, Shares]:
    """Return for each row the value that the rules of the other folds give, -1 for none, and the rule's precision."""
    given, precisions = np.full(len(values), -1, dtype=np.int64), np.zeros(len(values))
    folds = np.arange(len(values)) % FOLDS
    for fold in range(FOLDS):
        others = np.flatnonzero(folds != fold)
        rules = learn_rules([documents[row] for row in others.tolist()], values[others])
        for row in np.flatnonzero(folds == fold).tolist():
            given[row], precisions[row], _ = rules.apply(documents[row])
    return given, precisions


def _least_precision(right: Flags, precisions: Shares, wanted: float) -> float:
    """Return the least precision of a rule with which the filled cells are right often enough; infinity for none."""
    order = np.argsort(-precisions, kind="stable")
    bounds = lower_bound(np.cumsum(right[order]), np.arange(1, len(order) + 1), CERTAINTY)
    if not len(order):
        return np.inf
    last = np.r_[precisions[order][1:] != precisions[order][:-1], True]  # equal precisions are in together
    enough = np.flatnonzero((bounds >= wanted) & last & (precisions[order] > 0))
    return float(precisions[order][enough[-1]]) if len(enough) else np.inf
