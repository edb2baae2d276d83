"""Passages: documents split by tokens at sentence boundaries with an overlap, and the encoder input for each.

A passage is the piece of a document that gets one vector. It is a slice of the document's text, known by its character
offsets. Before it is encoded, the title of its document is put in front of it. `PassageMaker` is used by builds, live
writes, compaction and evaluations: equal texts always get equal vectors.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

from tokenizers import Encoding, Tokenizer

from indexer.artifacts.manifest import EncoderContract
from indexer.corpus.columns import parse_names
from indexer.inference.encoder import Encoder
from indexer.inference.session import load_tokenizer

SENTENCE_END = re.compile(r"(?<=[.!?…؟۔।॥])[\"'”’)\]]*\s+|(?<=[。！？])|\n\s*\n")
"""Where a sentence or a paragraph ends, for scripts with and without spaces between sentences."""

ENTITY = re.compile(r"&(?:#\d+|#x[\da-f]+|[a-z][a-z\d]*);", re.IGNORECASE)
"""A character reference of HTML, such as `&amp;`."""
LONGEST_ENTITY = 40

PassageMode = Literal["split", "one"]
SPARE_TOKENS = 2
"""Kept free: a slice may have slightly more tokens than inside the whole text, since a leading space is lost."""


@dataclass(frozen=True)
class Passage:
    """A slice of a document's text: characters ``start`` to ``end``, the latter excluded."""

    start: int
    end: int


DocumentPassages = list[tuple[Passage, str]]
"""The passages of one document, each with its encoder input."""


def encoder_input(title: str | None, passage: str) -> str:
    """Return the encoder input for a passage: its document's title, if there is one, and its text."""
    return f"{title or ''} {passage}".strip()


