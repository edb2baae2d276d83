"""Output directory of a training: refused where something would be destroyed, resumed where unfinished, then completed.

<out>/training.json      settings and inputs and, at the end, the result
<out>/log.jsonl          every loss and evaluation
<out>/checkpoints/       only while it runs
<out>/modules.json …     the model in the format of sentence-transformers, written last
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from sentence_transformers import SentenceTransformer

from indexer.artifacts.manifest import InputEntry, describe_input
from indexer.errors import UserError
from trainer.files import move_into
from trainer.training.checkpoints import last_checkpoint
from trainer.training.log import LOG, read_log

RECORD = "training.json"
CHECKPOINTS = "checkpoints"
MODEL_MARKERS = ("config.json", "modules.json")
"""Written last: no library takes a directory without these two files for a model."""
MAY_DIFFER = {"report_to", "budget", "patience", "eval_steps", "save_steps"}
"""Settings that may have another value when a training is resumed."""


class Result(BaseModel):
    """Result of a training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(description="steps of the optimizer")
    seconds: float = Field(description="time that they took, with evaluations, without work that a kill lost")
    start: float | None = Field(description="dev metric before the first step; null without a dev split")
    best: float | None = Field(description="dev metric of the weights that were kept; null without a dev split")


@dataclass(frozen=True)
class FinishedTraining:
    """A finished training: the model's directory, steps, seconds, and the dev metric at the start and of the result."""

    path: Path
    steps: int
    seconds: float
    start: float | None
    best: float | None
    log: list[dict[str, float]]


class Record(BaseModel):
    """Settings and inputs of a training, and its result once it is finished."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    settings: dict[str, Any] = Field(description="the command's settings")
    inputs: list[InputEntry] = Field(description="the files that it was trained on")
    result: Result | None = Field(default=None, description="null while it is unfinished")


def describe_training(settings: BaseModel, paths: Sequence[Path] = ()) -> Record:
    """Return the record of a training that is about to start.

    Raises:
        UserError: a file is not there.
    """
    for path in paths:
        if not path.is_file():
            raise UserError(f"{path}: no such file; give a Parquet or CSV file")
    return Record(
        settings=settings.model_dump(mode="json", exclude={"resume"}),
        inputs=[describe_input(path, str(path)) for path in paths],
    )


def check_output(out: Path, record: Record, *, resume: bool) -> Result | None:
    """Return the result of the same training where ``out`` already holds it, and None where there is work to do.

    Raises:
        UserError: the directory holds something else, or a training and ``resume`` is not set.
    """
    if not out.exists() or not any(out.iterdir()):
        return None
    try:
        earlier = Record.model_validate_json((out / RECORD).read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(f"{out}: holds files that are not of a training; give another --out") from error
    if earlier.result is None and last_checkpoint(out / CHECKPOINTS) is None:
        return None  # nothing would be lost
    if not resume:
        state = "an unfinished" if earlier.result is None else "a finished"
        raise UserError(f"{out}: holds {state} training; continue it with --resume or give another --out")
    for name in sorted({*earlier.settings, *record.settings} - MAY_DIFFER):
        if earlier.settings.get(name) != record.settings.get(name):
            raise UserError(
                f"--{name.replace('_', '-')} {record.settings.get(name)}: {out} was begun with "
                f"{earlier.settings.get(name)}; resume it with that or give another --out"
            )
    if earlier.inputs != record.inputs:
        raise UserError(f"{out}: was begun with other examples; resume it with those or give another --out")
    return earlier.result


def load_finished(out: Path, result: Result) -> FinishedTraining:
    """Return the finished training in ``out`` with its log."""
    return FinishedTraining(path=out, log=read_log(out / LOG), **result.model_dump())


def write_record(out: Path, record: Record) -> None:
    """Write ``training.json``, completely or not at all."""
    out.mkdir(parents=True, exist_ok=True)
    partial = out / f".{RECORD}"
    partial.write_text(
        json.dumps(record.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    partial.replace(out / RECORD)


def finish(out: Path, model: SentenceTransformer, record: Record, result: Result) -> None:
    """Write the model into ``out``, then the result, then remove the checkpoints.

    The model is saved among the checkpoints first and then moved file by file, `MODEL_MARKERS` last.
    """
    staging = out / CHECKPOINTS / "result"
    shutil.rmtree(staging, ignore_errors=True)
    model.save_pretrained(str(staging), create_model_card=False)
    move_into(staging, out, last=MODEL_MARKERS)
    write_record(out, record.model_copy(update={"result": result}))
    shutil.rmtree(out / CHECKPOINTS)
