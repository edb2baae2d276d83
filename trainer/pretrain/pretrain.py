"""A BERT that is pre-trained on the texts of a corpus: masked words, and whether one segment follows another.

    python -m trainer pretrain corpus.parquet --budget 20m                   a new BERT with a tokenizer of its own
    python -m trainer pretrain corpus.parquet --from bert-base-uncased       goes on with one that is there
    accelerate launch -m trainer pretrain corpus.parquet --compile           on all GPUs of this machine

Devlin et al. 2018, https://arxiv.org/abs/1810.04805. What is written is a directory of the Hub's format, the start of
`tsdae`, `finetune` and `base`.
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
from trainer.pretrain.data import FOLDER, PretrainData, advise, check, prepare
from trainer.pretrain.loop import Ended, Job, Loop
from trainer.pretrain.model import load_checkpoint
from trainer.pretrain.objective import Objective
from trainer.pretrain.report import FOLDER as REPORT
from trainer.pretrain.report import (
    CorpusFacts,
    ModelFacts,
    PretrainReport,
    WorkFacts,
    curves,
    now,
    operations_per_token,
    peak,
)
from trainer.pretrain.report_page import write_pretrain_report
from trainer.pretrain.settings import PretrainSettings
from trainer.pretrain.setup import Setup, processes, set_up
from trainer.training.base_model import quiet
from trainer.training.log import LOG, read_log
from trainer.training.output import CHECKPOINTS, Record, Result, check_out, write_record

CHECKPOINT_DECIDES = ("vocab_size", "keep_case", "keep_accents", "layers", "hidden", "heads", "intermediate")
LAST = "config.json"
"""Without it no library takes a directory for a model."""


def pretrain(source: str, settings: PretrainSettings, out: Path, start: str | None = None) -> Path:
    """Pre-train a BERT and write it, with its tokenizer and a report, into ``out``; return that directory.

    With several processes all of them call this, and the first writes.

    Args:
        source: a corpus: file, folder or glob of Parquet, CSV or JSON lines, or the URL of a database.
        settings: see `PretrainSettings`.
        out: the directory to write.
        start: the model to go on from: a directory of transformers or sentence-transformers, or a name on the Hub;
            None for a new one.

    Raises:
        UserError: corpus, checkpoint or sizes are refused, or ``out`` is taken.
    """
    quiet()
    if start:
        _refuse_sizes(settings)
    accelerator = processes(settings)
    first = accelerator.is_main_process
    checkpoint = load_checkpoint(start) if start else None
    folder = out / CHECKPOINTS / FOLDER
    if first:
        corpus = check(source, settings)
        described = settings.model_dump(mode="json", exclude={"resume"}) | {"from": start}
        record = Record(settings=described, inputs=corpus.inputs)
        if check_out(out, record, resume=settings.resume):
            say(f"{out}: already finished")
            shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)  # where the end was killed while it cleared up
        else:
            if not settings.resume:
                shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)
            write_record(out, record)
            prepare(corpus, settings, folder, checkpoint.tokenizer.backend_tokenizer if checkpoint else None)
    accelerator.wait_for_everyone()
    if not folder.is_dir():  # finished before
        return out
    material = PretrainData.open(folder)
    if first:
        advise(material, new=checkpoint is None)
        if checkpoint and not checkpoint.nsp and not settings.no_nsp:
            say(f"{checkpoint.name} has no head for the next sentence: it learns masked words only")
    setup = set_up(settings, material, checkpoint, accelerator)
    job = setup.job
    ended = Loop(job, settings, out, accelerator, setup.steps).run()
    if first:
        result = job.watch.measure(
            Objective(job.model, nsp=job.nsp), accelerator.device, everything=True, autocast=accelerator.autocast
        )
        points, losses = curves(read_log(out / LOG))
        report = PretrainReport(
            created=now(),
            corpus=CorpusFacts(
                name=Path(record.inputs[0].name).name if len(record.inputs) == 1 else f"{len(record.inputs)} files",
                documents=material.documents,
                held_out_documents=material.held_out_documents,
                tokens=len(material.train.tokens),
                held_out_tokens=len(material.held_out.tokens),
                vocabulary=job.model.config.vocab_size,
            ),
            model=_model_facts(job, start),
            work=_work_facts(job, ended, accelerator, settings),
            settings=record.settings,
            result=result,
            held_out=points,
            losses=losses,
        )
        _finish(out, setup, report, record, ended)
    accelerator.wait_for_everyone()
    return out


def _refuse_sizes(settings: PretrainSettings) -> None:
    for name in CHECKPOINT_DECIDES:
        if getattr(settings, name) != PretrainSettings.model_fields[name].default:
            raise UserError(f"--{name.replace('_', '-')}: the checkpoint given with --from decides it; leave it out")


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


def _work_facts(job: Job, ended: Ended, accelerator: Accelerator, settings: PretrainSettings) -> WorkFacts:
    on_gpu = accelerator.device.type == "cuda"
    name = torch.cuda.get_device_name(accelerator.device) if on_gpu else f"CPU, {torch.get_num_threads()} threads"
    rate = ended.tokens / max(ended.training, 1e-9)
    most = peak(name) if on_gpu else None
    mean = job.watch.mean_length()
    cost = operations_per_token(job.model.config, mean, settings.mask)
    return WorkFacts(
        device=name,
        processes=accelerator.num_processes,
        steps=ended.step,
        tokens=ended.tokens,
        seconds=round(ended.seconds, 3),
        tokens_per_second=round(rate, 1),
        peak_share=None if most is None else rate * cost / (most * accelerator.num_processes),
    )


def _finish(out: Path, trained: Setup, report: PretrainReport, record: Record, ended: Ended) -> None:
    """Write model and report into ``out``, then the result, then remove the checkpoints.

    The model is saved aside and moved file by file; what makes the directory a model comes last.
    """
    whole = out / CHECKPOINTS / "result"
    shutil.rmtree(whole, ignore_errors=True)
    trained.job.model.cpu().save_pretrained(str(whole))
    trained.tokenizer.save_pretrained(str(whole))
    write_pretrain_report(report, out / REPORT)
    move_into(whole, out, last={LAST})
    start: Any = report.held_out[0].figures.mlm_loss if report.held_out else None
    result = Result(steps=ended.step, seconds=round(ended.seconds, 3), start=start, best=report.result.mlm_loss)
    write_record(out, record.model_copy(update={"result": result}))
    shutil.rmtree(out / CHECKPOINTS)
    shown = report.result
    say(f"held out: MLM loss {shown.mlm_loss:.3f}, {report.gain:.3f} below unigrams ({shown.unigram_loss:.3f})")
    say(
        f"  where [MASK] stands {shown.masked_loss:.3f}, {report.masked_gain:.3f} below; right {shown.masked_accuracy:.1%}"
    )
    if shown.nsp_accuracy is not None:
        say(f"  NSP loss {shown.nsp_loss:.3f}, accuracy {shown.nsp_accuracy:.3f}")
    work = report.work
    used = "" if work.peak_share is None else f", {work.peak_share:.1%} of the GPU's peak"
    say(
        f"  {work.tokens:,} tokens, {work.tokens_per_second:,.0f} a second{used}; report: {out / REPORT / 'report.html'}"
    )