class Splitter:
    """Splits texts so that title and passage together stay within the encoder's maximum.

    Args:
        tokenizer: the encoder's tokenizer, without truncation.
        max_tokens: longest input of the encoder, special tokens and prompt included.
        overlap_tokens: how many tokens at the end of a passage are repeated at the start of the next, at most.
        prompt: the document prompt, which counts towards the maximum.
    """

    def __init__(self, tokenizer: Tokenizer, max_tokens: int, overlap_tokens: int, prompt: str = "") -> None:
        self._tokenizer = tokenizer
        self._max_tokens = max_tokens - len(tokenizer.encode(prompt).ids)  # `encode` adds the special tokens
        self._overlap = overlap_tokens

    def split(self, titles: list[str], texts: list[str]) -> list[tuple[str, list[Passage]]]:
        """Split documents; return for each its title and its passages, which together cover the whole text.

        A title that would take more than half of the maximum is cut to half of it.
        """
        title_encodings = self._tokenizer.encode_batch(titles, add_special_tokens=False)
        text_encodings = self._tokenizer.encode_batch(texts, add_special_tokens=False)
        documents = []
        for title, title_encoding, text, encoding in zip(titles, title_encodings, texts, text_encodings, strict=True):
            cut_title, tokens = self._cut(title, title_encoding)
            documents.append((cut_title, self._split(text, encoding.offsets, self._max_tokens - tokens)))
        return documents

    def cut_title(self, title: str) -> str:
        """Return as much of a title as `split` keeps of it."""
        return self._cut(title, self._tokenizer.encode(title, add_special_tokens=False))[0]

    def _cut(self, title: str, encoding: Encoding) -> tuple[str, int]:
        """Return the title, cut to half of the maximum, and its number of tokens."""
        count = min(len(encoding.ids), self._max_tokens // 2)
        return (title if count == len(encoding.ids) else title[: encoding.offsets[count - 1][1]]), count

    def _split(self, text: str, offsets: list[tuple[int, int]], room: int) -> list[Passage]:
        if len(offsets) <= room:
            return [Passage(0, len(text))]
        room = max(room - SPARE_TOKENS, 1)
        overlap = min(self._overlap, room // 2)
        starts = [start for start, _ in offsets]
        cuts = sorted({bisect_left(starts, end.end()) for end in SENTENCE_END.finditer(text)} | {len(offsets)})
        passages: list[Passage] = []
        first = covered = 0
        while True:
            last = _latest(cuts, first + room) or 0
            if last <= first:  # one sentence is too long: cut between words, or within a word that is too long itself
                last = _word_start(text, starts, first, min(first + room, len(offsets)))
            if passages and last <= covered:  # with the overlap, the next sentence does not fit: no overlap
                first = covered
                continue
            covered = last
            begin = starts[first] if passages else 0
            if last >= len(offsets):
                return [*passages, Passage(begin, len(text))]
            passages.append(Passage(begin, starts[last]))
            repeat = cuts[bisect_left(cuts, last - overlap)]
            first = repeat if first < repeat < last else last


def _latest(cuts: list[int], limit: int) -> int | None:
    """Return the largest cut that is no larger than ``limit``."""
    position = bisect_left(cuts, limit + 1)
    return cuts[position - 1] if position else None


def _word_start(text: str, starts: list[int], first: int, last: int) -> int:
    """Return the last token up to ``last`` that follows white space, or one that begins no later where none does.

    It then begins within no character reference of HTML.
    """
    if last >= len(starts):
        return last
    for token in range(last, first, -1):
        start = starts[token]
        if start and (text[start - 1].isspace() or text[start].isspace()):
            return token
    cut = starts[last]
    around = ENTITY.finditer(text, max(cut - LONGEST_ENTITY, 0), cut + LONGEST_ENTITY)
    begin = next((entity.start() for entity in around if entity.start() < cut < entity.end()), cut)
    whole = bisect_right(starts, begin, first, last + 1) - 1
    return whole if whole > first else last


class PassageMaker:
    """Cuts documents into passages, and makes the encoder input for each of them.

    Args:
        model: directory of the encoder's model; its tokenizer is loaded on first use.
        contract: of the encoder.
        mode: ``split`` long texts, or make ``one`` passage of each document.
        overlap_tokens: how many tokens at the end of a passage are repeated at the start of the next, at most.
        columns: of the metadata whose texts stand in front of each passage, behind the title.
    """

    def __init__(
        self,
        model: Path,
        contract: EncoderContract,
        mode: PassageMode,
        overlap_tokens: int,
        columns: Sequence[str] = (),
    ) -> None:
        self.columns = tuple(columns)
        self._model = model
        self._contract = contract
        self._mode = mode
        self._overlap_tokens = overlap_tokens

    @classmethod
    def of_config(cls, encoder: Encoder, config: Mapping[str, Any]) -> Self:
        """Return the passage maker of an index whose manifest holds ``config``."""
        return cls(
            encoder.folder, encoder.contract, config["passages"], int(config["overlap_tokens"]), encoded_columns(config)
        )

    @cached_property
    def _splitter(self) -> Splitter:
        contract = self._contract
        return Splitter(
            load_tokenizer(self._model), contract.max_tokens, self._overlap_tokens, contract.document_prompt
        )

    def head(self, title: str | None, metadata: Mapping[str, Any] | None) -> str | None:
        """Return what stands in front of each passage of a document: its title, and its texts of the encoded columns."""
        if not self.columns:
            return title
        return ", ".join([*([title] if title else []), *_texts(metadata or {}, self.columns)]) or None

    def make(self, heads: Sequence[str | None], texts: Sequence[str]) -> list[DocumentPassages]:
        """Return the passages of each document, which together cover its text, each with its encoder input.

        ``heads`` are what `head` has returned for each.
        """
        written = [head or "" for head in heads]
        if self._mode == "one":
            documents = [(head, [Passage(0, len(text))]) for head, text in zip(written, texts, strict=True)]
        else:
            documents = self._splitter.split(written, list(texts))
        return [
            [(passage, encoder_input(head, text[passage.start : passage.end])) for passage in passages]
            for (head, passages), text in zip(documents, texts, strict=True)
        ]

    def encoder_inputs(self, head: str | None, text: str, passages: Sequence[Passage]) -> list[str]:
        """Return the encoder inputs of passages that `make` has cut out of a document with this head before."""
        head = self._splitter.cut_title(head) if head and self._mode == "split" else head
        return [encoder_input(head, text[passage.start : passage.end]) for passage in passages]


def encoded_columns(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the columns that the encoder gets beside title and text, by the configuration of an index."""
    return parse_names(config.get("encode_columns"), "--encode-columns")


def _texts(metadata: Mapping[str, Any], columns: Sequence[str]) -> list[str]:
    """Return the texts of some columns of a document; a list has several."""
    cells = [metadata.get(name) for name in columns]
    values = [value for cell in cells for value in (cell if isinstance(cell, list) else [cell])]
    return [value for value in values if isinstance(value, str) and value]
