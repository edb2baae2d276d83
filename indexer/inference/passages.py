"""Passages: documents split by tokens at sentence boundaries with an overlap, and what the encoder is given for each.

A passage is the piece of a document that gets one vector. It is a slice of the document's text, known by its character
offsets; the title is put before every passage of its document when it is encoded. `PassageMaker` is used by builds, live
writes, compaction and evaluations, so that equal texts always get equal vectors.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

from tokenizers import Encoding, Tokenizer

from indexer.artifacts.manifest import EncoderContract
from indexer.inference.encoder import Encoder
from indexer.inference.session import load_tokenizer

SENTENCE_END = re.compile(r"(?<=[.!?…؟۔।॥])[\"'”’)\]]*\s+|(?<=[。！？])|\n\s*\n")
"""Where a sentence or a paragraph ends, for scripts with and without spaces between sentences."""

PassageMode = Literal["split", "one"]
SPARE_TOKENS = 2
"""A slice may tokenise into slightly more pieces than it had inside the whole text (a leading space is lost)."""


@dataclass(frozen=True)
class Passage:
    """A slice of a document's text: characters ``start`` to ``end``, the latter excluded."""

    start: int
    end: int


DocumentPassages = list[tuple[Passage, str]]
"""The passages of one document, each with what the encoder is given for it."""


def encoder_input(title: str | None, passage: str) -> str:
    """Return what the encoder is given for a passage: its document's title, if there is one, and its text."""
    return f"{title or ''} {passage}".strip()


class Splitter:
    """Splits texts so that title and passage together stay within the encoder's maximum.

    Args:
        tokenizer: the encoder's tokenizer, not cutting off.
        max_tokens: room for one input of the encoder, special tokens and prompt included.
        overlap_tokens: how much of the end of a passage is repeated at the start of the next, at most.
        prompt: the document prompt, which takes some of the room.
    """

    def __init__(self, tokenizer: Tokenizer, max_tokens: int, overlap_tokens: int, prompt: str = "") -> None:
        self._tokenizer = tokenizer
        self._max_tokens = max_tokens - len(tokenizer.encode(prompt).ids)  # `encode` adds the special tokens
        self._overlap = overlap_tokens

    def split(self, titles: list[str], texts: list[str]) -> list[tuple[str, list[Passage]]]:
        """Split documents; return for each its title and its passages, which together cover the whole text.

        A title that would take more than half of the room is cut to half of it.
        """
        heads = self._tokenizer.encode_batch(titles, add_special_tokens=False)
        bodies = self._tokenizer.encode_batch(texts, add_special_tokens=False)
        documents = []
        for title, head, text, body in zip(titles, heads, texts, bodies, strict=True):
            kept, tokens = self._cut(title, head)
            documents.append((kept, self._split(text, body.offsets, self._max_tokens - tokens)))
        return documents

    def head(self, title: str) -> str:
        """Return as much of a title as `split` keeps of it."""
        return self._cut(title, self._tokenizer.encode(title, add_special_tokens=False))[0]

    def _cut(self, title: str, tokens: Encoding) -> tuple[str, int]:
        """Return the title, at most half of the room long, and its number of tokens."""
        count = min(len(tokens.ids), self._max_tokens // 2)
        return (title if count == len(tokens.ids) else title[: tokens.offsets[count - 1][1]]), count

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
            if last <= first:  # one sentence fills the room: cut between words, or within a word that has no end
                last = _word_start(text, starts, first, min(first + room, len(offsets)))
            if passages and last <= covered:  # what is repeated leaves no room for the next sentence: repeat nothing
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
    """Move ``last`` back to a token that follows white space, unless that leaves nothing."""
    if last >= len(starts):
        return last
    for candidate in range(last, first, -1):
        at = starts[candidate]
        if at and (text[at - 1].isspace() or text[at].isspace()):
            return candidate
    return last


class PassageMaker:
    """Cuts documents into passages, and says what the encoder is given for each of them.

    Args:
        model: directory of the encoder's model; its tokenizer is loaded on first use.
        contract: of the encoder.
        mode: ``split`` long texts, or make ``one`` passage of each document.
        overlap_tokens: how much of the end of a passage is repeated at the start of the next, at most.
    """

    def __init__(self, model: Path, contract: EncoderContract, mode: PassageMode, overlap_tokens: int) -> None:
        self._model = model
        self._contract = contract
        self._mode = mode
        self._overlap_tokens = overlap_tokens

    @classmethod
    def of_config(cls, encoder: Encoder, config: Mapping[str, Any]) -> Self:
        """Return what made the passages of an index, whose manifest holds ``config``."""
        return cls(encoder.folder, encoder.contract, config["passages"], int(config["overlap_tokens"]))

    @cached_property
    def _splitter(self) -> Splitter:
        contract = self._contract
        return Splitter(
            load_tokenizer(self._model), contract.max_tokens, self._overlap_tokens, contract.document_prompt
        )

    def make(self, titles: Sequence[str | None], texts: Sequence[str]) -> list[DocumentPassages]:
        """Return the passages of each document, which together cover its text, each with its encoder input."""
        known = [title or "" for title in titles]
        if self._mode == "one":
            split = [(title, [Passage(0, len(text))]) for title, text in zip(known, texts, strict=True)]
        else:
            split = self._splitter.split(known, list(texts))
        return [
            [(passage, encoder_input(head, text[passage.start : passage.end])) for passage in passages]
            for (head, passages), text in zip(split, texts, strict=True)
        ]

    def encoder_inputs(self, title: str | None, text: str, passages: Sequence[Passage]) -> list[str]:
        """Return the encoder inputs of passages that `make` has cut out of a document before."""
        head = self._splitter.head(title) if title and self._mode == "split" else title
        return [encoder_input(head, text[passage.start : passage.end]) for passage in passages]
