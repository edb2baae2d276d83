"""Publish a trained classifier as an artifact: graph, tokenizer, contract, report and training record."""

from __future__ import annotations

import shutil
from pathlib import Path

from indexer.artifacts.manifest import InputEntry, Manifest, fingerprint, library_versions
from indexer.artifacts.store import Store
from indexer.inference.classifier import CONTRACT, Classifier
from indexer.progress import say
from trainer.classify.report import read_report
from trainer.classify.settings import ClassifyPublishSettings
from trainer.classify.train import read_record
from trainer.models.base import PublishResult
from trainer.training.output import RECORD

PUBLISHED = ("onnx", "report", "tokenizer.json", RECORD, CONTRACT)


def publish(directory: Path, settings: ClassifyPublishSettings, data: Path | None = None) -> PublishResult:
    """Publish the classifier in ``directory`` and, unless ``settings.quiet``, make it live.

    Raises:
        UserError: the directory holds no finished classifier.
    """
    classifier = Classifier.open(directory)
    record = read_record(directory)
    report = read_report(directory)
    size = sum(path.stat().st_size for name in PUBLISHED for path in _files(directory / name))
    inputs = [InputEntry(name=str(directory), size=size, sha256=classifier.digest())]
    config = {"name": directory.resolve().name, "kind": report.kind, "base": report.base, "training": record.settings}
    classifiers = Store("classifier", data)
    key = fingerprint("classifier", {}, inputs, config)
    with classifiers.building():
        if not settings.force and (existing := classifiers.reuse(key, live=not settings.quiet)):
            return PublishResult(existing, fresh=False)
        staging = classifiers.staging(key)
        shutil.rmtree(staging)  # copying is fast: one that was killed starts anew
        for name in PUBLISHED:
            for path in _files(directory / name):
                target = staging / path.relative_to(directory)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
        draft = Manifest(
            kind="classifier",
            fingerprint=key,
            inputs=inputs,
            config=config,
            counts={"labels": len(report.labels), **{f"{side}_rows": rows for side, rows in report.rows.items()}},
            metrics={
                "macro_f1": report.figures.macro_f1,
                "accuracy": report.figures.accuracy,
                "majority_macro_f1": report.majority.macro_f1,
                "calibration_error": report.calibration_after.ece,
            },
            notes=report.notes,
            versions=library_versions("transformers", "torch", "scikit-learn", "onnx", "onnxruntime"),
        )
        manifest = classifiers.publish(staging, draft, live=not settings.quiet)
    if not report.learned:
        say("this classifier was no better than chance on its test rows; see its report")
    return PublishResult(manifest, fresh=True)


def _files(path: Path) -> list[Path]:
    """Return the file itself, or all files below a directory."""
    return [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
