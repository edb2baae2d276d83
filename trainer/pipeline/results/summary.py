"""Report of a run, built from the comparison of base and tuned model and from the record of the ladder."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from indexer.artifacts.manifest import Manifest
from indexer.index.index import Index
from trainer.evaluate.groups import biggest_changes, separation
from trainer.evaluate.rankings import RankedQueries
from trainer.evaluate.reliability import Calibration
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
from trainer.pipeline.results.comparison import Comparison
from trainer.pipeline.tuning import TuningResult


def build_report(
    source: str,
    index: Index,
    base: Manifest,
    *,
    tuning: TuningResult,
    comparison: Comparison,
    config: dict[str, Any],
    seconds: dict[str, float],
    relevance: Calibration | None = None,
) -> Report:
    """Return the report of a run.

    Args:
        source: the corpus as it was given.
        index: of the corpus, with the base model's encoder.
        base: manifest of the model that the tuned one is compared with.
        tuning: rungs that were tried and kept.
        comparison: rankings of both models.
        config: settings of the run.
        seconds: duration of each stage.
        relevance: how reliable the relevance of first results is, where it is known.
    """
    verdict, reasons = comparison.verdict()
    before, after = comparison.base[comparison.deciding], comparison.tuned[comparison.deciding]
    legs = {"dense": (1.0, 1.0), "hybrid": comparison.weights}
    values = {leg: (before.metrics(old)[METRIC], after.metrics(new)[METRIC]) for leg, (old, new) in legs.items()}
    shown = "hybrid" if comparison.run_data.judged_by == "labels" and not comparison.maps_queries else "dense"
    weights = legs[shown]
    gains, losses = biggest_changes(*values[shown], list(before.queries.texts))
    change = _Changes(before, after, weights, values[shown], index)
    record = tuning.record
    rows = {document: row for row, document in enumerate(before.ids)}
    return Report(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        verdict=verdict,
        reasons=reasons,
        judged_by=comparison.run_data.judged_by,
        decided_on=comparison.deciding,
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
        groups=comparison.groups,
        fusion=Weights(base=comparison.weights[0], tuned=comparison.weights[1], how=comparison.how),
        changes={leg: [new[query] - old[query] for query in old] for leg, (old, new) in values.items()},
        change_of=f"{shown} nDCG@10",
        gains=[change.of(query) for query in gains],
        losses=[change.of(query) for query in losses],
        curves=Curves(loss=record.losses, dev=record.points, dev_measure="mean of dense and hybrid nDCG@10"),
        separation={"base": separation(*before.cosines(rows)), "tuned": separation(*after.cosines(rows))},
        relevance=relevance,
        notes=[*comparison.run_data.notes, *comparison.notes, *note_exact_search(index)],
    )


def note_exact_search(index: Index) -> list[str]:
    """Return a note that evaluations search exactly, where the index itself is served with an approximate dense leg."""
    config = index.manifest.config
    if config["dense"] == "flat":
        return []
    note = (
        f"Dense search is exact in all these figures. When it is served, the index of the base model ({config['dense']}) "
        f"finds {config['dense_index']['recall']:.1%} of the 10 nearest passages."
    )
    return [note]


class _Changes:
    """Single queries with their answers and the first documents of both models."""

    def __init__(
        self,
        before: RankedQueries,
        after: RankedQueries,
        weights: tuple[float, float],
        values: tuple[Any, Any],
        index: Index,
    ) -> None:
        self._ranked = (before, after)
        self._weights = weights
        self._values = values
        self._index = index
        self._rows = {document: row for row, document in enumerate(before.ids)}
        self._positions = {query: position for position, query in enumerate(before.queries.texts)}

    def of(self, query: str) -> QueryChange:
        """Return one query with its answers and the first document of each model."""
        queries = self._ranked[0].queries
        first = []
        for ranked, weight in zip(self._ranked, self._weights, strict=True):
            order = ranked.order(ranked.rankings[self._positions[query]], weight)
            first.append(self._show(order[0]) if order else None)
        return QueryChange(
            query_id=query,
            query=queries.texts[query],
            before=self._values[0][query],
            after=self._values[1][query],
            wanted=[self._show(self._rows[document]) for document in list(queries.qrels[query])[:3]],
            found_before=first[0],
            found_after=first[1],
        )

    def _show(self, row: int) -> Shown:
        document = self._index.document(row)
        return Shown(id=document.id, title=document.title, text=document.text)
