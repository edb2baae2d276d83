"""Train a classifier on labelled texts, by fine-tuning or with a head on a frozen encoder; calibrate and measure it.

    python -m trainer classify train messages.csv --label-column label --frozen-encoder
    python -m trainer classify train messages.csv --budget 10m

Both ways end in one ONNX graph from token ids to logits. The report measures this exported model, with the code that
serves it.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from indexer.errors import UserError
from indexer.inference.classifier import CONTRACT, Classifier, ClassifierContract
from indexer.inference.session import load_tokenizer
from indexer.progress import say
from trainer.classify.base import find_directory, load_trainable, open_frozen_encoder
from trainer.classify.calibration import calibrate
from trainer.classify.data import MAX_SHOWN, LabelledData, assign_sides, make_splits, read_rows
from trainer.classify.export import check_classifier, export_classifier, export_head, torch_logits
from trainer.classify.finetune import train_all_weights
from trainer.classify.head import fit_head, fit_probe
from trainer.classify.report import ClassifyReport, measure, summarise
from trainer.classify.report_page import write_classify_report
from trainer.classify.settings import ClassifyTrainSettings
from trainer.evaluate.report import HTML_FILE, Curves, DevPoint, LossPoint
from trainer.files import move_into
from trainer.models.onnx import PARITY_TEXTS
from trainer.training.base_model import is_first_process
from trainer.training.checkpoints import last_checkpoint
from trainer.training.log import LOG, read_log
from trainer.training.output import CHECKPOINTS, RECORD, Record, Result, check_output, describe_training, write_record

MIN_TEST_ROWS = 10
"""Test rows of a label; the report warns of labels with fewer."""
MAX_TRUNCATED_SHARE = 0.05
"""Share of truncated texts; the report warns of a larger one."""
RESULT = Path(CHECKPOINTS) / "result"
"""Folder below ``--out`` into which everything is written before it is moved into ``--out``."""


@dataclass(frozen=True)
class TrainedClassifier:
    """A trained classifier, whose graph and tokenizer are in `RESULT`; ``details`` are fields of the report."""

    kind: str
    base: str
    contract: ClassifierContract
    result: Result
    details: dict[str, Any]


def train(source: Path, settings: ClassifyTrainSettings, out: Path, data: Path | None = None) -> Path:
    """Train a classifier on the labelled texts of ``source`` and write it into ``out``, which is returned.

    Args:
        source: Parquet, CSV or JSON lines with texts and labels.
        settings: see `ClassifyTrainSettings`.
        out: the directory to write: ``onnx/model.onnx``, ``tokenizer.json``, ``classifier.json``, ``training.json``,
            ``report/``; fine-tuned, also the model in the Hub's format.
        data: the data directory, where a published model is; by default ``$DOWSE_DATA``.

    Raises:
        UserError: the file is not fit for training, the model cannot be loaded, or ``out`` holds something else.
    """
    record = describe_training(settings, [source])
    if check_output(out, record, resume=settings.resume):
        say(f"{out}: already finished")
        return out
    rows = read_rows(str(source), settings)
    examples = make_splits(rows, assign_sides(rows, dev=settings.dev, test=settings.test, seed=settings.seed))
    say(
        f"{source}: {len(examples.labels)} labels; "
        + ", ".join(f"{side} {len(split.texts):,}" for side, split in examples.splits.items())
    )
    folder = out / RESULT
    shutil.rmtree(folder, ignore_errors=True)  # files of an export that was killed
    started = time.monotonic()
    if settings.frozen_encoder:
        trained = train_head(examples, settings, out, record, data)
    else:
        fine_tuned = fine_tune(examples, settings, out, record, data)
        if fine_tuned is None:  # of several processes only the first writes
            return out
        trained = fine_tuned
    _calibrate_and_measure(trained, examples, folder, record, (str(source), time.monotonic() - started, out.name))
    _finish(out, folder, record, trained.result)
    return out


def train_head(
    examples: LabelledData, settings: ClassifyTrainSettings, out: Path, record: Record, data: Path | None
) -> TrainedClassifier:
    """Fit a head to the embeddings of a frozen encoder and write both as one graph into ``out / RESULT``."""
    folder = out / RESULT
    write_record(out, record)
    sample = examples.dev.texts[:PARITY_TEXTS]
    frozen = open_frozen_encoder(settings.model, data, out / CHECKPOINTS / "encoder", settings.max_tokens, sample)
    started = time.monotonic()
    vectors = frozen.encode(examples.train.texts)
    head, points = fit_head(vectors, examples, settings)
    export_head(frozen.graph, head, folder)
    shutil.copyfile(frozen.folder / "tokenizer.json", folder / "tokenizer.json")
    encoder_contract = frozen.encoder.contract
    contract = ClassifierContract(
        labels=examples.labels,
        multi_label=examples.multi_label,
        max_tokens=encoder_contract.max_tokens,
        prompt=encoder_contract.document_prompt,
        pad_token_id=encoder_contract.pad_token_id,
    )
    check_classifier(
        Classifier(folder, contract), lambda texts: head.logits(frozen.encoder.encode_documents(texts)), sample
    )
    best = max(points, key=lambda point: point.macro_f1)
    say(f"classify: C = {best.c:g}, macro-F1 {best.macro_f1:.4f} in the cross-validation")
    result = Result(steps=0, seconds=round(time.monotonic() - started, 3), start=None, best=best.macro_f1)
    return TrainedClassifier("frozen encoder", frozen.name, contract, result, {"tried": points})


def fine_tune(
    examples: LabelledData, settings: ClassifyTrainSettings, out: Path, record: Record, data: Path | None
) -> TrainedClassifier | None:
    """Fine-tune a model, write it with its graph into ``out / RESULT``; None on all processes but the first."""
    name, directory = find_directory(settings.model, data)
    trainable = load_trainable(
        directory,
        examples.labels,
        multi_label=examples.multi_label,
        max_tokens=settings.max_tokens,
        seed=settings.seed,
    )
    if last_checkpoint((out / CHECKPOINTS).resolve()) is None:
        fit_probe(trainable, examples, settings)
    result = train_all_weights(trainable, examples, settings, out, record)
    if not is_first_process():
        return None
    folder = out / RESULT
    trainable.model.save_pretrained(str(folder))
    trainable.tokenizer.save_pretrained(str(folder))
    expected = torch_logits(trainable.model, trainable.tokenizer, trainable.max_tokens)
    export_classifier(trainable.model, trainable.tokenizer, folder)
    contract = ClassifierContract(
        labels=examples.labels,
        multi_label=examples.multi_label,
        max_tokens=trainable.max_tokens,
        pad_token_id=trainable.tokenizer.pad_token_id or 0,
    )
    check_classifier(Classifier(folder, contract), expected, examples.dev.texts)
    return TrainedClassifier("fine-tuned", name, contract, result, {"curves": read_curves(out)})


def collect_notes(examples: LabelledData, folder: Path, contract: ClassifierContract) -> list[str]:
    """Return warnings about the figures: texts that were trained on, labels with few rows, truncated texts."""
    notes = list(examples.notes)
    if seen := int(examples.test.seen.sum()):
        notes.append(
            f"{seen:,} of the test rows have the text of a training row; the table also has the figures without them"
        )
    support = zip(examples.labels, examples.test.truth.sum(axis=0), strict=True)
    if rare := [label for label, rows in support if rows < MIN_TEST_ROWS]:
        which = ", ".join(rare[:MAX_SHOWN]) + (" …" if len(rare) > MAX_SHOWN else "")
        notes.append(f"fewer than {MIN_TEST_ROWS} test rows have the label {which}: its figures say little")
    tokenizer = load_tokenizer(folder)
    lengths = [len(encoding.ids) for encoding in tokenizer.encode_batch(examples.test.texts)]
    truncated = sum(length > contract.max_tokens for length in lengths) / len(lengths)
    if truncated > MAX_TRUNCATED_SHARE:
        notes.append(
            f"{truncated:.0%} of the texts are longer than the {contract.max_tokens} tokens that are read; "
            "raise --max-tokens to read more"
        )
    return notes


def read_curves(out: Path) -> Curves:
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


def read_record(folder: Path) -> Record:
    """Return the training record of the classifier in ``folder``; raise `UserError` where it has none."""
    try:
        return Record.model_validate_json((folder / RECORD).read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(f"{folder / RECORD}: missing or not readable; train the classifier again") from error


def _calibrate_and_measure(
    trained: TrainedClassifier, examples: LabelledData, folder: Path, record: Record, facts: tuple[str, float, str]
) -> None:
    """Fit the calibration on dev, measure on test, and write ``classifier.json`` and the report.

    ``facts`` are the source, the seconds of the training and the name of the classifier.
    """
    source, seconds, name = facts
    raw = Classifier(folder, trained.contract)
    contract = calibrate(trained.contract, raw.logits(examples.dev.texts), examples.dev)
    test = examples.test
    report = ClassifyReport(
        name=name,
        source=Path(source).name,
        side="test",
        kind=trained.kind,
        base=trained.base,
        rows={side: len(split.texts) for side, split in examples.splits.items()},
        settings={key: value for key, value in record.settings.items() if value is not None},
        seconds=round(seconds, 1),
        notes=collect_notes(examples, folder, contract),
        **trained.details,
        **measure(contract, raw.logits(test.texts), test, examples.train.truth),
    )
    (folder / CONTRACT).write_text(contract.model_dump_json(indent=2) + "\n", encoding="utf-8")
    write_classify_report(report, folder / "report")
    say(summarise(report))


def _finish(out: Path, folder: Path, record: Record, result: Result) -> None:
    """Move the result into ``out`` file by file, its contract last; then remove the checkpoints."""
    move_into(folder, out, last={CONTRACT})
    write_record(out, record.model_copy(update={"result": result}))
    shutil.rmtree(out / CHECKPOINTS)
    say(f"report: {out / 'report' / HTML_FILE}")
