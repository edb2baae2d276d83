"""TSDAE: pre-training of an encoder on texts alone, by reconstructing each text from the vector of a damaged copy.

    python -m trainer tsdae --source corpus.parquet --model bert-base-uncased

It belongs *before* supervised training: afterwards it undoes more than it adds. Wang et al. 2021,
https://arxiv.org/abs/2104.06979.

The noise deletes words. It is drawn anew for every batch, so no epoch repeats the damage of another. It needs no word
lists: a word is what stands between spaces. In scripts without spaces (Chinese, Japanese, Thai and others) it is a
character with the combining marks that belong to it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.data_collator import SentenceTransformerDataCollator
from sentence_transformers.sentence_transformer.modules import Pooling
from transformers import PreTrainedTokenizerBase, set_seed

from indexer.artifacts.manifest import InputEntry
from indexer.corpus.corpus import Corpus
from indexer.corpus.settings import TextSettings, select
from indexer.errors import UserError
from indexer.progress import say
from trainer.data.words import UNIT
from trainer.finetune.dev import DevMetric
from trainer.finetune.fit import Task, fit
from trainer.finetune.losses import make_denoising_loss
from trainer.finetune.settings import TsdaeSettings
from trainer.models.base import locate
from trainer.training.base_model import count_processes, load_base_model
from trainer.training.output import CHECKPOINTS, FinishedTraining, Record, check_output, load_finished, write_record
from trainer.training.settings import FitSettings


def tsdae(
    source: str | Sequence[str], settings: TsdaeSettings, out: Path, dev_metric: DevMetric | None = None
) -> FinishedTraining:
    """Pre-train an encoder on texts and write it as a sentence-transformers directory.

    Args:
        source: a corpus (file, folder or glob of Parquet, CSV or JSON lines; the training frame is one), or the texts.
        settings: see `TsdaeSettings`.
        out: the directory to write.
        dev_metric: score of the model in training, larger is better; the best weights are kept.

    Raises:
        UserError: the corpus or the model cannot be read, the architecture has no decoder, or ``out`` holds something
            else.
    """
    corpus = _check_corpus(source, settings) if isinstance(source, str) else None
    inputs = corpus.inputs if corpus else [_describe_texts(source)]
    record = Record(settings=settings.model_dump(mode="json", exclude={"resume"}), inputs=inputs)
    if result := check_output(out, record, resume=settings.resume):
        say(f"{out}: already finished")
        return load_finished(out, result)
    model = load_base_model(locate(settings.model)[1], settings.pooling, default_pooling="cls")
    write_record(out, record)
    examples = _spool(corpus, out / CHECKPOINTS) if corpus else Dataset.from_dict({"text": list(source)})
    task = make_denoising_task(model, examples, settings, record, ratio=settings.deletion_ratio, dev_metric=dev_metric)
    return fit(task, settings, out)


def make_denoising_task(
    model: SentenceTransformer,
    examples: Dataset,
    settings: FitSettings,
    record: Record,
    *,
    ratio: float,
    dev_metric: DevMetric | None,
) -> Task:
    """Return the task of reconstructing the column ``text`` of ``examples`` from the vectors of damaged copies.

    Modules after the model's pooling (Dense, Normalize) are not trained: the decoder needs vectors of its own width.

    Raises:
        UserError: there are several processes, or the architecture has no decoder.
    """
    if count_processes() > 1:
        raise UserError(
            "tsdae trains on one GPU, because the decoder's gradients are not shared; start it with python -m"
        )
    pooling = next((module for module in model if isinstance(module, Pooling)), None)
    if pooling is None:
        raise UserError("the model has no pooling; give --pooling")
    encoder = SentenceTransformer(modules=[model[0], pooling], device="cpu")
    set_seed(settings.seed)  # of the decoder's new weights
    return Task(
        name="tsdae",
        model=encoder,
        loss=make_denoising_loss(encoder),
        examples=examples,
        record=record,
        dev_metric=dev_metric,
        full_model=model,
        collator=DeletionCollator(
            preprocess_fn=encoder.preprocess,
            tokenizer=encoder.tokenizer,
            ratio=ratio,
            max_length=min(settings.max_tokens or 512, encoder.max_seq_length or 512),
        ),
    )


def delete_words(text: str, ratio: float, generator: torch.Generator | None = None) -> str:
    """Return ``text`` without a random share of its words, the noise of TSDAE; at least one word is kept.

    Args:
        text: the text; one without any word is returned as it is.
        ratio: the probability with which each word is deleted, 0 to 1. The paper found 0.6 best.
        generator: source of random numbers; by default torch's own, which is seeded and saved in checkpoints.
    """
    units: list[str] = UNIT.findall(text)
    if not units:
        return text
    draws = torch.rand(len(units), generator=generator)
    kept = (draws >= ratio).tolist()
    if not any(kept):
        kept[int(draws.argmax())] = True
    return "".join(unit for unit, keep in zip(units, kept, strict=True) if keep).strip()


@dataclass
class DeletionCollator(SentenceTransformerDataCollator):
    """Makes batches of (damaged text, text) from rows with a column ``text``.

    A long text is truncated to ``max_length`` tokens before it is damaged. The decoder then predicts no word that the
    encoder cannot have seen, and the encoder sees no word that is not predicted.
    """

    tokenizer: PreTrainedTokenizerBase | None = None
    ratio: float = 0.6

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the features of the damaged and of the original texts, tokenized and padded."""
        texts = self._truncate([row["text"] for row in features])
        rows = [{"damaged": delete_words(text, self.ratio), "text": text} for text in texts]
        batch: dict[str, Any] = super().__call__(rows)
        return batch

    def _truncate(self, texts: list[str]) -> list[str]:
        if self.tokenizer is None or not isinstance(self.max_length, int):
            return texts
        offsets = self.tokenizer(
            texts, truncation=True, max_length=self.max_length, return_offsets_mapping=True, return_attention_mask=False
        )["offset_mapping"]
        return [text[: max(end for _, end in spans)] for text, spans in zip(texts, offsets, strict=True)]


def _check_corpus(source: str, settings: TsdaeSettings) -> Corpus:
    corpus = Corpus.check(source, **select(settings, TextSettings), title_column="none", skip_bad_rows=True)
    if corpus.rejects:
        first = corpus.rejects[0]
        say(f"{len(corpus.rejects):,} rows are left out, such as {first.file} row {first.row}: {first.reason}")
    return corpus


def _describe_texts(texts: Sequence[str]) -> InputEntry:
    digest, size = hashlib.sha256(), 0
    for text in texts:
        raw = text.encode() + b"\0"
        digest.update(raw)
        size += len(raw)
    return InputEntry(name="texts", size=size, sha256=digest.hexdigest())


def _spool(corpus: Corpus, folder: Path) -> Dataset:
    """Write the texts to a file and return them as a memory-mapped data set: memory does not grow with their number."""
    folder.mkdir(parents=True, exist_ok=True)
    path, partial = folder / "texts.arrow", folder / ".texts.arrow"
    schema = pa.schema([("text", pa.string())])
    with pa.OSFile(str(partial), "wb") as file, pa.ipc.new_stream(file, schema) as writer:
        for batch in corpus.batches():
            writer.write_batch(batch.select(["text"]))
    partial.replace(path)
    return Dataset.from_file(str(path))
