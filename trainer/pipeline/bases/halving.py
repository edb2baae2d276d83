"""Successive halving: a small sample first, and twice as many documents for the models that it leaves undecided.

Jamieson, Talwalkar, «Non-stochastic Best Arm Identification and Hyperparameter Optimization», AISTATS 2016. A model that
is certainly worse than the default is left out of later rounds, and a comparison ends as soon as it is decided, or where
the next round would not fit into the budget.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trainer.evaluate.report import Leg
from trainer.evaluate.significance import Difference
from trainer.pipeline.bases.choice import GUARD, LEGS, Ballot, difference, is_early_win, is_worse, total, voting
from trainer.pipeline.bases.questions import Kind

TRIAL = 16
"""Documents by which the speed of each model is measured; the first round takes up their vectors."""
FIRST = 256
"""Documents of the first round."""
LEAST = 64
"""Documents of the first round at least, whatever the budget: fewer give no questions that decide anything."""
GROWTH = 2
MIN_GROWTH = 1.25
"""A round that the budget makes smaller than this is left out: it would cost more than it says."""
DOCUMENT_SHARE = 0.65
"""Share of a round's time in which documents are encoded; questions and searches take the rest."""


@dataclass(frozen=True)
class Round:
    """What a sample shows about the models that were not left out before it.

    Attributes:
        documents: of the sample.
        models: numbers of the models.
        ballots: kind of question → values of these models, in this order.
    """

    documents: int
    models: list[int]
    ballots: Mapping[Kind, Ballot]

    def only(self, models: list[int]) -> Round:
        """Return what the sample shows about some of the models."""
        places = [self.models.index(model) for model in models]
        ballots = {
            kind: Ballot(ballot.weight, [ballot.models[place] for place in places], ballot.clusters)
            for kind, ballot in self.ballots.items()
        }
        return Round(self.documents, models, ballots)

    def differences(self, default: int, model: int, seed: int) -> dict[Kind, dict[Leg, Difference]]:
        """Return the differences of a model to the default on each kind of question that votes."""
        before, after = self.models.index(default), self.models.index(model)
        return {
            kind: {leg: difference(ballot, before, after, leg, seed) for leg in LEGS}
            for kind, ballot in voting(self.ballots).items()
        }

    def totals(self, differences: Mapping[Kind, Mapping[Leg, Difference]]) -> dict[Leg, Difference]:
        """Return the weighted means of the differences."""
        weights = {kind: ballot.weight for kind, ballot in self.ballots.items()}
        return {leg: total(differences, weights, leg) for leg in LEGS} if differences else {}


def survivors(of: Round, default: int, seed: int) -> list[int]:
    """Return the models of the next round; only the default where a round more would change nothing.

    Several models that are better than the default all stay: which of them is best is for a larger sample to say.
    """
    kept, open_, won = [default], 0, 0
    for model in of.models:
        if model == default:
            continue
        differences = of.differences(default, model, seed)
        totals, guard = of.totals(differences), differences.get(GUARD)
        if totals and is_worse(totals, guard):
            continue
        kept.append(model)
        if totals and is_early_win(totals, guard):
            won += 1
        else:
            open_ += 1
    return sorted(kept) if open_ or won > 1 else [default]


def next_size(done: int, limit: int, seconds_left: float, seconds_a_document: float) -> int:
    """Return how many documents the next round has; ``done`` where there is no next round.

    Args:
        done: documents of the last round; 0 before the first one.
        limit: documents of the whole sample.
        seconds_left: of the budget.
        seconds_a_document: in which all models that are compared encode a document.
    """
    affordable = done + int(min(DOCUMENT_SHARE * max(seconds_left, 0.0) / max(seconds_a_document, 1e-9), limit))
    if not done:
        return min(FIRST, limit, max(affordable, LEAST))
    size = min(GROWTH * done, limit, affordable)
    return size if size >= min(MIN_GROWTH * done, limit) and size > done else done


def by_model(rounds: Sequence[Round], models: int) -> list[Round]:
    """Return the last round in which each model took part."""
    return [next(each for each in reversed(rounds) if model in each.models) for model in range(models)]
