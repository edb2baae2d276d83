"""TSDAE: an encoder learns a corpus by rebuilding whole texts from the vectors of damaged ones.

    python -m trainer tsdae --source corpus.parquet --model bert-base-uncased

It comes *before* supervised training: afterwards it undoes more than it adds. Wang et al. 2021,
https://arxiv.org/abs/2104.06979.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
from datasets import Dataset
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling
from transformers import set_seed

from indexer.artifacts.manifest import InputEntry
from indexer.corpus.corpus import Corpus
from indexer.errors import UserError
from indexer.progress import say
from trainer.finetune.dev import Judge
from trainer.finetune.fit import Task, fit
from trainer.finetune.losses import denoising_loss
from trainer.finetune.noise import DeletionCollator
from trainer.models.base import locate
from trainer.training.base_model import load_start
from trainer.training.output import CHECKPOINTS, Record, Trained, check_out, trained, write_record
from trainer.training.settings import FitSettings, TsdaeSettings


def tsdae(source: str | Sequence[str], settings: TsdaeSettings, out: Path, judge: Judge | None = None) -> Trained:
    """Pre-train an encoder on texts and write it as a sentence-transformers directory.

    Args:
        source: a corpus (file, folder or glob of Parquet, CSV or JSON lines; the training frame is one), or the texts.
        settings: see `TsdaeSettings`.
        out: the directory to write.
        judge: takes the model during training and returns how good it is; the best weights are kept.

    Raises:
        UserError: the corpus or the model cannot be read, the architecture has no decoder, or ``out`` is taken.
    """
    corpus = _check(source, settings) if isinstance(source, str) else None
    inputs = corpus.inputs if corpus else [_describe(source)]
    record = Record(settings=settings.model_dump(mode="json", exclude={"resume"}), inputs=inputs)
    if done := check_out(out, record, resume=settings.resume):
        say(f"{out}: already finished")
        return trained(out, done)
    model = load_start(locate(settings.model)[1], settings.pooling, plain="cls")
    write_record(out, record)
    examples = _spool(corpus, out / CHECKPOINTS) if corpus else Dataset.from_dict({"text": list(source)})
    task = denoising_task(model, examples, settings, record, ratio=settings.deletion_ratio, judge=judge)
    return fit(task, settings, out)


def denoising_task(
    model: SentenceTransformer,
    examples: Dataset,
    settings: FitSettings,
    record: Record,
    *,
    ratio: float,
    judge: Judge | None,
) -> Task:
    """Return the task of rebuilding the column ``text`` of ``examples`` from the vectors of damaged copies.

    What the model has after its pooling (a Dense layer, Normalize) takes no part and stays as it is: the decoder needs
    vectors as wide as its own.

    Raises:
        UserError: there are several processes, or the architecture has no decoder.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError("tsdae trains on one GPU, for the decoder's gradients are not shared; start it with python -m")
    pooling = next((module for module in model if isinstance(module, Pooling)), None)
    if pooling is None:
        raise UserError("the model has no pooling; give --pooling")
    part = SentenceTransformer(modules=[model[0], pooling], device="cpu")
    set_seed(settings.seed)  # what of the decoder is new is drawn
    return Task(
        name="tsdae",
        model=part,
        loss=denoising_loss(part),
        examples=examples,
        record=record,
        judge=judge,
        whole=model,
        collator=DeletionCollator(
            preprocess_fn=part.preprocess,
            tokenizer=part.tokenizer,
            ratio=ratio,
            max_length=min(settings.max_tokens or 512, part.max_seq_length or 512),
        ),
    )


def _check(source: str, settings: TsdaeSettings) -> Corpus:
    corpus = Corpus.check(
        source, text_column=settings.text_column, title_column="none", limit=settings.limit, skip_bad_rows=True
    )
    if corpus.rejects:
        first = corpus.rejects[0]
        say(f"{len(corpus.rejects):,} rows are left out, such as {first.file} row {first.row}: {first.reason}")
    return corpus


def _describe(texts: Sequence[str]) -> InputEntry:
    digest, size = hashlib.sha256(), 0
    for text in texts:
        raw = text.encode() + b"\0"
        digest.update(raw)
        size += len(raw)
    return InputEntry(name="texts", size=size, sha256=digest.hexdigest())


def _spool(corpus: Corpus, folder: Path) -> Dataset:
    """Return the texts as a data set that is mapped into memory from a file, so that memory does not grow with them."""
    folder.mkdir(parents=True, exist_ok=True)
    path, partial = folder / "texts.arrow", folder / ".texts.arrow"
    schema = pa.schema([("text", pa.string())])
    with pa.OSFile(str(partial), "wb") as file, pa.ipc.new_stream(file, schema) as writer:
        for batch in corpus.batches():
            writer.write_batch(batch.select(["text"]))
    partial.replace(path)
    return Dataset.from_file(str(path))
