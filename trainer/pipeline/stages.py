"""Stages of a training run in their order: data, ladder, export, comparison, report, artifact."""

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
from trainer.pipeline.plan import Facts, format_plan, make_plan
from trainer.pipeline.query_encoder import add_query_encoder, remove_query_encoder
from trainer.pipeline.results.comparison import Candidate, Comparison, compare, published_candidate
from trainer.pipeline.results.relevance import calibrate_relevance
from trainer.pipeline.results.summary import build_report
from trainer.pipeline.settings import RunSettings
from trainer.pipeline.tuning import TuningResult, tune
from trainer.pipeline.workspace import Workspace
from trainer.reports.model_card import model_card
from trainer.reports.run_page import write_report

PARITY_TEXTS = 32
"""Texts on which the ONNX export is compared with the model."""
PARITY_CHARACTERS = 1_000
"""Characters of each of these texts. The longest text is compared in full: lengths between would only cost more time."""


@dataclass(frozen=True)
class RunInputs:
    """Inputs of a tuned model.

    Attributes:
        fingerprint: of the other fields.
        files: corpus and labels.
        recipe: the settings that decide the result.
        base_model: id of the model that training starts from.
    """

    fingerprint: str
    files: list[InputEntry]
    recipe: dict[str, Any]
    base_model: str


def train_and_publish(
    source: str, settings: RunSettings, data: Path, inputs: RunInputs, base_index: Manifest
) -> tuple[Manifest, KnownVectors | None]:
    """Train, evaluate and publish a model, without making it live.

    Args:
        source: the corpus.
        settings: of the run.
        data: the data directory.
        inputs: what the model is made from.
        base_index: manifest of the index of the corpus with the base model.

    Returns:
        The manifest of the tuned model and, where its passages were encoded again, their vectors.
    """
    models = Store("model", data)
    base_model = inputs.base_model
    with (
        Workspace(training_dir(data), inputs.fingerprint) as workspace,
        TemporaryDirectory(dir=workspace.folder, prefix=".pool-") as pool,
    ):
        index = Index.open(Store("index", data).path(base_index.id)).searched_exactly()
        facts = Facts.measure(index, settings)
        for line in format_plan(facts, make_plan(facts, settings)):
            say(line)
        with workspace.stage("questions"):
            run_data = prepare_data(source, index, settings, workspace, pool=Path(pool))
        tuning = tune(index, run_data, settings, workspace, facts=facts, base_model=models.path(base_model))
        with models.building():
            staging = models.staging(inputs.fingerprint)
            with workspace.stage("export"):
                texts = run_data.documents.texts
                candidate, draft = _export(tuning, index, models.path(base_model), staging, texts)
            add_query_encoder(candidate, run_data, settings, workspace, facts)
            opponent = models.current_id() or base_model
            with workspace.stage("exam"):
                live = published_candidate(models, opponent, index) if opponent != base_model else None
                comparison = compare(index, run_data, candidate, settings.seed, live=live)
                relevance = calibrate_relevance(index, candidate, comparison, settings.seed)
            if comparison.query_encoder == "full":
                remove_query_encoder(staging)
            else:
                draft["config"] = {"small_query_encoder": candidate.small}
            if relevance.calibration is not None:
                draft["config"] = draft.get("config", {}) | {"relevance": relevance.calibration.model_dump(mode="json")}
            report = build_report(
                source,
                index,
                models.manifest(opponent),
                tuning=tuning,
                comparison=comparison,
                config=inputs.recipe,
                seconds=workspace.seconds,
                relevance=relevance.reliability,
            )
            manifest = _publish(models, staging, report, comparison, written=draft, inputs=inputs)
        if tuning.directory is None:
            return manifest, None
        return manifest, KnownVectors(index.folder, vectors=DenseIndex.of(candidate.passages))


def _export(
    tuning: TuningResult, index: Index, base_model: Path, staging: Path, texts: list[str]
) -> tuple[Candidate, dict[str, Any]]:
    """Write the tuned model with its ONNX files; return it, and the fields of its manifest that describe the files."""
    from trainer.adapter.dense_module import with_map
    from trainer.models.artifact import write_model

    model = with_map(tuning.directory or base_model, None if tuning.maps_queries else tuning.matrix)
    sample = [text[:PARITY_CHARACTERS] for text in texts[:: max(len(texts) // PARITY_TEXTS, 1)][:PARITY_TEXTS]]
    sample.append(max(texts, key=len))
    written = write_model(model, staging, sample, int8=True, require_int8=False)
    if tuning.directory is None:
        matrix = tuning.matrix if tuning.matrix is not None else np.eye(tuning.passages.shape[1], dtype=np.float32)
        np.save(staging / MAP_FILE, matrix, allow_pickle=False)
        if tuning.maps_queries:
            return Candidate.of_query_map(staging, written.encoder, index, matrix), vars(written)
    passages = tuning.passages if tuning.matrix is None else apply(tuning.matrix, tuning.passages)
    if tuning.directory is None:
        return Candidate(staging, written.encoder, index, passages, matrix), vars(written)
    return Candidate(staging, written.encoder, index, passages, None), vars(written)


def _publish(
    models: Store, staging: Path, report: Report, comparison: Comparison, *, written: dict[str, Any], inputs: RunInputs
) -> Manifest:
    """Write report and model card, and publish the model; ``written`` are the manifest's fields about the files."""
    write_report(report, staging / "report")
    (staging / "README.md").write_text(model_card(report, written["encoder"]), encoding="utf-8")
    base, tuned = comparison.base[comparison.deciding], comparison.tuned[comparison.deciding]
    metrics = {
        "base_dense_ndcg10": base.mean(1),
        "base_hybrid_ndcg10": base.mean(comparison.weights[0]),
        "dense_ndcg10": tuned.mean(1),
        "hybrid_ndcg10": tuned.mean(comparison.weights[1]),
    }
    config = inputs.recipe | {
        "base": report.base.name,
        "tuned_from": inputs.base_model,
        "compared_with": report.base.id,
        "verdict": report.verdict,
        "judged_by": report.judged_by,
        "dense_weight": comparison.weights[1],
        "query_precision": comparison.precision,
        **written.pop("config", {}),
    }
    if (staging / MAP_FILE).is_file():
        config["map_of"] = inputs.base_model
        config["hybrid"] = "base" if comparison.maps_queries else "tuned"
    written["metrics"] |= {name: round(value, 6) for name, value in metrics.items()}
    draft = Manifest(
        kind="model",
        fingerprint=inputs.fingerprint,
        inputs=inputs.files,
        config=config,
        notes=report.reasons,
        **written,
    )
    return models.publish(staging, draft, live=False)
