"""The report of a run, put together from what was measured."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from indexer.artifacts.manifest import Manifest
from indexer.index.index import Index
from trainer.evaluate.groups import biggest_changes, separation
from trainer.evaluate.rankings import RankedQueries
from trainer.evaluate.report import (
    BaseModelFacts,
    CorpusFacts,
    Curves,
    QueryChange,
    Report,
    Shown,
    TunedModelFacts,
    Weights,
)
from trainer.evaluate.verdict import METRIC
from trainer.pipeline.exam import Comparison
from trainer.pipeline.tuning import TuningResult


def build_report(
    source: str,
    index: Index,
    base: Manifest,
    *,
    climbed: TuningResult,
    exam: Comparison,
    config: dict[str, Any],
    seconds: dict[str, float],
) -> Report:
    """Return the report.

    Args:
        source: the corpus as it was given.
        index: of the corpus, with the base's encoder.
        base: manifest of the model that was started from.
        climbed: what was tried and kept.
        exam: what was measured.
        config: the run's settings.
        seconds: that each stage took.
    """
    verdict, reasons = exam.verdict()
    before, after = exam.base[exam.deciding], exam.tuned[exam.deciding]
    legs = {"dense": (1.0, 1.0), "hybrid": exam.weights}
    values = {leg: (before.metrics(old)[METRIC], after.metrics(new)[METRIC]) for leg, (old, new) in legs.items()}
    shown = "hybrid" if exam.material.judged_by == "labels" else "dense"
    weights = legs[shown]
    gains, losses = biggest_changes(*values[shown], list(before.queries.texts))
    change = _Changes(before, after, weights, values[shown], index)
    record = climbed.record
    rows = {document: row for row, document in enumerate(before.ids)}
    return Report(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        verdict=verdict,
        reasons=reasons,
        judged_by=exam.material.judged_by,
        decided_on=exam.deciding,
        corpus=CorpusFacts(
            name=Path(source).name if "://" not in source else "a database",
            documents=len(index),
            passages=len(index.dense),
            language=index.manifest.config["language"],
        ),
        base=BaseModelFacts(id=base.id, name=str(base.config.get("base", base.id))),
        tuned=TunedModelFacts(
            name=f"{str(base.config.get('base', base.id)).rpartition('/')[2]}-tuned",
            recipe={"rungs": [rung.name for rung in record.rungs if rung.kept], "seed": config["seed"]},
            rungs=record.rungs,
        ),
        settings=config,
        seconds=seconds,
        groups=exam.groups,
        fusion=Weights(base=exam.weights[0], tuned=exam.weights[1], how=exam.how),
        changes={leg: [new[query] - old[query] for query in old] for leg, (old, new) in values.items()},
        change_of=f"{shown} nDCG@10",
        gains=[change.of(query) for query in gains],
        losses=[change.of(query) for query in losses],
        curves=Curves(loss=record.losses, dev=record.points, dev_measure="mean of dense and hybrid nDCG@10"),
        separation={"base": separation(*before.cosines(rows)), "tuned": separation(*after.cosines(rows))},
        notes=[*exam.material.notes, *exam.notes],
    )


class _Changes:
    """Shows what single queries found before and after."""

    def __init__(
        self,
        before: RankedQueries,
        after: RankedQueries,
        weights: tuple[float, float],
        values: tuple[Any, Any],
        index: Index,
    ) -> None:
        self._answers = (before, after)
        self._weights = weights
        self._values = values
        self._index = index
        self._rows = {document: row for row, document in enumerate(before.ids)}
        self._places = {query: place for place, query in enumerate(before.queries.texts)}

    def of(self, query: str) -> QueryChange:
        """Return one query with its answers and what either model put first."""
        questions = self._answers[0].queries
        first = []
        for answers, weight in zip(self._answers, self._weights, strict=True):
            order = answers.order(answers.rankings[self._places[query]], weight)
            first.append(self._show(order[0]) if order else None)
        return QueryChange(
            query_id=query,
            query=questions.texts[query],
            before=self._values[0][query],
            after=self._values[1][query],
            wanted=[self._show(self._rows[document]) for document in list(questions.qrels[query])[:3]],
            found_before=first[0],
            found_after=first[1],
        )

    def _show(self, row: int) -> Shown:
        document = self._index.document(row)
        return Shown(id=document.id, title=document.title, text=document.text)
