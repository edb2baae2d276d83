"""The two ways to a classifier: a logistic head on a frozen encoder, or all weights fine-tuned. Both end in one graph."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from indexer.inference.classifier import Classifier, ClassifierContract
from indexer.progress import say
from trainer.classify.base import find_directory, open_frozen
from trainer.classify.classify_probe import probe
from trainer.classify.classify_start import load_start
from trainer.classify.data import Labelled
from trainer.classify.export import check_classifier, export_classifier, export_head, torch_logits
from trainer.classify.finetune import tune
from trainer.classify.head import fit_head
from trainer.classify.settings import ClassifyTrainSettings
from trainer.evaluate.report import Curves, DevPoint, LossPoint
from trainer.models.parity import TEXTS
from trainer.training.base_model import is_first
from trainer.training.checkpoints import last_checkpoint
from trainer.training.log import LOG, read_log
from trainer.training.output import CHECKPOINTS, Record, Result, write_record

RESULT = Path(CHECKPOINTS) / "result"
"""Below ``--out``: where everything is written before it is moved to its place."""


@dataclass(frozen=True)
class Learned:
    """What learning has left in the folder of the result: an exported graph and its tokenizer."""

    kind: str
    base: str
    contract: ClassifierContract
    result: Result
    details: dict[str, Any]


def freeze(
    examples: Labelled, settings: ClassifyTrainSettings, out: Path, record: Record, data: Path | None
) -> Learned:
    """Fit a head on the embeddings of an encoder and write both as one graph into ``out / RESULT``."""
    folder = out / RESULT
    write_record(out, record)
    sample = examples.dev.texts[:TEXTS]
    frozen = open_frozen(settings.model, data, out / CHECKPOINTS / "encoder", settings.max_tokens, sample)
    started = time.monotonic()
    vectors = frozen.encode(examples.train.texts)
    head, tried = fit_head(vectors, examples, settings)
    export_head(frozen.graph, head, folder)
    shutil.copyfile(frozen.folder / "tokenizer.json", folder / "tokenizer.json")
    own = frozen.encoder.contract
    contract = ClassifierContract(
        labels=examples.labels,
        multi_label=examples.multi_label,
        max_tokens=own.max_tokens,
        prompt=own.document_prompt,
        pad_token_id=own.pad_token_id,
    )
    check_classifier(
        Classifier(folder, contract), lambda texts: head.logits(frozen.encoder.encode_documents(texts)), sample
    )
    best = max(tried, key=lambda each: each.macro_f1)
    say(f"classify: C = {best.c:g}, macro-F1 {best.macro_f1:.4f} in the cross-validation")
    result = Result(steps=0, seconds=round(time.monotonic() - started, 3), start=None, best=best.macro_f1)
    return Learned("frozen encoder", frozen.name, contract, result, {"tried": tried})


def fine_tune(
    examples: Labelled, settings: ClassifyTrainSettings, out: Path, record: Record, data: Path | None
) -> Learned | None:
    """Fine-tune a model and write it with its graph; None on all processes but the first."""
    name, directory = find_directory(settings.model, data)
    start = load_start(
        directory,
        examples.labels,
        multi_label=examples.multi_label,
        max_tokens=settings.max_tokens,
        seed=settings.seed,
    )
    if last_checkpoint((out / CHECKPOINTS).resolve()) is None:
        probe(start, examples, settings)
    result = tune(start, examples, settings, out, record)
    if not is_first():
        return None
    folder = out / RESULT
    start.model.save_pretrained(str(folder))
    start.tokenizer.save_pretrained(str(folder))
    expected = torch_logits(start.model, start.tokenizer, start.max_tokens)
    export_classifier(start.model, start.tokenizer, folder)
    contract = ClassifierContract(
        labels=examples.labels,
        multi_label=examples.multi_label,
        max_tokens=start.max_tokens,
        pad_token_id=start.tokenizer.pad_token_id or 0,
    )
    check_classifier(Classifier(folder, contract), expected, examples.dev.texts)
    return Learned("fine-tuned", name, contract, result, {"curves": curves(out)})


def curves(out: Path) -> Curves:
    """Return loss and macro-F1 on dev from the log of a training."""
    log = read_log(out / LOG)
    return Curves(
        loss=[
            LossPoint(step=int(line["step"]), seconds=line["seconds"], loss=line["loss"])
            for line in log
            if "loss" in line
        ],
        dev=[DevPoint(at=int(line["step"]), value=line["dev"]) for line in log if "dev" in line],
        dev_measure="macro-F1",
    )
