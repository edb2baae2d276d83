"""A WordPiece tokenizer learned from the corpus, and the texts of the corpus as token ids on disk.

The tokenizer is WordPiece (Schuster and Nakajima 2012, «Japanese and Korean voice search»). It is learned by the merges
of byte-pair encoding, as in the library `tokenizers`, and written as a fast tokenizer of transformers.

Training documents and held-out documents have a folder each:

    tokens.bin      every token of every document, one after the other (uint16 or uint32)
    starts.bin      index of the first token of each unit, and at the end the number of tokens (int64)
    documents.bin   number of the document of each unit (int32)
    tokens.json     written last: counts

A unit is a sentence, or a piece of a long one; segments consist of units. The files are mapped into memory, which does
not grow with the corpus.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from indexer.inference.passages import SENTENCE_END
from trainer.files import atomic_write

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
CONTINUES = "##"
COVERAGE = 0.9998
"""Share of the text's characters in the alphabet; each rarer character would take the place of two words."""
MIN_COUNT = 2
"""Occurrences that a new word piece needs."""
VOCAB_MULTIPLE = 64
"""The size of the vocabulary is a multiple of this, with which GPUs multiply matrices faster."""
MAX_UNIT_TOKENS = 48
"""Longest unit; a longer sentence could not be cut into two segments, so it is split at starts of words."""
COMPLETE = "tokens.json"
COUNT_CHUNK = 2**22
"""Tokens that are counted at a time."""
Ids = npt.NDArray[np.int64]


def learn_wordpiece(
    texts: Iterable[list[str]], alphabet: Sequence[str], *, vocab_size: int, lowercase: bool, strip_accents: bool
) -> Tokenizer:
    """Return a tokenizer with a vocabulary learned from batches of texts; the same texts give the same vocabulary.

    The size of the vocabulary is a multiple of 64; ids that a small corpus leaves free are ``[unused0]``, ``[unused1]``
    …

    Args:
        texts: the texts, in batches; read once.
        alphabet: the characters that are pieces of their own; see `choose_alphabet`.
        vocab_size: largest number of pieces, with special tokens and alphabet.
        lowercase: whether texts are lower-cased.
        strip_accents: whether accents are stripped.
    """
    learner = _make_tokenizer(lowercase=lowercase, strip_accents=strip_accents)
    # The library numbers characters in the order of its hash table, and breaks ties by number. Passing them as special
    # tokens fixes their order.
    inner = [CONTINUES + character for character in alphabet if _continues(learner, character)]
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        min_frequency=MIN_COUNT,
        special_tokens=[*SPECIAL, *alphabet, *inner],
        limit_alphabet=0,
        continuing_subword_prefix=CONTINUES,
        show_progress=False,
    )
    learner.train_from_iterator(texts, trainer)
    learned = learner.get_vocab()
    size = -(-len(learned) // VOCAB_MULTIPLE) * VOCAB_MULTIPLE
    learned |= {f"[unused{spare}]": number for spare, number in enumerate(range(len(learned), size))}
    tokenizer = _make_tokenizer(learned, lowercase=lowercase, strip_accents=strip_accents)
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.decoder = decoders.WordPiece(prefix=CONTINUES)
    cls, sep = "[CLS]", "[SEP]"
    tokenizer.post_processor = processors.BertProcessing((sep, learned[sep]), (cls, learned[cls]))
    return tokenizer


def choose_alphabet(texts: Iterable[list[str]], *, lowercase: bool, strip_accents: bool) -> list[str]:
    """Return the most frequent characters of the texts; they cover `COVERAGE` of all that are not white space."""
    counts: Counter[str] = Counter()
    normalizer = make_normalizer(lowercase=lowercase, strip_accents=strip_accents)
    for batch in texts:
        counts.update(normalizer.normalize_str("\n".join(batch)))
    for space in [character for character in counts if character.isspace()]:
        del counts[space]
    chosen: list[str] = []
    covered, target = 0, counts.total() * COVERAGE
    for character, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])):
        if covered >= target:
            break
        chosen.append(character)
        covered += count
    return sorted(chosen)


def to_fast_tokenizer(tokenizer: Tokenizer, max_length: int) -> PreTrainedTokenizerFast:
    """Return the tokenizer as transformers' class, whose files load wherever a BERT's tokenizer is expected."""
    from transformers import PreTrainedTokenizerFast

    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL, strict=True))
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        model_max_length=max_length,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        **names,
    )


def make_normalizer(*, lowercase: bool, strip_accents: bool) -> normalizers.Normalizer:
    """Return the normalizer of texts before they are split into words: no control characters, ideographs alone."""
    return normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=strip_accents, lowercase=lowercase
    )


