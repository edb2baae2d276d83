"""What a run does when there is something to do: questions, ladder, export, exam, report, artifact."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from indexer.artifacts.manifest import InputEntry, Manifest
from indexer.artifacts.store import Store
from indexer.build.vectors import MAP_FILE, KnownVectors
from indexer.index.dense import DenseIndex
from indexer.index.index import Index
from indexer.progress import say
from trainer.adapter.linear_map import apply
from trainer.evaluate.report import Report
from trainer.files import training_dir
from trainer.pipeline.dataset import prepare_data
from trainer.pipeline.exam import Candidate, Comparison, compare, published
from trainer.pipeline.plan import Facts, lines, make_plan
from trainer.pipeline.settings import RunSettings
from trainer.pipeline.summary import build_report
from trainer.pipeline.tuning import TuningResult, tune
from trainer.pipeline.workspace import Workspace
from trainer.reports.model_card import model_card
from trainer.reports.run_page import write_report

PARITY_TEXTS = 32
PARITY_CHARACTERS = 1_000
"""That are compared of a text: the longest is compared whole, and what is between differs only in its time."""


@dataclass(frozen=True)
class RunInputs:
    """What a tuned model is made from: the model that is started from, the files, the settings, and their fingerprint."""

    fingerprint: str
    inputs: list[InputEntry]
    recipe: dict[str, Any]
    start: str


def train_and_publish(
    source: str, settings: RunSettings, data: Path, order: RunInputs, base: Manifest
) -> tuple[Manifest, KnownVectors | None]:
    """Learn, measure and publish, without going live.

    Args:
        source: the corpus.
        settings: of the run.
        data: the data directory.
        order: what the model is made from.
        base: manifest of the corpus's index with the model that is started from.

    Returns:
        The manifest of the tuned model and, where its passages were encoded anew, their vectors.
    """
    models = Store("model", data)
    start = order.start
    with (
        Workspace(training_dir(data), order.fingerprint) as workshop,
        TemporaryDirectory(dir=workshop.folder, prefix=".pool-") as pool,
    ):
        index = Index.open(Store("index", data).path(base.id))
        facts = Facts.find(index, settings)
        for line in lines(facts, make_plan(facts, settings)):
            say(line)
        with workshop.stage("questions"):
            material = prepare_data(source, index, settings, workshop, pool=Path(pool))
        climbed = tune(index, material, settings, workshop, facts=facts, start=models.path(start))
        with models.building():
            staging = models.staging(order.fingerprint)
            with workshop.stage("export"):
                texts = material.documents.texts
                candidate, draft = _export(climbed, index, models.path(start), staging, texts)
            with workshop.stage("exam"):
                exam = compare(index, material, candidate, settings.seed, live=_live(models, start, index))
            report = build_report(
                source,
                index,
                models.manifest(models.current_id() or start),
                climbed=climbed,
                exam=exam,
                config=order.recipe,
                seconds=workshop.seconds,
            )
            manifest = _publish(models, staging, report, exam, written=draft, order=order)
        if climbed.directory is None:
            return manifest, None
        return manifest, KnownVectors(index.folder, vectors=DenseIndex.of(candidate.passages))


def _live(models: Store, start: str, index: Index) -> Candidate | None:
    """Return the live model where it is not the one that is started from: that is what has to be beaten."""
    live = models.current_id()
    if live is None or live == start:
        return None
    return published(models, live, index)


def _export(
    climbed: TuningResult, index: Index, start: Path, staging: Path, texts: list[str]
) -> tuple[Candidate, dict[str, Any]]:
    """Write the tuned model with its ONNX files; return it, and what its manifest says of the files."""
    from trainer.adapter.dense_module import with_map
    from trainer.models.artifact import write_model

    model = with_map(climbed.directory or start, climbed.matrix)
    sample = [text[:PARITY_CHARACTERS] for text in texts[:: max(len(texts) // PARITY_TEXTS, 1)][:PARITY_TEXTS]]
    sample.append(max(texts, key=len))
    written = write_model(model, staging, sample, int8=True, insist=False)
    passages = climbed.passages if climbed.matrix is None else apply(climbed.matrix, climbed.passages)
    if climbed.directory is None:
        matrix = climbed.matrix if climbed.matrix is not None else np.eye(passages.shape[1], dtype=np.float32)
        np.save(staging / MAP_FILE, matrix, allow_pickle=False)
        return Candidate(staging, written.encoder, index, passages, matrix), vars(written)
    return Candidate(staging, written.encoder, index, passages, None), vars(written)


def _publish(
    models: Store, staging: Path, report: Report, exam: Comparison, *, written: dict[str, Any], order: RunInputs
) -> Manifest:
    write_report(report, staging / "report")
    (staging / "README.md").write_text(model_card(report, written["encoder"]), encoding="utf-8")
    base, tuned = exam.base[exam.deciding], exam.tuned[exam.deciding]
    metrics = {
        "base_dense_ndcg10": base.mean(1),
        "base_hybrid_ndcg10": base.mean(exam.weights[0]),
        "dense_ndcg10": tuned.mean(1),
        "hybrid_ndcg10": tuned.mean(exam.weights[1]),
    }
    config = order.recipe | {
        "base": report.base.name,
        "tuned_from": order.start,
        "verdict": report.verdict,
        "judged_by": report.judged_by,
        "dense_weight": exam.weights[1],
        "query_precision": exam.precision,
    }
    if (staging / MAP_FILE).is_file():
        config["map_of"] = order.start
    written["metrics"] |= {name: round(value, 6) for name, value in metrics.items()}
    draft = Manifest(
        kind="model", fingerprint=order.fingerprint, inputs=order.inputs, config=config, notes=report.reasons, **written
    )
    return models.publish(staging, draft, live=False)
