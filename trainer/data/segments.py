"""Segmentation of long texts: by tokens at the ends of sentences, or by characters as the original system did."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from indexer.artifacts.manifest import file_sha256, read_manifest
from indexer.artifacts.store import Store
from indexer.errors import UserError
from indexer.inference.passages import SPARE_TOKENS, Passage, Splitter
from indexer.inference.session import load_tokenizer
from trainer.models.base import locate

Unit = Literal["tokens", "chars"]

ORIGINAL_SPLIT_OVER, ORIGINAL_SEGMENT = 1024, 100  # characters
MIN_TOKENS = 16
"""Shortest segment: with less, special tokens, prompt and title leave no room for a text."""


class Segmenter(Protocol):
    """Cuts texts into pieces. Segmenters that give different pieces have different identities."""

    @property
    def identity(self) -> str:
        """Everything that decides where a text is cut."""

    def pieces(self, titles: Sequence[str], texts: Sequence[str]) -> list[list[str]]:
        """Return the pieces of each text: itself where it is short enough. None of them is blank."""


def make_segmenter(unit: Unit, split_over: int | None, segment: int | None, data: Path | None = None) -> Segmenter:
    """Return a segmenter that cuts texts longer than ``split_over`` units into pieces of at most ``segment`` units.

    In characters the defaults are those of the original system, 1024 and 100. In tokens they are the longest input of
    the live model in ``data``, or of the packaged model where there is none; that model's tokenizer counts.

    Raises:
        UserError: ``segment`` exceeds ``split_over`` or has no room for a text, or there is no tokenizer.
    """
    if unit == "chars":
        over = split_over or max(ORIGINAL_SPLIT_OVER, segment or 0)
        size = segment or min(ORIGINAL_SEGMENT, over)
        _refuse_longer(over, size)
        return CharacterSegments(over, size)
    model = _counting_model(data)
    over = split_over or max(model.max_tokens, segment or 0)
    size = segment or min(model.max_tokens, over)
    _refuse_longer(over, size)
    return TokenSegments(model, over, size)


def _refuse_longer(split_over: int, segment: int) -> None:
    if segment > split_over:
        raise UserError(f"--segment {segment}: longer than --split-over {split_over}; give the same or less")


@dataclass(frozen=True)
class CharacterSegments:
    """Pieces of exactly ``segment`` characters, also within words; the last piece may be shorter."""

    split_over: int
    segment: int

    @property
    def identity(self) -> str:
        """Unit and both sizes."""
        return f"chars {self.split_over} {self.segment}"

    def pieces(self, titles: Sequence[str], texts: Sequence[str]) -> list[list[str]]:
        """Return the pieces of each text; titles are not counted. A piece of white space only is left out."""
        del titles
        return [self._cut(text) for text in texts]

    def _cut(self, text: str) -> list[str]:
        if len(text) <= self.split_over:
            return [text]
        cut = (text[start : start + self.segment] for start in range(0, len(text), self.segment))
        return [piece for piece in cut if piece.strip()]


class CountingModel(NamedTuple):
    """The model whose tokens are counted: directory, longest input in tokens, and the prompt before a document."""

    directory: Path
    max_tokens: int
    prompt: str


class TokenSegments:
    """Pieces that fit into ``segment`` tokens together with title, prompt and special tokens.

    A piece ends at the end of a sentence, if there is one in it. Pieces do not overlap; white space around them is left out.
    """

    def __init__(self, model: CountingModel, split_over: int, segment: int) -> None:
        tokenizer = load_tokenizer(model.directory)
        needed = len(tokenizer.encode(model.prompt).ids) + SPARE_TOKENS
        if segment < max(MIN_TOKENS, needed + 1):
            minimum = max(MIN_TOKENS, needed + 1)
            raise UserError(f"--segment {segment}: too short for a text; give at least {minimum} tokens")
        sizes = dict.fromkeys((split_over, segment))
        self._splitters = [Splitter(tokenizer, size, 0, model.prompt) for size in sizes]
        self._surely_short = split_over - needed
        self.identity = (
            f"tokens {split_over} {segment} {model.prompt!r} {file_sha256(model.directory / 'tokenizer.json')}"
        )

    def pieces(self, titles: Sequence[str], texts: Sequence[str]) -> list[list[str]]:
        """Return the pieces of each text."""
        result = [[text] for text in texts]
        # ASCII text never has more tokens than characters: most texts need not be tokenized.
        long = [
            row
            for row, (title, text) in enumerate(zip(titles, texts, strict=True))
            if len(title) + len(text) > self._surely_short or not (title + text).isascii()
        ]
        passages: list[list[Passage]] = [[] for _ in long]
        for splitter in self._splitters:
            split = splitter.split([titles[row] for row in long], [texts[row] for row in long])
            longer = [position for position, (_, cut) in enumerate(split) if len(cut) > 1]
            passages = [split[position][1] for position in longer]
            long = [long[position] for position in longer]
        for row, cut in zip(long, passages, strict=True):
            pieces = (texts[row][passage.start : passage.end].strip() for passage in cut)
            result[row] = [piece for piece in pieces if piece]
        return result


def _counting_model(data: Path | None) -> CountingModel:
    """Return the live model, or the packaged one where there is none."""
    models = Store("model", data)
    if models.current_id():
        directory = models.resolve()
        contract = read_manifest(directory).contract
        return CountingModel(directory, contract.max_tokens, contract.document_prompt)
    _, directory = locate(None)
    try:
        settings = json.loads((directory / "sentence_bert_config.json").read_text(encoding="utf-8"))
        return CountingModel(directory, int(settings["max_seq_length"]), "")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{directory}: does not give its longest input; run `python -m trainer base` first") from error
