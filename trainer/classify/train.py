"""Train a classifier on labelled texts: fine-tuned, or a head on a frozen encoder; calibrated, exported, measured.

    python -m trainer classify train messages.csv --label-column label --frozen-encoder
    python -m trainer classify train messages.csv --budget 10m

What is measured is the exported model through the code that serves it.
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
from trainer.classify.base import find_directory, load_start, open_frozen
from trainer.classify.calibration import calibrate
from trainer.classify.data import SHOWN, Labelled, divide, labelled, read_rows
from trainer.classify.export import check_classifier, export_classifier, export_head, torch_logits
from trainer.classify.finetune import tune
from trainer.classify.head import fit_head, probe
from trainer.classify.report import ClassifyReport, measure, summary
from trainer.classify.report_page import write_classify_report
from trainer.classify.settings import ClassifyTrainSettings
from trainer.evaluate.report import HTML_FILE, Curves, DevPoint, LossPoint
from trainer.files import move_into
from trainer.models.onnx import TEXTS
from trainer.training.base_model import is_first
from trainer.training.checkpoints import last_checkpoint
from trainer.training.log import LOG, read_log
from trainer.training.output import CHECKPOINTS, RECORD, Record, Result, check_out, describe, write_record

RARE = 10
"""Test rows of a label below which its figures say little."""
CUT_OFF = 0.05
"""From this share of texts on that are longer than what is read, the report says so."""


def train(source: Path, settings: ClassifyTrainSettings, out: Path, data: Path | None = None) -> Path:
    """Train a classifier on the labelled texts of ``source`` and write it into ``out``, which is returned.

    Args:
        source: Parquet, CSV or JSON lines with texts and labels.
        settings: see `ClassifyTrainSettings`.
        out: the directory to write: ``onnx/model.onnx``, ``tokenizer.json``, ``classifier.json``, ``training.json``,
            ``report/``; fine-tuned, also the model in the Hub's format.
        data: the data directory, where a published model is; by default ``$DOWSE_DATA``.

    Raises:
        UserError: the file is not fit to learn from, the model cannot be loaded, or ``out`` is taken.
    """
    record = describe(settings, [source])
    if check_out(out, record, resume=settings.resume):
        say(f"{out}: already finished")
        return out
    rows = read_rows(str(source), settings)
    examples = labelled(rows, divide(rows, dev=settings.dev, test=settings.test, seed=settings.seed))
    say(
        f"{source}: {len(examples.labels)} labels; "
        + ", ".join(f"{side} {len(part.texts):,}" for side, part in examples.parts.items())
    )
    folder = out / RESULT
    shutil.rmtree(folder, ignore_errors=True)  # what a killed export has left
    started = time.monotonic()
    if settings.frozen_encoder:
        learned = freeze(examples, settings, out, record, data)
    else:
        found = fine_tune(examples, settings, out, record, data)
        if found is None:  # of several processes the first writes
            return out
        learned = found
    _calibrate_and_measure(learned, examples, folder, record, (str(source), time.monotonic() - started, out.name))
    _finish(out, folder, record, learned.result)
    return out


def _calibrate_and_measure(
    learned: TrainedClassifier, examples: Labelled, folder: Path, record: Record, what: tuple[str, float, str]
) -> None:
    """Fit the calibration on dev, measure on test, and write ``classifier.json`` and the report."""
    source, seconds, name = what
    raw = Classifier(folder, learned.contract)
    contract = calibrate(learned.contract, raw.logits(examples.dev.texts), examples.dev)
    test = examples.test
    report = ClassifyReport(
        name=name,
        source=Path(source).name,
        side="test",
        kind=learned.kind,
        base=learned.base,
        rows={side: len(part.texts) for side, part in examples.parts.items()},
        settings={key: value for key, value in record.settings.items() if value is not None},
        seconds=round(seconds, 1),
        notes=notes(examples, folder, contract),
        **learned.details,
        **measure(contract, raw.logits(test.texts), test, examples.train.truth),
    )
    (folder / CONTRACT).write_text(contract.model_dump_json(indent=2) + "\n", encoding="utf-8")
    write_classify_report(report, folder / "report")
    say(summary(report))


def notes(examples: Labelled, folder: Path, contract: ClassifierContract) -> list[str]:
    """Return what a reader of the figures should know."""
    found = list(examples.notes)
    if seen := int(examples.test.seen.sum()):
        found.append(
            f"{seen:,} of the test rows have the text of a training row; the table has the others by themselves"
        )
    support = zip(examples.labels, examples.test.truth.sum(axis=0), strict=True)
    if rare := [label for label, rows in support if rows < RARE]:
        which = ", ".join(rare[:SHOWN]) + (" …" if len(rare) > SHOWN else "")
        found.append(f"fewer than {RARE} test rows have the label {which}: its figures say little")
    tokenizer = load_tokenizer(folder)
    lengths = [len(encoding.ids) for encoding in tokenizer.encode_batch(examples.test.texts)]
    longer = sum(length > contract.max_tokens for length in lengths) / len(lengths)
    if longer > CUT_OFF:
        found.append(
            f"{longer:.0%} of the texts are longer than the {contract.max_tokens} tokens that are read; --max-tokens reads more"
        )
    return found


def _finish(out: Path, folder: Path, record: Record, result: Result) -> None:
    """Move the result to its place, file by file, what makes it a classifier last; then remove the checkpoints."""
    move_into(folder, out, last={CONTRACT})
    write_record(out, record.model_copy(update={"result": result}))
    shutil.rmtree(out / CHECKPOINTS)
    say(f"report: {out / 'report' / HTML_FILE}")


def read_record(folder: Path) -> Record:
    """Return what the classifier in ``folder`` was trained on; raise `UserError` where that is not known."""
    try:
        return Record.model_validate_json((folder / RECORD).read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(f"{folder / RECORD}: missing or not readable; train the classifier again") from error


RESULT = Path(CHECKPOINTS) / "result"
"""Below ``--out``: where everything is written before it is moved to its place."""


@dataclass(frozen=True)
class TrainedClassifier:
    """What learning has left in the folder of the result: an exported graph and its tokenizer."""

    kind: str
    base: str
    contract: ClassifierContract
    result: Result
    details: dict[str, Any]


def freeze(
    examples: Labelled, settings: ClassifyTrainSettings, out: Path, record: Record, data: Path | None
) -> TrainedClassifier:
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
    return TrainedClassifier("frozen encoder", frozen.name, contract, result, {"tried": tried})


def fine_tune(
    examples: Labelled, settings: ClassifyTrainSettings, out: Path, record: Record, data: Path | None
) -> TrainedClassifier | None:
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
    return TrainedClassifier("fine-tuned", name, contract, result, {"curves": curves(out)})


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
