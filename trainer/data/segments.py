"""Long texts in pieces: by tokens at the ends of sentences, or by characters as the original system did."""

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
FEWEST_TOKENS = 16
"""Special tokens, a prompt and a title leave no room for a text in less."""


class Segmenter(Protocol):
    """Cuts texts into pieces; `identity` tells settings apart that give other pieces."""

    @property
    def identity(self) -> str:
        """Everything that decides where a text is cut."""

    def pieces(self, titles: Sequence[str], texts: Sequence[str]) -> list[list[str]]:
        """Return the pieces of each text: itself where it is short enough. None of them is blank."""


def make_segmenter(unit: Unit, split_over: int | None, segment: int | None, data: Path | None = None) -> Segmenter:
    """Return what cuts the texts that are longer than ``split_over`` units into pieces of at most ``segment`` units.

    In characters the defaults are those of the original system, 1024 and 100. In tokens they are the longest input of
    the live model in ``data``, or of the packaged one where there is none; its tokenizer counts.

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
    """Pieces of exactly ``segment`` characters, whatever they cut through; the last one is shorter."""

    split_over: int
    segment: int

    @property
    def identity(self) -> str:
        """Unit and both sizes."""
        return f"chars {self.split_over} {self.segment}"

    def pieces(self, titles: Sequence[str], texts: Sequence[str]) -> list[list[str]]:
        """Return the pieces of each text; the titles do not count. A piece of nothing but white space is left out."""
        del titles
        return [self._cut(text) for text in texts]

    def _cut(self, text: str) -> list[str]:
        if len(text) <= self.split_over:
            return [text]
        cut = (text[at : at + self.segment] for at in range(0, len(text), self.segment))
        return [piece for piece in cut if piece.strip()]


class CountingModel(NamedTuple):
    """The model whose tokens are counted: directory, longest input in tokens, and the prompt before a document."""

    directory: Path
    max_tokens: int
    prompt: str


class TokenSegments:
    """Pieces that fit, together with title, prompt and special tokens, into an input of so many tokens.

    They end where a sentence ends, if one does; nothing is repeated, and white space around a piece is left out.
    """

    def __init__(self, model: CountingModel, split_over: int, segment: int) -> None:
        tokenizer = load_tokenizer(model.directory)
        needed = len(tokenizer.encode(model.prompt).ids) + SPARE_TOKENS
        if segment < max(FEWEST_TOKENS, needed + 1):
            least = max(FEWEST_TOKENS, needed + 1)
            raise UserError(f"--segment {segment}: too short for a text; give at least {least} tokens")
        sizes = dict.fromkeys((split_over, segment))
        self._splitters = [Splitter(tokenizer, size, 0, model.prompt) for size in sizes]
        self._surely_short = split_over - needed
        self.identity = (
            f"tokens {split_over} {segment} {model.prompt!r} {file_sha256(model.directory / 'tokenizer.json')}"
        )

    def pieces(self, titles: Sequence[str], texts: Sequence[str]) -> list[list[str]]:
        """Return the pieces of each text."""
        found = [[text] for text in texts]
        # No tokenizer makes more tokens than letters of ASCII text: most texts need not be counted.
        long = [
            at
            for at, (title, text) in enumerate(zip(titles, texts, strict=True))
            if len(title) + len(text) > self._surely_short or not (title + text).isascii()
        ]
        passages: list[list[Passage]] = [[] for _ in long]
        for splitter in self._splitters:
            split = splitter.split([titles[at] for at in long], [texts[at] for at in long])
            longer = [place for place, (_, cut) in enumerate(split) if len(cut) > 1]
            passages = [split[place][1] for place in longer]
            long = [long[place] for place in longer]
        for at, cut in zip(long, passages, strict=True):
            pieces = (texts[at][passage.start : passage.end].strip() for passage in cut)
            found[at] = [piece for piece in pieces if piece]
        return found


def _counting_model(data: Path | None) -> CountingModel:
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
        raise UserError(f"{directory}: does not say its longest input; run `python -m trainer base` first") from error
