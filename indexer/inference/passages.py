"""Split documents into passages: by tokens, at sentence boundaries, with an overlap.

A passage is the piece of a document that gets one vector. It is a slice of the document's text, known by its character
offsets; the title is put before every passage of its document when it is encoded.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass

from tokenizers import Tokenizer

SENTENCE_END = re.compile(r"(?<=[.!?…؟۔।॥])[\"'”’)\]]*\s+|(?<=[。！？])|\n\s*\n")
"""Where a sentence or a paragraph ends, for scripts with and without spaces between sentences."""

SPARE_TOKENS = 2
"""A slice may tokenise into slightly more pieces than it had inside the whole text (a leading space is lost)."""


@dataclass(frozen=True)
class Passage:
    """A slice of a document's text: characters ``start`` to ``end``, the latter excluded."""

    start: int
    end: int


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
            taken = min(len(head.ids), self._max_tokens // 2)
            kept = title if taken == len(head.ids) else title[: head.offsets[taken - 1][1]]
            documents.append((kept, self._split(text, body.offsets, self._max_tokens - taken)))
        return documents

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