def find_word_starts(tokenizer: Tokenizer) -> npt.NDArray[np.bool_]:
    """Return for every id whether it begins a word, shape (vocabulary,).

    Pieces of a vocabulary mark either that they begin a word (``▁``, ``Ġ``) or that they continue one (``##``).
    """
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    marks = [mark for mark in ("▁", "Ġ") if sum(piece.startswith(mark) for piece in vocabulary) > len(vocabulary) // 10]
    begins = np.ones(max(vocabulary.values()) + 1, dtype=np.bool_)
    for piece, number in vocabulary.items():
        begins[number] = piece.startswith(tuple(marks)) if marks else not piece.startswith("##")
    return begins


@dataclass(frozen=True)
class Tokens:
    """Encoded documents: all tokens, the starts of the units (units + 1,) and the documents of the units (units,)."""

    tokens: npt.NDArray[Any]
    starts: Ids
    documents: npt.NDArray[np.int32]

    @classmethod
    def open(cls, folder: Path) -> Tokens:
        """Map encoded documents into memory."""
        kind = json.loads((folder / COMPLETE).read_text(encoding="utf-8"))["dtype"]
        return cls(
            _map_file(folder / "tokens.bin", kind),
            _map_file(folder / "starts.bin", "int64"),
            _map_file(folder / "documents.bin", "int32"),
        )


class TokenWriter:
    """Writes texts as token ids into ``folder``; earlier content is replaced.

    Use it as a context manager. After an error or a kill there is no ``tokens.json``, and the content does not count.
    """

    def __init__(self, folder: Path, tokenizer: Tokenizer) -> None:
        self._folder = folder
        self._tokenizer = tokenizer
        self._kind = np.dtype("uint16" if tokenizer.get_vocab_size() <= 2**16 else "uint32")
        self._begins = find_word_starts(tokenizer)
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
            counts = {"dtype": self._kind.name, "tokens": self._total, "documents": self._documents}
            with atomic_write(self._folder / COMPLETE) as part:
                part.write_text(json.dumps(counts) + "\n", encoding="utf-8")

    def add(self, documents: Sequence[Sequence[str]]) -> None:
        """Append documents, each of one or several consecutive texts."""
        sentences = [
            (number, sentence)
            for number, texts in enumerate(documents, self._documents)
            for text in texts
            for sentence in split_sentences(text)
        ]
        self._documents += len(documents)
        encodings = self._tokenizer.encode_batch_fast([sentence for _, sentence in sentences], add_special_tokens=False)
        for (number, _), encoding in zip(sentences, encodings, strict=True):
            ids = np.asarray(encoding.ids, dtype=self._kind)
            if not len(ids):  # only white space or control characters
                continue
            cuts = _unit_starts(ids, self._begins)
            self._tokens.write(ids.tobytes())
            self._starts.write((cuts + self._total).tobytes())
            self._numbers.write(np.full(len(cuts), number, dtype=np.int32).tobytes())
            self._total += len(ids)


def count_frequencies(corpus: Tokens, vocabulary: int) -> npt.NDArray[np.float64]:
    """Return each piece's share of the corpus, shape (vocabulary,), with add-one smoothing."""
    counts = np.ones(vocabulary)
    for start in range(0, len(corpus.tokens), COUNT_CHUNK):
        counts += np.bincount(corpus.tokens[start : start + COUNT_CHUNK], minlength=vocabulary)
    return np.asarray(counts / counts.sum())


def is_held_out(key: str, share: float, seed: int) -> bool:
    """Say whether the document with this key is held out; this does not depend on the rest of the corpus."""
    digest = hashlib.blake2b(key.encode(), digest_size=8, key=seed.to_bytes(8, "big")).digest()
    return int.from_bytes(digest, "big") < share * 2**64


def split_sentences(text: str) -> list[str]:
    """Return the sentences of a text; joined they are the text again."""
    ends = [0, *(match.end() for match in SENTENCE_END.finditer(text)), len(text)]
    return [text[start:end] for start, end in pairwise(ends) if end > start]


def _map_file(path: Path, kind: str) -> npt.NDArray[Any]:
    return np.memmap(path, dtype=kind, mode="r") if path.stat().st_size else np.empty(0, dtype=kind)


def _unit_starts(ids: npt.NDArray[Any], begins: npt.NDArray[np.bool_]) -> Ids:
    """Return the starts of the units of one sentence: about equally long, and at starts of words where possible."""
    if len(ids) <= MAX_UNIT_TOKENS:
        return np.zeros(1, dtype=np.int64)
    parts = -(-len(ids) // MAX_UNIT_TOKENS)
    even = np.arange(parts) * len(ids) // parts
    words = np.flatnonzero(begins[ids])
    if not len(words):
        return even.astype(np.int64)
    starts = words[np.clip(np.searchsorted(words, even, side="right") - 1, 0, None)]
    # A very long word is cut in its middle.
    starts = np.where(even - starts < MAX_UNIT_TOKENS // 2, starts, even)
    starts[0] = 0
    return np.unique(starts).astype(np.int64)


def _make_tokenizer(vocabulary: dict[str, int] | None = None, *, lowercase: bool, strip_accents: bool) -> Tokenizer:
    model = models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100)  # noqa: S106
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = make_normalizer(lowercase=lowercase, strip_accents=strip_accents)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def _continues(tokenizer: Tokenizer, character: str) -> bool:
    """Say whether a character can stand inside a word: punctuation and ideographs are words of their own."""
    word = tokenizer.normalizer.normalize_str(f"a{character}a")
    return len(tokenizer.pre_tokenizer.pre_tokenize_str(word)) == 1
