"""Choice of a base: a weighted vote of kinds of questions that fail differently, and what it decides.

Each kind is wrong in its own way. So the kinds vote with weights, on questions that the words alone do not answer, and a
model has to be better than the default in their weighted mean for certain. Where it is not, the default is kept.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from trainer.evaluate.report import Leg, Summary
from trainer.evaluate.significance import Difference, Z, interval, paired, weighted_mean
from trainer.pipeline.bases.measures import Measured, Values
from trainer.pipeline.bases.questions import Kind

WEIGHTS: dict[Kind, float] = {"neighbours": 1.0, "sentences": 0.25, "halves": 0.25, "agreement": 0.1, "key words": 0.1}
"""Weights of the kinds where there are no labels. On sets with people's queries, neighbours ranked bases rightly most often
(docs/experiments/bases.md). Key words differ by ten times as much, and prefer a base that follows surface words; agreement
prefers the base that is most like the others."""
GUARD: Kind = "neighbours"
"""A model that is certainly worse on questions of this kind does not win, whatever the others say."""
MIN_QUESTIONS = 40
"""With fewer questions a kind does not vote."""
MIN_LABELLED = 50
"""With so many labelled queries, these decide alone."""
Z_EARLY = 2.58
"""Standard errors of a difference that is certain before the whole sample was read: 99 %, since it is looked at often."""
LEGS: tuple[Leg, ...] = ("dense", "hybrid")


@dataclass(frozen=True)
class Ballot:
    """Values of all models on the questions of one kind that vote.

    Attributes:
        weight: of the kind.
        models: values of each model.
        clusters: document of each question; questions about one document are not independent.
    """

    weight: float
    models: Sequence[Measured]
    clusters: Sequence[Hashable]


def select_questions(kind: Kind, models: Sequence[Measured], lexical: Values, clusters: Sequence[Hashable]) -> Ballot:
    """Return the questions of a kind that vote: those that the lexical leg does not answer at rank 1.

    Where the words alone find the document first, a model can only show that it follows words, too. The labels of people
    are not made of a document's words, and all of them vote.
    """
    kept = np.ones(len(lexical), dtype=bool) if kind in ("labels", "agreement") else lexical < 1
    rows = np.flatnonzero(kept)
    return Ballot(
        1.0 if kind == "labels" else WEIGHTS[kind],
        [Measured(model.dense[rows], model.hybrid[rows]) for model in models],
        [clusters[row] for row in rows.tolist()],
    )


def voting(ballots: Mapping[Kind, Ballot]) -> dict[Kind, Ballot]:
    """Return the kinds that vote: labels alone where there are enough, else all others with enough questions."""
    labels = ballots.get("labels")
    if labels and len(labels.clusters) >= MIN_LABELLED:
        return {"labels": labels}
    return {
        kind: ballot for kind, ballot in ballots.items() if kind != "labels" and len(ballot.clusters) >= MIN_QUESTIONS
    }


def summary(values: Values, clusters: Sequence[Hashable], seed: int) -> Summary:
    """Return mean and interval of a model on one kind of question."""
    low, high = interval(values, seed, clusters=clusters)
    return Summary(mean=float(values.mean()), low=low, high=high)


def difference(ballot: Ballot, default: int, model: int, leg: Leg, seed: int) -> Difference:
    """Return the paired difference of a model and the default."""
    before, after = (getattr(ballot.models[number], leg) for number in (default, model))
    return paired(before, after, seed, clusters=ballot.clusters)


def pooled(ballots: Mapping[Kind, Ballot], leg: Leg, model: int) -> Summary:
    """Return the weighted mean of the kinds for one model; the kinds are independent samples of questions."""
    weights = np.array([ballot.weight for ballot in ballots.values()])
    values = [getattr(ballot.models[model], leg) for ballot in ballots.values()]
    mean = float(weights @ [value.mean() for value in values] / weights.sum())
    errors = np.array([value.std(ddof=1) / np.sqrt(len(value)) if len(value) > 1 else 0.0 for value in values])
    error = float(np.sqrt((weights**2) @ errors**2) / weights.sum())
    return Summary(mean=mean, low=mean - Z * error, high=mean + Z * error)


def total(differences: Mapping[Kind, Mapping[Leg, Difference]], weights: Mapping[Kind, float], leg: Leg) -> Difference:
    """Return the weighted mean of the differences of all kinds, with the standard error of that mean."""
    both = weighted_mean([(weights[kind], legs[leg]) for kind, legs in differences.items()])
    return both.model_copy(update={"clusters": None})  # the kinds ask for the same documents


def is_win(total: Mapping[Leg, Difference], guard: Mapping[Leg, Difference] | None = None) -> bool:
    """Say whether a model is better than the default: in one kind of search for certain, and in neither certainly worse.

    Args:
        total: differences over all kinds.
        guard: differences on the kind of questions that may not be certainly worse, where there are such questions.
    """
    losses = [each.high < 0 for each in (*total.values(), *(guard or {}).values())]
    return any(each.low > 0 for each in total.values()) and not any(losses)


def is_worse(total: Mapping[Leg, Difference], guard: Mapping[Leg, Difference] | None = None) -> bool:
    """Say whether a model is so certainly worse than the default on a part of the sample that it cannot win on all of it."""
    return any(each.mean + Z_EARLY * each.standard_error < 0 for each in (*total.values(), *(guard or {}).values()))


def is_early_win(total: Mapping[Leg, Difference], guard: Mapping[Leg, Difference] | None = None) -> bool:
    """Say whether a model is so certainly better on a part of the sample that the rest is not needed."""
    return is_win(total, guard) and any(each.mean - Z_EARLY * each.standard_error > 0 for each in total.values())


def merit(total: Mapping[Leg, Difference]) -> float:
    """Return by how much a model is better, for choosing among several: both kinds of search count the same."""
    return sum(each.mean for each in total.values()) / 2
