"""The texts of a corpus as token ids on disk, documents for training and held-out ones apart.

    tokens.bin      every token of every document, one after the other (uint16 or uint32)
    starts.bin      where each unit begins, and at the end the number of tokens (int64)
    documents.bin   the number of the document of each unit (int32)
    tokens.json     written last: counts

A unit is a sentence, or a piece of a long one; units are what segments are made of. Files are mapped into memory, so that
memory does not grow with the corpus.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from indexer.inference.passages import SENTENCE_END
from trainer.files import whole

LONGEST_UNIT = 48
"""Tokens; of so long a sentence one cannot make two segments, so it is cut at the start of a word."""
COMPLETE = "tokens.json"
COUNTED = 2**22
"""Tokens that are counted at a time."""

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Tokens:
    """Encoded documents: tokens (all,), starts of the units (units + 1,) and documents of the units (units,)."""

    tokens: npt.NDArray[Any]
    starts: Ids
    documents: npt.NDArray[np.int32]

    @classmethod
    def open(cls, folder: Path) -> Tokens:
        """Map encoded documents into memory."""
        kind = json.loads((folder / COMPLETE).read_text(encoding="utf-8"))["dtype"]
        return cls(
            _mapped(folder / "tokens.bin", kind),
            _mapped(folder / "starts.bin", "int64"),
            _mapped(folder / "documents.bin", "int32"),
        )


def _mapped(path: Path, kind: str) -> npt.NDArray[Any]:
    return np.memmap(path, dtype=kind, mode="r") if path.stat().st_size else np.empty(0, dtype=kind)


def frequencies(corpus: Tokens, vocabulary: int) -> npt.NDArray[np.float64]:
    """Return each piece's share of the corpus, shape (vocabulary,); one more of each is counted, so that none is 0."""
    counts = np.ones(vocabulary)
    for start in range(0, len(corpus.tokens), COUNTED):
        counts += np.bincount(corpus.tokens[start : start + COUNTED], minlength=vocabulary)
    return np.asarray(counts / counts.sum())


def held_out(key: str, share: float, seed: int) -> bool:
    """Say whether the document with this key is held out: the same answer whatever else is in the corpus."""
    digest = hashlib.blake2b(key.encode(), digest_size=8, key=seed.to_bytes(8, "big")).digest()
    return int.from_bytes(digest, "big") < share * 2**64


class Writer:
    """Writes texts as token ids into ``folder``; an older content is replaced.

    Use as a context manager: what an error or a kill broke off has no `tokens.json` and is not there.
    """

    def __init__(self, folder: Path, tokenizer: Tokenizer) -> None:
        self._folder = folder
        self._tokenizer = tokenizer
        self._kind = np.dtype("uint16" if tokenizer.get_vocab_size() <= 2**16 else "uint32")
        self._begins = word_starts(tokenizer)
        self._total = self._documents = 0
        self._files = ExitStack()

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / COMPLETE).unlink(missing_ok=True)
        self._tokens, self._starts, self._numbers = (
            self._files.enter_context((self._folder / f"{name}.bin").open("wb"))
            for name in ("tokens", "starts", "documents")
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if kind is None:
            self._starts.write(np.int64(self._total).tobytes())
        self._files.close()
        if kind is None:
            said = {"dtype": self._kind.name, "tokens": self._total, "documents": self._documents}
            with whole(self._folder / COMPLETE) as part:
                part.write_text(json.dumps(said) + "\n", encoding="utf-8")

    def add(self, documents: Sequence[Sequence[str]]) -> None:
        """Add documents, each of which is one text or several that follow each other."""
        sentences = [
            (number, piece)
            for number, texts in enumerate(documents, self._documents)
            for text in texts
            for piece in sentences_of(text)
        ]
        self._documents += len(documents)
        encoded = self._tokenizer.encode_batch_fast([piece for _, piece in sentences], add_special_tokens=False)
        for (number, _), found in zip(sentences, encoded, strict=True):
            ids = np.asarray(found.ids, dtype=self._kind)
            if not len(ids):  # nothing but white space or control characters
                continue
            cuts = _cuts(ids, self._begins)
            self._tokens.write(ids.tobytes())
            self._starts.write((cuts + self._total).tobytes())
            self._numbers.write(np.full(len(cuts), number, dtype=np.int32).tobytes())
            self._total += len(ids)


def sentences_of(text: str) -> list[str]:
    """Return the sentences of a text; together they are the text."""
    ends = [0, *(match.end() for match in SENTENCE_END.finditer(text)), len(text)]
    return [text[start:end] for start, end in pairwise(ends) if end > start]


def word_starts(tokenizer: Tokenizer) -> npt.NDArray[np.bool_]:
    """Return of every id whether it begins a word, shape (vocabulary,).

    A vocabulary whose pieces mark the beginning of a word (``▁``, ``Ġ``) is read that way, one whose pieces mark that
    they continue one (``##``) the other way.
    """
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    marks = [mark for mark in ("▁", "Ġ") if sum(piece.startswith(mark) for piece in vocabulary) > len(vocabulary) // 10]
    begins = np.ones(max(vocabulary.values()) + 1, dtype=np.bool_)
    for piece, number in vocabulary.items():
        begins[number] = piece.startswith(tuple(marks)) if marks else not piece.startswith("##")
    return begins


def _cuts(ids: npt.NDArray[Any], begins: npt.NDArray[np.bool_]) -> Ids:
    """Return where the units of one sentence begin."""
    if len(ids) <= LONGEST_UNIT:
        return np.zeros(1, dtype=np.int64)
    parts = -(-len(ids) // LONGEST_UNIT)
    wanted = np.arange(parts) * len(ids) // parts
    words = np.flatnonzero(begins[ids])
    if not len(words):
        return wanted.astype(np.int64)
    nearest = words[np.clip(np.searchsorted(words, wanted, side="right") - 1, 0, None)]
    # A word without an end is cut where it has to be.
    nearest = np.where(wanted - nearest < LONGEST_UNIT // 2, nearest, wanted)
    nearest[0] = 0
    return np.unique(nearest).astype(np.int64)
