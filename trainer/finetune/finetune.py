"""Fine-tune an encoder on training examples, with any of the losses that `trainer.finetune.losses` names.

python -m trainer finetune pairs.parquet --loss mnr --dev dev.parquet --budget 10m
accelerate launch -m trainer finetune pairs.parquet          # on several GPUs
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from datasets import Dataset
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Router
from transformers import set_seed

from indexer.errors import UserError
from indexer.progress import say
from trainer.finetune.dev import DevMetric, dev_judge
from trainer.finetune.examples import read_examples
from trainer.finetune.fit import Task, fit
from trainer.finetune.grouped import NEIGHBOURHOOD
from trainer.finetune.losses import LOSSES, LossOptions, divide_scores, make_loss, teacher_temperature
from trainer.finetune.settings import FinetuneSettings, TsdaeSettings
from trainer.finetune.tsdae import denoising_task
from trainer.models.onnx import encoder_contract
from trainer.training.base_model import find_base_model, freeze, is_first, load_base_model
from trainer.training.output import Record, Trained, check_out, describe, trained


def finetune(
    examples: Sequence[Path] | Dataset,
    settings: FinetuneSettings,
    out: Path,
    dev: Sequence[Path] | None = None,
    evaluator: DevMetric | None = None,
    *,
    data: Path | None = None,
) -> Trained:
    """Fine-tune an encoder and write it as a sentence-transformers directory.

    Args:
        examples: Parquet or CSV files, or a data set with the columns that the loss learns from.
        settings: see `FinetuneSettings`.
        out: the directory to write.
        dev: files of examples that decide which weights are kept, by the metric that suits their columns.
        evaluator: takes the model during training and returns how good it is, bigger is better; in place of ``dev``.
        data: the data directory in which the live model is; by default ``$DOWSE_DATA``.

    Raises:
        UserError: the examples do not suit the loss, the model cannot be loaded, or ``out`` is taken.
    """
    files = [] if isinstance(examples, Dataset) else list(examples)
    record = describe(settings, [*files, *(dev or ())])
    if done := check_out(out, record, resume=settings.resume):
        say(f"{out}: already finished")
        return trained(out, done)
    if settings.patience and not (dev or evaluator):
        raise UserError(f"--patience {settings.patience}: there is nothing to measure gain on; give --dev too")
    kind = LOSSES[settings.loss]
    if not isinstance(examples, Dataset):
        examples = read_examples(files, kind.columns, kind.most_negatives)
    judge = evaluator or (dev_judge(dev, settings.batch_size) if dev else None)
    model = load_base_model(find_base_model(settings.model, data))
    freeze(model, settings.freeze)
    if settings.loss == "tsdae":
        ratio = TsdaeSettings().deletion_ratio
        return fit(denoising_task(model, examples, settings, record, ratio=ratio, judge=judge), settings, out)
    set_seed(settings.seed)
    return fit(_task(model, examples, settings, record, judge), settings, out)


def _task(
    model: SentenceTransformer, examples: Dataset, settings: FinetuneSettings, record: Record, judge: DevMetric | None
) -> Task:
    kind = LOSSES[settings.loss]
    temperature = settings.teacher_temperature
    if kind.columns == "listwise" and temperature is None:
        temperature = teacher_temperature(settings.loss, examples, model)
        if is_first():
            say(f"the teacher's scores are divided by {temperature:.4g}")
    if settings.loss == "margin-mse":
        examples = divide_scores(examples, temperature or 1.0)
    options = LossOptions(
        temperature=settings.temperature,
        teacher_temperature=temperature,
        margin=settings.margin,
        mini_batch_size=settings.mini_batch_size,
        guide=settings.guide,
        gather=int(os.environ.get("WORLD_SIZE", "1")) > 1,
    )
    near = examples[NEIGHBOURHOOD] if NEIGHBOURHOOD in examples.column_names else None
    if near is not None:
        examples = examples.remove_columns(NEIGHBOURHOOD)
    sides = {name: _side(name) for name in examples.column_names if _side(name)}
    contract = encoder_contract(model)
    prompts = {"query": contract.query_prompt, "document": contract.document_prompt}
    return Task(
        name=f"finetune {settings.loss}",
        model=model,
        loss=make_loss(settings.loss, model, options, settings.matryoshka_lengths),
        examples=examples,
        record=record,
        judge=judge,
        distinct=kind.in_batch,
        grouped=kind.grouped,
        neighbourhoods=near,
        prompts={name: prompts[side] for name, side in sides.items() if prompts[side]},
        routes=sides if any(isinstance(module, Router) for module in model) else None,
    )


def _side(column: str) -> str:
    """Return whether a column's texts are encoded as queries or as documents; nothing for a column of numbers."""
    if column in {"query", "sentence1"}:
        return "query"
    if column in {"score", "scores", "label"}:
        return ""
    return "document"
