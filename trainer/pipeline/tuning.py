"""Which rungs of the ladder a run climbs, and what comes out at the top."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict

from indexer.index.index import Index
from indexer.inference.encoder import Vectors
from indexer.progress import say
from indexer.retrieval.retriever import Retriever
from trainer.adapter.distillation import all_passages
from trainer.adapter.ladder import Ladder
from trainer.evaluate.rankings import WEIGHTS
from trainer.evaluate.report import DevPoint, LossPoint, Rung
from trainer.pipeline.dataset import RunData
from trainer.pipeline.plan import Facts
from trainer.pipeline.settings import RunSettings
from trainer.pipeline.workspace import EXAMPLES, Workspace

if TYPE_CHECKING:
    from trainer.pipeline.layers import TrainedLayers

MIN_LAYER_SECONDS = 90.0
"""Training for less than this is not worth encoding the corpus again."""
ENCODING_MARGIN = 1.3
"""Times that encoding the corpus again is taken to last as long as a sample says: long texts are slower."""
RETUNE_SECONDS = 60.0
"""Seconds that the map's rungs take when they are climbed again."""


class TuningRecord(BaseModel):
    """What is remembered of a climb beside its result."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kept: bool
    score: float
    rungs: list[Rung]
    losses: list[LossPoint]
    points: list[DevPoint]


@dataclass(frozen=True)
class TuningResult:
    """The tuned encoder: a directory of sentence-transformers, a map behind it, and how they came about.

    Attributes:
        directory: the encoder under the map; None is the one that was started from.
        passages: its vectors of all passages of the corpus, shape (passages, dimension).
        matrix: the map; None where none was kept.
    """

    directory: Path | None
    passages: Vectors
    matrix: Vectors | None
    record: TuningRecord

    @property
    def changed(self) -> bool:
        """Whether anything was kept at all."""
        return self.directory is not None or self.matrix is not None


def tune(
    index: Index, material: RunData, settings: RunSettings, workshop: Workspace, *, facts: Facts, start: Path
) -> TuningResult:
    """Climb the ladder: whitening, distillation from the fused ranking, labels and layers where there are labels.

    Hybrid search is measured on dev at its best weight where dev has labels; otherwise at the index's weight, since
    synthetic questions say little about it.

    Args:
        index: of the corpus, with the encoder that is started from.
        material: what is learned from.
        settings: of the run.
        workshop: where what is finished is kept.
        facts: of the machine and the corpus; say how long encoding takes.
        start: directory of the model that is started from.
    """
    with workshop.stage("ladder"):
        made = workshop.arrays("ladder", lambda: _tune_map(index, material, settings))
    record = TuningRecord.model_validate_json(str(made["record"]))
    climbed = TuningResult(None, all_passages(index), made["matrix"] if record.kept else None, record)
    encoding = facts.passages / facts.passages_a_second
    spent = sum(workshop.seconds.get(stage, 0.0) for stage in ("questions", "ladder"))
    left = settings.budget_seconds - spent - ENCODING_MARGIN * encoding - RETUNE_SECONDS
    begun = (workshop.folder / EXAMPLES).is_file()  # a run that was killed there goes on with it
    if material.supervised is None or settings.layers == "never":
        return climbed
    if settings.layers == "auto" and left < MIN_LAYER_SECONDS and not begun:
        say(f"the encoder's layers stay as they are: --budget {settings.budget} leaves no time for them")
        return climbed
    from trainer.pipeline.layers import train_layers  # loads sentence-transformers

    with workshop.stage("layers"):
        return _retune_over_trained_layers(
            climbed,
            train_layers(
                index, material, start, seconds=max(left, MIN_LAYER_SECONDS), seed=settings.seed, workshop=workshop
            ),
            settings,
            workshop,
        )


def _retune_over_trained_layers(
    lower: TuningResult, layers: TrainedLayers, settings: RunSettings, workshop: Workspace
) -> TuningResult:
    """Climb the map's rungs again over trained layers; return what is better on dev."""
    made = workshop.arrays("ladder-layers", lambda: _tune_map(layers.index, layers.material, settings))
    higher = TuningRecord.model_validate_json(str(made["record"]))
    kept = higher.score > lower.record.score
    trained = layers.trained
    untouched = higher.points[0].value
    rungs = [
        *(lower.record.rungs if not kept else [rung.model_copy(update={"kept": False}) for rung in lower.record.rungs]),
        Rung(
            name="layers",
            kept=kept,
            seconds=trained.seconds,
            dev_before=lower.record.points[0].value,
            dev_after=untouched,
        ),
        *(
            rung.model_copy(update={"name": f"layers, {rung.name}", "kept": rung.kept and kept})
            for rung in higher.rungs
        ),
    ]
    say(f"layers: dev {lower.record.score:.4f} → {higher.score:.4f}, {'kept' if kept else 'dropped'}")
    record = TuningRecord(
        kept=higher.kept if kept else lower.record.kept,
        score=max(higher.score, lower.record.score),
        rungs=rungs,
        losses=[
            LossPoint(step=entry["step"], seconds=entry["seconds"], loss=entry["loss"])
            for entry in trained.log
            if "loss" in entry
        ],
        points=[*lower.record.points, DevPoint(at="layers", value=untouched), *higher.points[1:]],
    )
    if not kept:
        return replace(lower, record=record)
    return TuningResult(layers.directory, layers.passages, made["matrix"] if higher.kept else None, record)


def _tune_map(index: Index, material: RunData, settings: RunSettings) -> dict[str, np.ndarray]:
    weights = WEIGHTS if material.judged_by == "labels" else (Retriever(index).fusion.dense_weight,)
    ladder = Ladder(index, material.documents.ids, material.dev, weights, settings.seed, material.unseen_dev)
    texts = list(material.practice.queries.texts.values())
    ladder.attempt("whitening", ladder.whiten, shares=())
    ladder.attempt("distillation", lambda: ladder.distill(texts, material.practice.vectors, ladder.best))
    if labelled := material.supervised:
        white = ladder.whiten() if ladder.matrix is None else None
        ladder.attempt("labels", lambda: ladder.supervise(labelled, material.rows, ladder.best))
        if white is not None:  # dropped before, but what is learned from there carries over further (DECISIONS.md)
            ladder.attempt("whitening and labels", lambda: ladder.supervise(labelled, material.rows, white))
    record = TuningRecord(
        kept=ladder.matrix is not None,
        score=ladder.score,
        rungs=ladder.rungs,
        losses=ladder.losses,
        points=ladder.points,
    )
    return {"matrix": ladder.best, "record": np.array(record.model_dump_json())}
