"""What a pre-training learns from: the corpus, split by document, its tokenizer, and its texts as token ids on disk."""

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
from trainer.files import whole
from trainer.pretrain.settings import SMALL_CORPUS, PretrainSettings
from trainer.pretrain.tokens import SPECIAL, Tokens, Writer, choose_alphabet, held_out, learn_wordpiece

MOST_HELD_OUT = 2000
"""Documents: enough to tell a hundredth of a nat."""
FOLDER = "corpus"
TOKENIZER, FACTS = "tokenizer.json", "corpus.json"


@dataclass(frozen=True)
class PretrainData:
    """Token ids of both sides, the number of their documents, and the tokenizer that made them."""

    train: Tokens
    held_out: Tokens
    documents: int
    held_out_documents: int
    tokenizer: Tokenizer

    @classmethod
    def open(cls, folder: Path) -> PretrainData:
        """Take up what was prepared in ``folder``."""
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        return cls(Tokens.open(folder / "train"), Tokens.open(folder / "held-out"), **facts, tokenizer=tokenizer)


def check(source: str, settings: PretrainSettings) -> Corpus:
    """Read the corpus once and return it; rows without text are left out and counted.

    Raises:
        UserError: it cannot be read, or has no such column.
    """
    corpus = Corpus.check(source, **select(settings, SourceSettings), title_column="none", skip_bad_rows=True)
    if corpus.rejects:
        first = corpus.rejects[0]
        say(f"{len(corpus.rejects):,} rows are left out, such as {first.file} row {first.row}: {first.reason}")
    column = settings.document_column
    known = [field.name for field in corpus.schema.field("metadata").type] if "metadata" in corpus.schema.names else []
    if column is not None and column not in known and column != "id":
        raise UserError(
            f"--document-column {column}: no such column; there are {', '.join(known) or 'none besides text'}"
        )
    return corpus


def prepare(corpus: Corpus, settings: PretrainSettings, folder: Path, given: Tokenizer | None) -> None:
    """Split the corpus by document, learn a tokenizer from one side, and write both as token ids below ``folder``.

    What an earlier start of the same training has prepared is left as it is.

    Args:
        corpus: the texts.
        settings: how they are split, and how the tokenizer is learned.
        folder: where to.
        given: the tokenizer of a checkpoint, in place of a new one.

    Raises:
        UserError: a side has too little text.
    """
    if (folder / FACTS).is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    texts = _Sides(corpus, settings)
    tokenizer = given or _learn(texts, settings)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    counts = {True: 0, False: 0}
    with (
        Writer(folder / "train", tokenizer) as train,
        Writer(folder / "held-out", tokenizer) as aside,
        Bar("encode", corpus.documents, "rows") as bar,
    ):
        for batch in texts.documents():
            for side, writer in ((False, train), (True, aside)):
                found = [document.texts for document in batch if document.held_out is side]
                writer.add(found)
                counts[side] += len(found)
            bar.advance(sum(len(document.texts) for document in batch))
    tokenizer.save(str(folder / TOKENIZER))
    with whole(folder / FACTS) as part:
        part.write_text(
            json.dumps({"documents": counts[False], "held_out_documents": counts[True]}) + "\n", encoding="utf-8"
        )


def advise(material: PretrainData, *, new: bool) -> None:
    """Say how much there is to learn from, and what else would be better with so little."""
    tokens = len(material.train.tokens)
    say(
        f"{material.documents:,} documents with {tokens:,} tokens to learn from, {material.held_out_documents:,} with "
        f"{len(material.held_out.tokens):,} held out; vocabulary of {material.tokenizer.get_vocab_size():,}"
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


class _Sides:
    """Reads a corpus as documents, each on its side, as often as it is asked."""

    def __init__(self, corpus: Corpus, settings: PretrainSettings) -> None:
        self._corpus = corpus
        self._column = settings.document_column
        self._share = min(settings.held_out, MOST_HELD_OUT / corpus.documents)
        self._seed = settings.seed

    def documents(self) -> Iterator[list[_Document]]:
        """Yield batches of documents."""
        last: tuple[str, list[str]] | None = None
        for batch in self._corpus.batches():
            texts = batch.column("text").to_pylist()
            # Without a column the text itself decides, so that copies of it are on one side.
            keys = texts if self._column is None else self._keys(batch, self._column)
            if self._column is None:
                yield [self._document(key, [text]) for key, text in zip(keys, texts, strict=True)]
                continue
            groups = [
                (key, [text for _, text in rows])
                for key, rows in groupby(zip(keys, texts, strict=True), key=lambda row: row[0])
            ]
            if last and last[0] == groups[0][0]:  # a document goes on from one batch to the next
                groups[0] = (last[0], last[1] + groups[0][1])
            elif last:
                groups.insert(0, last)
            last = groups.pop()
            yield [self._document(*group) for group in groups]
        if last:
            yield [self._document(*last)]

    def train(self) -> Iterator[list[str]]:
        """Yield the texts that are learned from."""
        for batch in self.documents():
            yield [text for document in batch if not document.held_out for text in document.texts]

    def _keys(self, batch: pa.RecordBatch, column: str) -> list[str]:
        values: Any = batch.column("id") if column == "id" else batch.column("metadata").field(column)
        return [str(value) for value in values.to_pylist()]

    def _document(self, key: str, texts: list[str]) -> _Document:
        return _Document(texts, held_out(key, self._share, self._seed))


def _learn(texts: _Sides, settings: PretrainSettings) -> Tokenizer:
    case = {"lowercase": not settings.keep_case, "strip_accents": not settings.keep_accents}
    with stage("learn the tokenizer"):
        alphabet = choose_alphabet(texts.train(), **case)
        if settings.vocab_size < 2 * len(alphabet) + len(SPECIAL):
            raise UserError(
                f"--vocab-size {settings.vocab_size}: too small for the {len(alphabet)} characters of the texts; give "
                f"{4 * (len(alphabet) // 64 + 1) * 64} or more"
            )
        return learn_wordpiece(texts.train(), alphabet, vocab_size=settings.vocab_size, **case)
