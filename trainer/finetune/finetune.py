"""Fine-tune an encoder on training examples, with any of the losses in `trainer.finetune.losses`.

python -m trainer finetune pairs.parquet --loss mnr --dev dev.parquet --budget 10m
accelerate launch -m trainer finetune pairs.parquet          # on several GPUs
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from datasets import Dataset
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Router
from transformers import set_seed

from indexer.errors import UserError
from indexer.progress import say
from trainer.finetune.dev import DevMetric, make_dev_metric
from trainer.finetune.examples import read_examples
from trainer.finetune.fit import Task, fit
from trainer.finetune.grouped import NEIGHBOURHOOD
from trainer.finetune.losses import LOSSES, LossOptions, divide_scores, make_loss, teacher_temperature
from trainer.finetune.settings import FinetuneSettings, TsdaeSettings
from trainer.finetune.tsdae import make_denoising_task
from trainer.models.onnx import encoder_contract
from trainer.training.base_model import count_processes, find_base_model, freeze, is_first_process, load_base_model
from trainer.training.output import FinishedTraining, Record, check_output, describe_training, load_finished


def finetune(
    examples: Sequence[Path] | Dataset,
    settings: FinetuneSettings,
    out: Path,
    dev: Sequence[Path] | None = None,
    evaluator: DevMetric | None = None,
    *,
    data: Path | None = None,
) -> FinishedTraining:
    """Fine-tune an encoder and write it as a sentence-transformers directory.

    Args:
        examples: Parquet or CSV files, or a data set with the columns that the loss learns from.
        settings: see `FinetuneSettings`.
        out: the directory to write.
        dev: files of examples that decide which weights are kept, by the metric that suits their columns.
        evaluator: a dev metric in place of ``dev``; larger is better.
        data: the data directory with the live model; by default ``$DOWSE_DATA``.

    Raises:
        UserError: the examples do not suit the loss, the model cannot be loaded, or ``out`` holds something else.
    """
    files = [] if isinstance(examples, Dataset) else list(examples)
    record = describe_training(settings, [*files, *(dev or ())])
    if result := check_output(out, record, resume=settings.resume):
        say(f"{out}: already finished")
        return load_finished(out, result)
    if settings.patience and not (dev or evaluator):
        raise UserError(f"--patience {settings.patience}: needs dev examples to measure on; give --dev too")
    kind = LOSSES[settings.loss]
    if not isinstance(examples, Dataset):
        examples = read_examples(files, kind.columns, kind.max_negatives)
    dev_metric = evaluator or (make_dev_metric(dev, settings.batch_size) if dev else None)
    model = load_base_model(find_base_model(settings.model, data))
    freeze(model, settings.freeze)
    if settings.loss == "tsdae":
        ratio = TsdaeSettings().deletion_ratio
        task = make_denoising_task(model, examples, settings, record, ratio=ratio, dev_metric=dev_metric)
        return fit(task, settings, out)
    set_seed(settings.seed)
    return fit(_make_task(model, examples, settings, record, dev_metric), settings, out)


def _make_task(
    model: SentenceTransformer,
    examples: Dataset,
    settings: FinetuneSettings,
    record: Record,
    dev_metric: DevMetric | None,
) -> Task:
    kind = LOSSES[settings.loss]
    temperature = settings.teacher_temperature
    if kind.columns == "listwise" and temperature is None:
        temperature = teacher_temperature(settings.loss, examples, model)
        if is_first_process():
            say(f"the teacher's scores are divided by {temperature:.4g}")
    if settings.loss == "margin-mse":
        examples = divide_scores(examples, temperature or 1.0)
    options = LossOptions(
        temperature=settings.temperature,
        teacher_temperature=temperature,
        margin=settings.margin,
        mini_batch_size=settings.mini_batch_size,
        guide=settings.guide,
        gather=count_processes() > 1,
    )
    neighbourhoods = examples[NEIGHBOURHOOD] if NEIGHBOURHOOD in examples.column_names else None
    if neighbourhoods is not None:
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
        dev_metric=dev_metric,
        no_duplicates=kind.in_batch_negatives,
        grouped=kind.grouped,
        neighbourhoods=neighbourhoods,
        prompts={name: prompts[side] for name, side in sides.items() if prompts[side]},
        routes=sides if any(isinstance(module, Router) for module in model) else None,
    )


def _side(column: str) -> str:
    """Return whether a column's texts are encoded as queries or as documents; empty for a column of numbers."""
    if column in {"query", "sentence1"}:
        return "query"
    if column in {"score", "scores", "label"}:
        return ""
    return "document"
