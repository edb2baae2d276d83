"""Data of a pre-training: the corpus, split by document, its tokenizer, and its texts as token ids on disk."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
from tokenizers import Tokenizer

from indexer.corpus.corpus import Corpus
from indexer.corpus.settings import SourceSettings, select
from indexer.errors import UserError
from indexer.progress import Bar, say, stage
from trainer.files import atomic_write
from trainer.pretrain.settings import SMALL_CORPUS, PretrainSettings
from trainer.pretrain.tokens import SPECIAL, Tokens, TokenWriter, choose_alphabet, is_held_out, learn_wordpiece

MAX_HELD_OUT = 2000
"""Held-out documents: enough to measure a difference of 0.01 nats."""
FOLDER = "corpus"
TOKENIZER, FACTS = "tokenizer.json", "corpus.json"


@dataclass(frozen=True)
class PretrainData:
    """Token ids of training and held-out documents, the number of these documents, and the tokenizer."""

    train: Tokens
    held_out: Tokens
    documents: int
    held_out_documents: int
    tokenizer: Tokenizer

    @classmethod
    def open(cls, folder: Path) -> PretrainData:
        """Open the data that `prepare` wrote into ``folder``."""
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        return cls(Tokens.open(folder / "train"), Tokens.open(folder / "held-out"), **facts, tokenizer=tokenizer)


def check_corpus(source: str, settings: PretrainSettings) -> Corpus:
    """Read the corpus once and return it; rows without text are left out and counted.

    Raises:
        UserError: it cannot be read, or lacks the column of ``--document-column``.
    """
    corpus = Corpus.check(source, **select(settings, SourceSettings), title_column="none", skip_bad_rows=True)
    if corpus.rejects:
        first = corpus.rejects[0]
        say(f"{len(corpus.rejects):,} rows are left out, such as {first.file} row {first.row}: {first.reason}")
    column = settings.document_column
    columns = (
        [field.name for field in corpus.schema.field("metadata").type] if "metadata" in corpus.schema.names else []
    )
    if column is not None and column not in columns and column != "id":
        raise UserError(
            f"--document-column {column}: no such column; there are {', '.join(columns) or 'none besides text'}"
        )
    return corpus


def prepare(corpus: Corpus, settings: PretrainSettings, folder: Path, checkpoint_tokenizer: Tokenizer | None) -> None:
    """Split the corpus by document, learn a tokenizer from the training documents, and write all as token ids.

    Files that an earlier start of the same training prepared are kept.

    Args:
        corpus: the texts.
        settings: how they are split, and how the tokenizer is learned.
        folder: where to write.
        checkpoint_tokenizer: the tokenizer of a checkpoint, in place of a new one.

    Raises:
        UserError: the vocabulary is too small for the characters of the texts.
    """
    if (folder / FACTS).is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    documents = _SplitDocuments(corpus, settings)
    tokenizer = checkpoint_tokenizer or _learn_tokenizer(documents, settings)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    counts = {True: 0, False: 0}
    with (
        TokenWriter(folder / "train", tokenizer) as train,
        TokenWriter(folder / "held-out", tokenizer) as held_out,
        Bar("encode", corpus.documents, "rows") as bar,
    ):
        for batch in documents.batches():
            for side, writer in ((False, train), (True, held_out)):
                texts = [document.texts for document in batch if document.held_out is side]
                writer.add(texts)
                counts[side] += len(texts)
            bar.advance(sum(len(document.texts) for document in batch))
    tokenizer.save(str(folder / TOKENIZER))
    with atomic_write(folder / FACTS) as part:
        part.write_text(
            json.dumps({"documents": counts[False], "held_out_documents": counts[True]}) + "\n", encoding="utf-8"
        )


def report_sizes(data: PretrainData, *, new: bool) -> None:
    """Print the size of the data and, for a new model on a small corpus, the advice to start from a checkpoint."""
    tokens = len(data.train.tokens)
    say(
        f"{data.documents:,} documents with {tokens:,} tokens to learn from, {data.held_out_documents:,} with "
        f"{len(data.held_out.tokens):,} held out; vocabulary of {data.tokenizer.get_vocab_size():,}"
    )
    if new and tokens < SMALL_CORPUS:
        say(
            f"fewer than {SMALL_CORPUS // 10**6} million tokens: going on from a checkpoint (--from) mostly gives a "
            "better model than a new one"
        )


@dataclass(frozen=True)
class _Document:
    texts: list[str]
    held_out: bool


class _SplitDocuments:
    """Documents of a corpus, each marked as training or held out; they can be read several times."""

    def __init__(self, corpus: Corpus, settings: PretrainSettings) -> None:
        self._corpus = corpus
        self._column = settings.document_column
        self._share = min(settings.held_out, MAX_HELD_OUT / corpus.documents)
        self._seed = settings.seed

    def batches(self) -> Iterator[list[_Document]]:
        """Yield batches of documents."""
        last: tuple[str, list[str]] | None = None
        for batch in self._corpus.batches():
            texts = batch.column("text").to_pylist()
            # Without a document column the text is the key, which puts copies of it on one side.
            keys = texts if self._column is None else self._keys(batch, self._column)
            if self._column is None:
                yield [self._document(key, [text]) for key, text in zip(keys, texts, strict=True)]
                continue
            groups = [
                (key, [text for _, text in rows])
                for key, rows in groupby(zip(keys, texts, strict=True), key=lambda row: row[0])
            ]
            if last and last[0] == groups[0][0]:  # the document continues in this batch
                groups[0] = (last[0], last[1] + groups[0][1])
            elif last:
                groups.insert(0, last)
            last = groups.pop()
            yield [self._document(*group) for group in groups]
        if last:
            yield [self._document(*last)]

    def training_texts(self) -> Iterator[list[str]]:
        """Yield batches of the texts of training documents."""
        for batch in self.batches():
            yield [text for document in batch if not document.held_out for text in document.texts]

    def _keys(self, batch: pa.RecordBatch, column: str) -> list[str]:
        values: Any = batch.column("id") if column == "id" else batch.column("metadata").field(column)
        return [str(value) for value in values.to_pylist()]

    def _document(self, key: str, texts: list[str]) -> _Document:
        return _Document(texts, is_held_out(key, self._share, self._seed))


def _learn_tokenizer(documents: _SplitDocuments, settings: PretrainSettings) -> Tokenizer:
    options = {"lowercase": not settings.keep_case, "strip_accents": not settings.keep_accents}
    with stage("learn the tokenizer"):
        alphabet = choose_alphabet(documents.training_texts(), **options)
        if settings.vocab_size < 2 * len(alphabet) + len(SPECIAL):
            raise UserError(
                f"--vocab-size {settings.vocab_size}: too small for the {len(alphabet)} characters of the texts; give "
                f"{4 * (len(alphabet) // 64 + 1) * 64} or more"
            )
        return learn_wordpiece(documents.training_texts(), alphabet, vocab_size=settings.vocab_size, **options)
