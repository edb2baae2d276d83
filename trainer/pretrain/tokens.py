"""The texts of a corpus as token ids on disk, documents for training and held-out ones apart.

    tokens.bin      every token of every document, one after the other (uint16 or uint32)
    starts.bin      where each unit begins, and at the end the number of tokens (int64)
    documents.bin   the number of the document of each unit (int32)
    tokens.json     written last: counts

A unit is a sentence, or a piece of a long one; units are what segments are made of. Files are mapped into memory, so that
memory does not grow with the corpus.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

import hashlib
import json
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

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


SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
CONTINUES = "##"
COVERAGE = 0.9998
"""Share of the text's characters that the alphabet has; rarer ones would take the places of words, twice each."""
LEAST_COUNT = 2
MULTIPLE = 64
"""GPUs multiply matrices of such sizes faster."""


def learn_wordpiece(
    texts: Iterable[list[str]], alphabet: Sequence[str], *, vocab_size: int, lowercase: bool, strip_accents: bool
) -> Tokenizer:
    """Return a tokenizer whose vocabulary was learned from batches of texts; of the same texts always the same.

    The vocabulary is a multiple of 64: what a small corpus leaves free is filled with ``[unused0]``, ``[unused1]`` …

    Args:
        texts: the texts, in batches; read once.
        alphabet: the characters that are pieces of their own; see `choose_alphabet`.
        vocab_size: pieces at most, special ones and the alphabet included.
        lowercase: whether capital letters are made small.
        strip_accents: whether accents are taken off.
    """
    learner = _bare(lowercase=lowercase, strip_accents=strip_accents)
    # The library numbers the characters in the order in which its hash table has them, and breaks ties by number. So
    # they are given to it in an order of ours, as if they were special.
    inner = [CONTINUES + character for character in alphabet if _continues(learner, character)]
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        min_frequency=LEAST_COUNT,
        special_tokens=[*SPECIAL, *alphabet, *inner],
        limit_alphabet=0,
        continuing_subword_prefix=CONTINUES,
        show_progress=False,
    )
    learner.train_from_iterator(texts, trainer)
    learned = learner.get_vocab()
    size = -(-len(learned) // MULTIPLE) * MULTIPLE
    learned |= {f"[unused{spare}]": number for spare, number in enumerate(range(len(learned), size))}
    tokenizer = _bare(learned, lowercase=lowercase, strip_accents=strip_accents)
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.decoder = decoders.WordPiece(prefix=CONTINUES)
    cls, sep = "[CLS]", "[SEP]"
    tokenizer.post_processor = processors.BertProcessing((sep, learned[sep]), (cls, learned[cls]))
    return tokenizer


def _bare(vocabulary: dict[str, int] | None = None, *, lowercase: bool, strip_accents: bool) -> Tokenizer:
    model = models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100)  # noqa: S106
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizer(lowercase=lowercase, strip_accents=strip_accents)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def _continues(tokenizer: Tokenizer, character: str) -> bool:
    """Say whether a character can stand inside a word: punctuation and ideographs are words of their own."""
    word = tokenizer.normalizer.normalize_str(f"a{character}a")
    return len(tokenizer.pre_tokenizer.pre_tokenize_str(word)) == 1


def normalizer(*, lowercase: bool, strip_accents: bool) -> normalizers.Normalizer:
    """Return what is done to a text before it is cut into words: control characters go, ideographs stand alone."""
    return normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=strip_accents, lowercase=lowercase
    )


def choose_alphabet(texts: Iterable[list[str]], *, lowercase: bool, strip_accents: bool) -> list[str]:
    """Read batches of texts and return the most frequent characters, which cover `COVERAGE` of what is no white space."""
    counts: Counter[str] = Counter()
    prepare = normalizer(lowercase=lowercase, strip_accents=strip_accents)
    for batch in texts:
        counts.update(prepare.normalize_str("\n".join(batch)))
    for space in [character for character in counts if character.isspace()]:
        del counts[space]
    chosen: list[str] = []
    covered, enough = 0, counts.total() * COVERAGE
    for character, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])):
        if covered >= enough:
            break
        chosen.append(character)
        covered += count
    return sorted(chosen)


def fast_tokenizer(tokenizer: Tokenizer, max_length: int) -> PreTrainedTokenizerFast:
    """Return the tokenizer as transformers' class, which loads what it saves wherever a BERT's is expected."""
    from transformers import PreTrainedTokenizerFast

    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL, strict=True))
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        model_max_length=max_length,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        **names,
    )
