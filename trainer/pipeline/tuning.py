"""Tuning of an encoder: the rungs of the ladder that a run tries, and the model that dev keeps.

First the rungs of a linear map; then, with labels and time enough, the encoder's layers and the map again over them.
"""

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
from trainer.adapter.teacher import Teacher
from trainer.evaluate.rankings import WEIGHTS
from trainer.evaluate.report import DevPoint, LossPoint, Rung
from trainer.pipeline.dataset import RunData
from trainer.pipeline.modes import HybridVectors, choose_hybrid_vectors
from trainer.pipeline.plan import Facts
from trainer.pipeline.settings import RunSettings
from trainer.pipeline.workspace import EXAMPLES_FILE, Workspace

if TYPE_CHECKING:
    from trainer.pipeline.layers import TrainedLayers

MIN_LAYER_SECONDS = 90.0
"""Shortest training of layers in seconds: less is not worth encoding the corpus again."""
ENCODING_MARGIN = 1.3
"""Factor on the estimated time of encoding the corpus again: long texts are slower than the sample."""
TEACHER_SHARE = 0.4
"""Share of the budget that a cross-encoder may take to score results."""
TEACHER_TOKENS = 256
"""Longest query and passage together that it reads: as long as a passage of the default model."""
RETUNE_SECONDS = 60.0
"""Seconds that are reserved for the map's rungs over trained layers."""


class TuningRecord(BaseModel):
    """Record of the ladder, kept beside the resulting map.

    Attributes:
        kept: whether a map was kept.
        score: on dev, of what was kept.
        rungs: that were tried.
        losses: of the training.
        points: scores on dev, the untuned model's first.
        hybrid: whose vectors hybrid search has (`trainer.pipeline.modes`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kept: bool
    score: float
    rungs: list[Rung]
    losses: list[LossPoint]
    points: list[DevPoint]
    hybrid: HybridVectors = "tuned"


@dataclass(frozen=True)
class TuningResult:
    """A tuned encoder: a sentence-transformers directory, a map behind it, and the record of the ladder.

    Attributes:
        directory: the encoder under the map; None is the base model.
        passages: its vectors of all passages of the corpus, shape (passages, dimension).
        matrix: the map; None where none was kept.
    """

    directory: Path | None
    passages: Vectors
    matrix: Vectors | None
    record: TuningRecord

    @property
    def maps_queries(self) -> bool:
        """Whether the map is for the queries of dense search only: passages and hybrid search stay the base's."""
        return self.directory is None and self.matrix is not None and self.record.hybrid == "base"

    @property
    def changed(self) -> bool:
        """Whether any rung was kept."""
        return self.directory is not None or self.matrix is not None


def tune(
    index: Index, run_data: RunData, settings: RunSettings, workspace: Workspace, *, facts: Facts, base_model: Path
) -> TuningResult:
    """Tune up the ladder: whitening, distillation from the fused ranking, then labels and layers where there are labels.

    Hybrid search is measured on dev at its best weight where dev has labels. Otherwise it is measured at the index's
    weight, since synthetic queries say little about weights.

    Args:
        index: of the corpus, with the base model.
        run_data: training and dev queries.
        settings: of the run.
        workspace: keeps finished results.
        facts: of the machine and the corpus, for the time that encoding takes.
        base_model: directory of the base model.
    """
    with workspace.stage("ladder"):
        arrays = workspace.arrays(
            "ladder", lambda: _tune_map(index, run_data, settings, _open_teacher(settings, workspace))
        )
    record = TuningRecord.model_validate_json(str(arrays["record"]))
    tuning = TuningResult(None, all_passages(index), arrays["matrix"] if record.kept else None, record)
    encoding = facts.passages / facts.passages_a_second
    spent = sum(workspace.seconds.get(stage, 0.0) for stage in ("questions", "ladder"))
    left = settings.budget_seconds - spent - ENCODING_MARGIN * encoding - RETUNE_SECONDS
    interrupted = (workspace.folder / EXAMPLES_FILE).is_file()  # a run that was killed in this training continues it
    if run_data.labelled is None or settings.layers == "never":
        return tuning
    if settings.layers == "auto" and left < MIN_LAYER_SECONDS and not interrupted:
        say(f"the encoder's layers stay as they are: --budget {settings.budget} leaves no time for them")
        return tuning
    from trainer.pipeline.layers import train_layers  # loads sentence-transformers

    with workspace.stage("layers"):
        return _retune_over_trained_layers(
            tuning,
            train_layers(
                index,
                run_data,
                base_model,
                seconds=max(left, MIN_LAYER_SECONDS),
                seed=settings.seed,
                workspace=workspace,
            ),
            settings,
            workspace,
        )


