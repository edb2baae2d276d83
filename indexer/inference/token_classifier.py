"""Token classifier: spans of a text with their labels, by ONNX Runtime and `tokenizers`, without torch.

    onnx/model.onnx        input_ids, attention_mask (, token_type_ids) → logits (batch, tokens, labels)
    tokenizer.json
    token_classifier.json  labels, longest input: `TokenContract`

`trainer classify tokens` writes such a directory from a model in transformers' format.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from tokenizers import Encoding

from indexer.artifacts.manifest import describe_files
from indexer.errors import UserError
from indexer.inference.session import load_tokenizer, open_session, padded, run_batches

CONTRACT = "token_classifier.json"
GRAPH = "onnx/model.onnx"
OUTSIDE = "O"
"""Label of tokens that are in no span."""
MAX_WINDOWS = 4
"""Inputs that a text is cut into, at most; what stands behind them is not read."""
OVERLAP = 32
"""Tokens that neighbouring inputs share: a span that one cuts is whole in the other."""


class TokenContract(BaseModel):
    """How a text becomes input, and what the logits of a token stand for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = Field(default=1, description="number of this format")
    labels: list[str] = Field(
        min_length=2, description="the labels, in the order of the logits, such as O, B-LOC, I-LOC"
    )
    max_tokens: int = Field(ge=OVERLAP + 8, description="longest input in tokens, special tokens included")
    pad_token_id: int = Field(description="id of the token that fills up a batch")


class Span(NamedTuple):
    """A run of characters with its label, and the least probability that one of its tokens has it."""

    label: str
    start: int
    end: int
    probability: float


class TokenClassifier:
    """An exported token classifier. Safe to use from several threads.

    Attributes:
        labels: labels of spans, without the marks of their begin.
    """

    def __init__(self, folder: Path, contract: TokenContract, cores: int | None = None) -> None:
        self.folder, self.contract = folder, contract
        self._cores = cores or len(os.sched_getaffinity(0))
        self._tokenizer = load_tokenizer(folder)
        self._tokenizer.enable_truncation(contract.max_tokens, stride=OVERLAP)
        self._session = open_session(folder / GRAPH, threads=1)
        self._inputs = {node.name for node in self._session.get_inputs()}
        self.labels = sorted({split_label(label)[1] for label in contract.labels} - {OUTSIDE})

    @classmethod
    def open(cls, folder: Path, cores: int | None = None) -> Self:
        """Open the token classifier in a directory.

        Raises:
            UserError: the directory holds none.
        """
        return cls(folder, read_contract(folder), cores)

    def probabilities(self, texts: Sequence[str]) -> list[npt.NDArray[np.float32]]:
        """Return the probabilities of each text's tokens, special ones included, of its first input: (tokens, labels)."""
        return self._run(self._tokenizer.encode_batch(list(texts)))

    def spans(self, texts: Sequence[str]) -> list[list[Span]]:
        """Return the spans of each text, in their order; of several inputs the surer one where spans overlap."""
        windows: list[Encoding] = []
        owners: list[int] = []
        for number, encoding in enumerate(self._tokenizer.encode_batch(list(texts))):
            parts = [encoding, *encoding.overflowing][:MAX_WINDOWS]
            windows += parts
            owners += [number] * len(parts)
        found: list[list[Span]] = [[] for _ in texts]
        for owner, window, probabilities in zip(owners, windows, self._run(windows), strict=True):
            found[owner] += self._spans(window, probabilities)
        return [_without_overlaps(spans) for spans in found]

    def _run(self, windows: Sequence[Encoding]) -> list[npt.NDArray[np.float32]]:
        results: list[npt.NDArray[np.float32]] = [np.empty((0, 0), dtype=np.float32)] * len(windows)
        ids, types = [window.ids for window in windows], [window.type_ids for window in windows]

        def run(batch: list[int]) -> None:
            tokens = [ids[row] for row in batch]
            arrays = padded(tokens, self.contract.pad_token_id, self._inputs, [types[row] for row in batch])
            logits = self._session.run(["logits"], arrays)[0]
            powers = np.exp(logits - logits.max(axis=2, keepdims=True))
            shares = powers / powers.sum(axis=2, keepdims=True)
            for place, row in enumerate(batch):
                results[row] = shares[place, : len(ids[row])]

        run_batches(ids, run, self._cores)
        return results

    def _spans(self, window: Encoding, probabilities: npt.NDArray[np.float32]) -> list[Span]:
        """Join words of one label; the first piece of a word decides for all of it."""
        spans: list[Span] = []
        word, inside = None, False  # the word before, and whether it is in the last span
        for token, of_word in enumerate(window.word_ids):
            if of_word is None:
                continue
            start, end = window.offsets[token]
            if of_word == word:
                if inside:
                    spans[-1] = spans[-1]._replace(end=end)
                continue
            word, best = of_word, int(probabilities[token].argmax())
            begins, label = split_label(self.contract.labels[best])
            probability = float(probabilities[token, best])
            if inside and not begins and spans[-1].label == label:
                spans[-1] = Span(label, spans[-1].start, end, min(spans[-1].probability, probability))
            elif label != OUTSIDE:
                spans.append(Span(label, start, end, probability))
            inside = label != OUTSIDE
        return spans


def read_contract(folder: Path) -> TokenContract:
    """Read the contract of a token classifier.

    Raises:
        UserError: the directory holds none, or not all of it.
    """
    path, remedy = folder / CONTRACT, "write the directory with `python -m trainer classify tokens MODEL`"
    try:
        contract = TokenContract.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        reason = "missing" if isinstance(error, OSError) else "not readable"
        raise UserError(f"{path}: {reason}; {remedy}") from error
    if not (folder / GRAPH).is_file():
        raise UserError(f"{folder / GRAPH}: missing; {remedy}")
    return contract


def model_digest(folder: Path) -> str:
    """Return the SHA-256 of names and contents of a classifier's files; of a folder without any, that of nothing."""
    files = describe_files(folder) if folder.is_dir() else {}
    return hashlib.sha256(repr(sorted((name, entry.sha256) for name, entry in files.items())).encode()).hexdigest()


def split_label(label: str) -> tuple[bool, str]:
    """Return whether a label marks the begin of a span, and the label without its mark: B-LOC → True, LOC."""
    mark, dash, name = label.partition("-")
    if dash and mark in {"B", "I", "E", "S", "L", "U"}:
        return mark in {"B", "S", "U"}, name
    return False, label


def _without_overlaps(spans: list[Span]) -> list[Span]:
    """Keep the surer one of spans that overlap, in the order of the text."""
    kept: list[Span] = []
    for span in sorted(spans, key=lambda span: (-span.probability, span.start, -span.end)):
        if all(span.end <= other.start or span.start >= other.end for other in kept):
            kept.append(span)
    return sorted(kept, key=lambda span: span.start)
