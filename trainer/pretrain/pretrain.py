"""Pre-train a BERT on the texts of a corpus, with masked-language modelling and next-sentence prediction.

    python -m trainer pretrain corpus.parquet --budget 20m                   a new BERT with a tokenizer of its own
    python -m trainer pretrain corpus.parquet --from bert-base-uncased       continue from an existing model
    accelerate launch -m trainer pretrain corpus.parquet --compile           on all GPUs of this machine

Devlin et al. 2018, https://arxiv.org/abs/1810.04805. The output is a directory in the Hub's format, from which `tsdae`,
`finetune` and `base` can start.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from indexer.errors import UserError
from indexer.progress import say
from trainer.files import move_into
from trainer.pretrain.data import FOLDER, PretrainData, check_corpus, prepare, report_sizes
from trainer.pretrain.loop import Job, Loop, TrainingTotals
from trainer.pretrain.model import load_checkpoint
from trainer.pretrain.objective import Objective
from trainer.pretrain.report import FOLDER as REPORT
from trainer.pretrain.report import (
    CorpusFacts,
    ModelFacts,
    PretrainReport,
    WorkFacts,
    operations_per_token,
    peak_operations,
    read_curves,
    utc_now,
)
from trainer.pretrain.report_page import write_pretrain_report
from trainer.pretrain.settings import PretrainSettings
from trainer.pretrain.setup import Setup, make_accelerator, set_up
from trainer.training.base_model import silence_libraries
from trainer.training.log import LOG, read_log
from trainer.training.output import CHECKPOINTS, Record, Result, check_output, write_record

CHECKPOINT_DECIDES = ("vocab_size", "keep_case", "keep_accents", "layers", "hidden", "heads", "intermediate")
MODEL_MARKER = "config.json"
"""Written last: no library takes a directory without this file for a model."""


def pretrain(source: str, settings: PretrainSettings, out: Path, start: str | None = None) -> Path:
    """Pre-train a BERT and write it, with its tokenizer and a report, into ``out``; return that directory.

    With several processes all of them call this, and the first one writes.

    Args:
        source: a corpus: file, folder or glob of Parquet, CSV or JSON lines, or the URL of a database.
        settings: see `PretrainSettings`.
        out: the directory to write.
        start: the model to start from: a directory of transformers or sentence-transformers, or a name on the Hub; None
            for a new one.

    Raises:
        UserError: corpus, checkpoint or sizes are refused, or ``out`` holds something else.
    """
    silence_libraries()
    if start:
        _refuse_sizes(settings)
    accelerator = make_accelerator(settings)
    first = accelerator.is_main_process
    checkpoint = load_checkpoint(start) if start else None
    folder = out / CHECKPOINTS / FOLDER
    if first:
        corpus = check_corpus(source, settings)
        recorded_settings = settings.model_dump(mode="json", exclude={"resume"}) | {"from": start}
        record = Record(settings=recorded_settings, inputs=corpus.inputs)
        if check_output(out, record, resume=settings.resume):
            say(f"{out}: already finished")
            shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)  # left where a kill interrupted the clean-up
        else:
            if not settings.resume:
                shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)
            write_record(out, record)
            prepare(corpus, settings, folder, checkpoint.tokenizer.backend_tokenizer if checkpoint else None)
    accelerator.wait_for_everyone()
    if not folder.is_dir():  # finished before
        return out
    data = PretrainData.open(folder)
    if first:
        report_sizes(data, new=checkpoint is None)
        if checkpoint and not checkpoint.has_nsp_head and not settings.no_nsp:
            say(f"{checkpoint.name} has no next-sentence head: it learns masked words only")
    setup = set_up(settings, data, checkpoint, accelerator)
    job = setup.job
    totals = Loop(job, settings, out, accelerator, setup.steps).run()
    if first:
        result = job.evaluator.measure(
            Objective(job.model, nsp=job.nsp), accelerator.device, everything=True, autocast=accelerator.autocast
        )
        points, losses = read_curves(read_log(out / LOG))
        report = PretrainReport(
            created=utc_now(),
            corpus=CorpusFacts(
                name=Path(record.inputs[0].name).name if len(record.inputs) == 1 else f"{len(record.inputs)} files",
                documents=data.documents,
                held_out_documents=data.held_out_documents,
                tokens=len(data.train.tokens),
                held_out_tokens=len(data.held_out.tokens),
                vocabulary=job.model.config.vocab_size,
            ),
            model=_model_facts(job, start),
            work=_work_facts(job, totals, accelerator, settings),
            settings=record.settings,
            result=result,
            held_out=points,
            losses=losses,
        )
        _finish(out, setup, report, record, totals)
    accelerator.wait_for_everyone()
    return out


def _refuse_sizes(settings: PretrainSettings) -> None:
    """Raise `UserError` where a setting is given that the checkpoint decides."""
    for name in CHECKPOINT_DECIDES:
        if getattr(settings, name) != PretrainSettings.model_fields[name].default:
            raise UserError(f"--{name.replace('_', '-')}: the checkpoint given with --from decides this; leave it out")


def _model_facts(job: Job, start: str | None) -> ModelFacts:
    config = job.model.config
    return ModelFacts(
        start=start,
        architecture=type(job.model).__name__,
        parameters=sum(weight.numel() for weight in job.model.parameters()),
        layers=config.num_hidden_layers,
        hidden=config.hidden_size,
        heads=config.num_attention_heads,
        max_length=job.recipe.length,
    )


def _work_facts(job: Job, totals: TrainingTotals, accelerator: Accelerator, settings: PretrainSettings) -> WorkFacts:
    on_gpu = accelerator.device.type == "cuda"
    name = torch.cuda.get_device_name(accelerator.device) if on_gpu else f"CPU, {torch.get_num_threads()} threads"
    rate = totals.tokens / max(totals.training_seconds, 1e-9)
    peak = peak_operations(name) if on_gpu else None
    length = job.evaluator.mean_length()
    operations = operations_per_token(job.model.config, length, settings.mask)
    return WorkFacts(
        device=name,
        processes=accelerator.num_processes,
        steps=totals.step,
        tokens=totals.tokens,
        seconds=round(totals.seconds, 3),
        tokens_per_second=round(rate, 1),
        peak_share=None if peak is None else rate * operations / (peak * accelerator.num_processes),
    )


def _finish(out: Path, setup: Setup, report: PretrainReport, record: Record, totals: TrainingTotals) -> None:
    """Write model and report into ``out``, then the result, then remove the checkpoints.

    The model is saved among the checkpoints first and then moved file by file, `MODEL_MARKER` last.
    """
    staging = out / CHECKPOINTS / "result"
    shutil.rmtree(staging, ignore_errors=True)
    setup.job.model.cpu().save_pretrained(str(staging))
    setup.tokenizer.save_pretrained(str(staging))
    write_pretrain_report(report, out / REPORT)
    move_into(staging, out, last={MODEL_MARKER})
    start: Any = report.held_out[0].figures.mlm_loss if report.held_out else None
    result = Result(steps=totals.step, seconds=round(totals.seconds, 3), start=start, best=report.result.mlm_loss)
    write_record(out, record.model_copy(update={"result": result}))
    shutil.rmtree(out / CHECKPOINTS)
    metrics = report.result
    say(f"held out: MLM loss {metrics.mlm_loss:.3f}, {report.gain:.3f} below unigrams ({metrics.unigram_loss:.3f})")
    say(
        f"  where [MASK] stands {metrics.masked_loss:.3f}, {report.masked_gain:.3f} below; "
        f"right {metrics.masked_accuracy:.1%}"
    )
    if metrics.nsp_accuracy is not None:
        say(f"  NSP loss {metrics.nsp_loss:.3f}, accuracy {metrics.nsp_accuracy:.3f}")
    work = report.work
    used = "" if work.peak_share is None else f", {work.peak_share:.1%} of the GPU's peak"
    say(
        f"  {work.tokens:,} tokens, {work.tokens_per_second:,.0f} a second{used}; report: {out / REPORT / 'report.html'}"
    )
