"""TSDAE: an encoder learns a corpus by rebuilding whole texts from the vectors of damaged ones.

    python -m trainer tsdae --source corpus.parquet --model bert-base-uncased

It comes *before* supervised training: afterwards it undoes more than it adds. Wang et al. 2021,
https://arxiv.org/abs/2104.06979.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import regex
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
from trainer.finetune.dev import DevMetric
from trainer.finetune.fit import Task, fit
from trainer.finetune.losses import denoising_loss
from trainer.finetune.settings import TsdaeSettings
from trainer.models.base import locate
from trainer.training.base_model import load_base_model
from trainer.training.output import CHECKPOINTS, Record, Trained, check_out, trained, write_record
from trainer.training.settings import FitSettings


def tsdae(source: str | Sequence[str], settings: TsdaeSettings, out: Path, judge: DevMetric | None = None) -> Trained:
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
    model = load_base_model(locate(settings.model)[1], settings.pooling, plain="cls")
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
    judge: DevMetric | None,
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
    corpus = Corpus.check(source, **select(settings, TextSettings), title_column="none", skip_bad_rows=True)
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


_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}"
UNIT = regex.compile(rf"(?:[{_UNSPACED}]\p{{M}}*|[^\s{_UNSPACED}]+)\s*")
"""A word or a character of a script without spaces, with the white space after it."""


def delete_words(text: str, ratio: float, generator: torch.Generator | None = None) -> str:
    """Return ``text`` without a random share of its words; at least one is kept.

    Args:
        text: the text; one without any word comes back as it is.
        ratio: the probability with which each word is deleted, 0 to 1. The paper found 0.6 best.
        generator: the source of chance; by default torch's own, which is seeded and kept in checkpoints.

    The noise of TSDAE (Wang et al. 2021, https://arxiv.org/abs/2104.06979).
    """
    units: list[str] = UNIT.findall(text)
    if not units:
        return text
    chance = torch.rand(len(units), generator=generator)
    kept = (chance >= ratio).tolist()
    if not any(kept):
        kept[int(chance.argmax())] = True
    return "".join(unit for unit, stays in zip(units, kept, strict=True) if stays).strip()


@dataclass
class DeletionCollator(SentenceTransformerDataCollator):
    """Makes batches of (damaged text, text) from rows with a column ``text``.

    A long text is cut to ``max_length`` tokens before it is damaged: the decoder is not asked for words that the
    encoder cannot have seen, and the encoder sees none that the decoder is not asked for.
    """

    tokenizer: PreTrainedTokenizerBase | None = None
    ratio: float = 0.6

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the features of the damaged and of the whole texts, tokenized and padded."""
        texts = self._cut([row["text"] for row in features])
        rows = [{"damaged": delete_words(text, self.ratio), "text": text} for text in texts]
        batch: dict[str, Any] = super().__call__(rows)
        return batch

    def _cut(self, texts: list[str]) -> list[str]:
        if self.tokenizer is None or not isinstance(self.max_length, int):
            return texts
        offsets = self.tokenizer(
            texts, truncation=True, max_length=self.max_length, return_offsets_mapping=True, return_attention_mask=False
        )["offset_mapping"]
        return [text[: max(end for _, end in spans)] for text, spans in zip(texts, offsets, strict=True)]