def _retune_over_trained_layers(
    frozen: TuningResult, layers: TrainedLayers, settings: RunSettings, workspace: Workspace
) -> TuningResult:
    """Tune a map over trained layers too; return the result that is better on dev: this one, or that of frozen layers."""
    arrays = workspace.arrays("ladder-layers", lambda: _tune_map(layers.index, layers.run_data, settings))
    trained = TuningRecord.model_validate_json(str(arrays["record"]))
    kept = trained.score > frozen.record.score
    without_map = trained.points[0].value
    rungs = [
        *([rung.model_copy(update={"kept": False}) for rung in frozen.record.rungs] if kept else frozen.record.rungs),
        Rung(
            name="layers",
            kept=kept,
            seconds=layers.trained.seconds,
            dev_before=frozen.record.points[0].value,
            dev_after=without_map,
        ),
        *(
            rung.model_copy(update={"name": f"layers, {rung.name}", "kept": rung.kept and kept})
            for rung in trained.rungs
        ),
    ]
    say(f"layers: dev {frozen.record.score:.4f} → {trained.score:.4f}, {'kept' if kept else 'dropped'}")
    record = TuningRecord(
        kept=trained.kept if kept else frozen.record.kept,
        score=max(trained.score, frozen.record.score),
        rungs=rungs,
        losses=[
            LossPoint(step=entry["step"], seconds=entry["seconds"], loss=entry["loss"])
            for entry in layers.trained.log
            if "loss" in entry
        ],
        points=[*frozen.record.points, DevPoint(at="layers", value=without_map), *trained.points[1:]],
    )
    if not kept:
        return replace(frozen, record=record)
    return TuningResult(layers.directory, layers.passages, arrays["matrix"] if trained.kept else None, record)


def _open_teacher(settings: RunSettings, workspace: Workspace) -> Teacher | None:
    """Export the cross-encoder of ``--teacher`` and open it; None where none is named."""
    if not settings.teacher:
        return None
    from trainer.models.reranker import open_cross_encoder  # loads torch

    reranker = open_cross_encoder(settings.teacher, workspace.folder / "teacher", TEACHER_TOKENS)
    return Teacher(reranker, TEACHER_SHARE * settings.budget_seconds, workspace.folder)


def _tune_map(
    index: Index, run_data: RunData, settings: RunSettings, teacher: Teacher | None = None
) -> dict[str, np.ndarray]:
    """Try the rungs of a linear map; return ``matrix``, the best map, and ``record``, a `TuningRecord` as JSON."""
    weights = WEIGHTS if run_data.judged_by == "labels" else (Retriever(index).fusion.dense_weight,)
    ladder = Ladder(index, run_data.documents.ids, run_data.dev, weights, settings.seed, run_data.unseen_dev)
    texts = list(run_data.unlabelled.queries.texts.values())
    ladder.attempt("whitening", ladder.whiten, shares=())
    start, vectors = ladder.best, run_data.unlabelled.vectors
    ladder.attempt("distillation", lambda: ladder.distill(texts, vectors, start))
    if teacher:  # from the same start: dev says which teacher is the better one
        ladder.attempt("distillation with a cross-encoder", lambda: ladder.distill(texts, vectors, start, teacher))
    if labelled := run_data.labelled:
        whitened = ladder.whiten() if ladder.matrix is None else None
        ladder.attempt("labels", lambda: ladder.supervise(labelled, run_data.rows, ladder.best))
        if whitened is not None:
            # Dev dropped whitening, but a map that is learned from there generalises better (docs/decisions/training.md).
            ladder.attempt("whitening and labels", lambda: ladder.supervise(labelled, run_data.rows, whitened))
    record = TuningRecord(
        kept=ladder.matrix is not None,
        score=ladder.score,
        rungs=ladder.rungs,
        losses=ladder.losses,
        points=ladder.points,
        hybrid=choose_hybrid_vectors(ladder, run_data, ladder.matrix) if ladder.matrix is not None else "tuned",
    )
    return {"matrix": ladder.best, "record": np.array(record.model_dump_json())}
