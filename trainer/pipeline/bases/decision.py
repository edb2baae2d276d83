"""Decision of a comparison: figures of each model, differences to the default, and which model is chosen, and why."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from indexer.corpus.corpus import Corpus
from indexer.errors import UserError
from trainer.pipeline.bases.candidate import Candidate
from trainer.pipeline.bases.choice import GUARD, LEGS, is_win, merit, pooled, summary, voting
from trainer.pipeline.bases.halving import by_model
from trainer.pipeline.bases.measurement import Measurements
from trainer.pipeline.bases.result import BaseComparison, BaseFigures
from trainer.pipeline.settings import CompareSettings


def decide_bases(
    source: str,
    corpus: Corpus,
    candidates: Sequence[Candidate],
    measured: Measurements,
    *,
    default: int,
    settings: CompareSettings,
) -> BaseComparison:
    """Return the result: figures of each model, differences to the default, and the choice."""
    last, own_rounds = measured.rounds[-1], by_model(measured.rounds, len(candidates))
    ballots = voting(last.ballots)
    if not ballots:
        raise UserError(
            "the corpus: too few questions to compare models on; give more documents, a larger --sample, or labels with --qrels"
        )
    weights = {kind: ballot.weight for kind, ballot in ballots.items()}
    cheapest = min(cost.ms_query for cost in measured.costs)
    models: list[BaseFigures] = []
    for number, (candidate, cost) in enumerate(zip(candidates, measured.costs, strict=True)):
        own = own_rounds[number]
        place = own.models.index(number)
        differences = own.differences(default, number, settings.seed) if number != default else {}
        models.append(
            BaseFigures(
                id=candidate.id,
                name=candidate.name,
                licence=candidate.licence,
                cost=cost,
                within_budget=cost.ms_query <= settings.max_cost * cheapest,
                sample=own.documents,
                scores={leg: pooled(voting(own.ballots), leg, place) for leg in LEGS},
                figures={
                    kind: {
                        leg: summary(getattr(ballot.models[place], leg), ballot.clusters, settings.seed) for leg in LEGS
                    }
                    for kind, ballot in own.ballots.items()
                    if ballot.clusters
                },
                differences=differences,
                total=own.totals(differences),
            )
        )
    choice, decided, reasons = _choose(models, default)
    if measured.spent and not decided:
        reasons.append(
            f"the budget of {settings.budget} sufficed for {last.documents:,} documents; --budget gives more"
        )
    return BaseComparison(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        corpus=Path(source).name if "://" not in source else "a database",
        documents=corpus.documents,
        sample=last.documents,
        rounds=[each.documents for each in measured.rounds],
        budget=settings.budget,
        language=measured.sample.language,
        judged_by="labels" if "labels" in ballots else "synthetic queries",
        questions={kind: len(ballot.clusters) for kind, ballot in last.ballots.items()},
        weights=weights,
        max_cost=settings.max_cost,
        default=models[default].id,
        choice=models[choice].id,
        decided=decided,
        reasons=reasons,
        models=models,
    )


def _choose(models: Sequence[BaseFigures], default: int) -> tuple[int, bool, list[str]]:
    """Return the number of the best model, whether that is certain, and why."""
    kept = models[default].name
    winners = [
        number
        for number, model in enumerate(models)
        if model.total and is_win(model.total, model.differences.get(GUARD))
    ]
    affordable = [number for number in winners if models[number].within_budget]
    reasons = [
        f"{models[number].name} is better than {kept}, and over the limit of --max-cost"
        for number in winners
        if number not in affordable
    ]
    if affordable:
        best = max(affordable, key=lambda number: merit(models[number].total))
        figures = ", ".join(
            f"{leg} {_signed(each.mean, each.low, each.high)}" for leg, each in models[best].total.items()
        )
        return best, True, [f"{models[best].name} is better than {kept}: {figures}", *reasons]
    worse = [model for model in models if model.total and all(each.high < 0 for each in model.total.values())]
    others = [model for model in models if model.total]
    if len(worse) == len(others):
        return default, True, [f"{kept} is better than all others", *reasons]
    undecided = [
        f"{model.name} against {kept}: "
        + ", ".join(f"{leg} {_signed(each.mean, each.low, each.high)}" for leg, each in model.total.items())
        for model in others
    ]
    return (
        default,
        False,
        [f"undecided: no model is better than {kept} for certain, which is kept", *undecided, *reasons],
    )


def _signed(mean: float, low: float, high: float) -> str:
    return f"{mean:+.3f} (95 % interval {low:+.3f} to {high:+.3f})"
