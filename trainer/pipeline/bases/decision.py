"""Decision of a comparison: figures of each model, differences to the default, and which model is chosen, and why."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from indexer.corpus.corpus import Corpus
from indexer.errors import UserError
from trainer.pipeline.bases.candidate import Candidate
from trainer.pipeline.bases.choice import GUARD, LEGS, difference, is_win, merit, pooled, summary, total, voting
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
    ballots = voting(measured.ballots)
    if not ballots:
        raise UserError(
            "the corpus: too few questions to compare models on; give more documents, a larger --sample, or labels with --qrels"
        )
    weights = {kind: ballot.weight for kind, ballot in ballots.items()}
    cheapest = min(cost.ms_query for cost in measured.costs)
    models: list[BaseFigures] = []
    for number, (candidate, cost) in enumerate(zip(candidates, measured.costs, strict=True)):
        differences = {
            kind: {leg: difference(ballot, default, number, leg, settings.seed) for leg in LEGS}
            for kind, ballot in ballots.items()
            if number != default
        }
        models.append(
            BaseFigures(
                id=candidate.id,
                name=candidate.name,
                licence=candidate.licence,
                cost=cost,
                within_budget=cost.ms_query <= settings.max_cost * cheapest,
                scores={leg: pooled(ballots, leg, number) for leg in LEGS},
                figures={
                    kind: {
                        leg: summary(getattr(ballot.models[number], leg), ballot.clusters, settings.seed)
                        for leg in LEGS
                    }
                    for kind, ballot in measured.ballots.items()
                    if ballot.clusters
                },
                differences=differences,
                total={leg: total(differences, weights, leg) for leg in LEGS} if differences else {},
            )
        )
    choice, decided, reasons = _choose(models, default)
    return BaseComparison(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        corpus=Path(source).name if "://" not in source else "a database",
        documents=corpus.documents,
        sample=len(measured.sample.documents.ids),
        language=measured.sample.language,
        judged_by="labels" if "labels" in ballots else "synthetic queries",
        questions={kind: len(ballot.clusters) for kind, ballot in measured.ballots.items()},
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
        f"{models[number].name} is better than {kept}, and over the budget"
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
