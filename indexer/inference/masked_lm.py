"""Masked-language model without torch: word predictions for [MASK], and a text as the model reads it.

A `Reading` of one text holds its word pieces, their contextual vectors, the attention between them, and the logits from
which `MaskedModel.predict` makes predictions. The network is a function of three arrays: the same code runs on the
published ONNX graph and, in the trainer, on torch.

BERT: Devlin et al., «BERT: Pre-training of Deep Bidirectional Transformers», 2019.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import onnxruntime

from indexer.errors import UserError
from indexer.inference.encoder import Vectors
from indexer.inference.session import load_tokenizer, open_session

GRAPH = "onnx/reader.onnx"
Ids = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float32]


class Outputs(NamedTuple):
    """Output of the network for a batch of token ids.

    Attributes:
        logits: the score of each entry of the vocabulary at each position, shape (batch, length, vocabulary).
        hidden: contextual vectors, those of the last layer, shape (batch, length, width).
        attentions: attention of each position to every position; rows sum to 1, shape (batch, layers, heads, length,
            length).
    """

    logits: Vectors
    hidden: Vectors
    attentions: Vectors


Network = Callable[[Ids, Ids, Ids], Outputs]
"""From ``input_ids``, ``attention_mask`` and ``token_type_ids``, each (batch, length), to `Outputs`."""


@dataclass(frozen=True)
class Piece:
    """A word piece of a text.

    Attributes:
        id: its row in the vocabulary.
        text: as the vocabulary has it; «##ing» continues a word.
        word: number of the word that it belongs to, from 0; None for [CLS] and [SEP], which the model adds.
        start: first character of the text that it covers.
        end: the character after the last one.
    """

    id: int
    text: str
    word: int | None
    start: int
    end: int


@dataclass(frozen=True)
class Reading:
    """One text as the model read it.

    Attributes:
        pieces: of the text as it was given, [CLS] and [SEP] included.
        masked: positions of the pieces that were masked.
        logits: shape (pieces, vocabulary).
        vectors: contextual vectors of the last layer, shape (pieces, width).
        attentions: shape (layers, heads, pieces, pieces).
    """

    pieces: list[Piece]
    masked: list[int]
    logits: Numbers
    vectors: Numbers
    attentions: Numbers

    def word_vector(self, word: int) -> Numbers:
        """Return the contextual vector of a word: the mean over its pieces, shape (width,)."""
        rows = [row for row, piece in enumerate(self.pieces) if piece.word == word]
        mean: Numbers = self.vectors[rows].mean(axis=0)
        return mean

    def log_probabilities(self, position: int) -> npt.NDArray[np.float64]:
        """Return the log softmax of the logits at a position, shape (vocabulary,), natural logarithms."""
        logits = self.logits[position].astype(np.float64)
        logits -= logits.max()
        logs: npt.NDArray[np.float64] = logits - np.log(np.exp(logits).sum())
        return logs


@dataclass(frozen=True)
class Candidate:
    """A word piece that could stand at a position, with its rank (from 1), logit and probability there."""

    id: int
    text: str
    rank: int
    logit: float
    probability: float


@dataclass(frozen=True)
class Prediction:
    """The model's distribution over the vocabulary at one masked position.

    Attributes:
        position: number of the piece, from 0.
        best: the most probable pieces, best first.
        hidden: the piece of the text that was masked there; None where the text itself has [MASK].
        entropy: of the whole distribution, in nats: from 0, certain, to log(size of the vocabulary), uniform.
    """

    position: int
    best: list[Candidate]
    hidden: Candidate | None
    entropy: float


class MaskedModel:
    """A masked-language model that reads texts and predicts words. Safe to use from several threads.

    Attributes:
        network: from token ids to the outputs of the model.
        mask_token: stands for a masked word in a text, usually «[MASK]».
        max_tokens: longest input in pieces, [CLS] and [SEP] included.
        vocabulary_size: number of word pieces that the model knows.
    """

    def __init__(self, folder: Path, network: Network, positions: int | None = None) -> None:
        """Combine the tokenizer of a model directory, in the Hub's format, with a ``network``.

        Args:
            folder: of the model.
            network: from token ids to the outputs of the model.
            positions: how many tokens the network has positions for; by default what config.json says.

        Raises:
            UserError: the directory lacks a file, or its tokenizer has no token for masks.
        """
        self._tokenizer = load_tokenizer(folder)
        self.network = network
        config, tokens = _read_json(folder / "config.json"), _read_json(folder / "tokenizer_config.json")
        mask = tokens.get("mask_token") or ""
        self.mask_token = str(mask["content"] if isinstance(mask, dict) else mask)
        mask_id = self._tokenizer.token_to_id(self.mask_token)
        if mask_id is None:
            raise UserError(
                f"{folder / 'tokenizer_config.json'}: no mask_token that tokenizer.json knows; "
                "give a model that was pre-trained to fill masks"
            )
        self._mask_id = int(mask_id)
        lengths = (positions or config.get("max_position_embeddings"), tokens.get("model_max_length"))
        self.max_tokens = int(min([length for length in lengths if length], default=512))
        self.vocabulary_size = self._tokenizer.get_vocab_size()

    @classmethod
    def open(cls, folder: Path, threads: int | None = None) -> Self:
        """Open a published model; each call uses up to 4 ``threads``, by default as many as there are cores.

        Raises:
            UserError: the directory is no published masked-language model.
        """
        path = folder / GRAPH
        if not path.is_file():
            raise UserError(f"{path}: missing; publish the model with `python -m trainer publish-mlm DIR`")
        session = open_session(path, min(threads or len(os.sched_getaffinity(0)), 4))
        return cls(folder, partial(_run, session, {node.name for node in session.get_inputs()}))

    @cached_property
    def layers_and_heads(self) -> tuple[int, int]:
        """Number of layers, and of attention heads in each."""
        ids = np.zeros((1, 1), dtype=np.int64)
        layers, heads = self.network(ids, np.ones_like(ids), ids).attentions.shape[1:3]
        return layers, heads

    def read(self, text: str, hide: Collection[int] = (), max_pieces: int | None = None) -> Reading:
        """Read a text with the words numbered in ``hide`` masked, and those that are written as the mask token.

        Args:
            text: is neither truncated nor padded.
            hide: numbers of words, from 0.
            max_pieces: longest text in pieces, [CLS] and [SEP] included; by default as long as the model can read.

        Raises:
            UserError: the text is longer.
        """
        pieces = self._pieces(text, min(max_pieces or self.max_tokens, self.max_tokens))
        hidden_words = set(hide)  # [CLS] and [SEP] belong to no word, and are never masked
        masked = [row for row, piece in enumerate(pieces) if piece.id == self._mask_id or piece.word in hidden_words]
        ids = np.array([[piece.id for piece in pieces]], dtype=np.int64)
        ids[0, masked] = self._mask_id
        logits, hidden, attentions = self.network(ids, np.ones_like(ids), np.zeros_like(ids))
        # The network may have more rows than the vocabulary has pieces: padding up to a round number.
        return Reading(pieces, masked, logits[0, :, : self.vocabulary_size], hidden[0], attentions[0])

    def predict(self, reading: Reading, best: int) -> list[Prediction]:
        """Return the model's distribution at each masked position, in the order of the text.

        Several masks are predicted independently: each distribution is the one with all of them masked.

        Args:
            reading: a text with masks.
            best: how many candidates to return for each.
        """
        return [self._prediction(reading, position, best) for position in reading.masked]

    def word(self, piece: int) -> str:
        """Return a piece of the vocabulary as it is written in a text."""
        return str(self._tokenizer.decode([piece], skip_special_tokens=False)).strip() or str(
            self._tokenizer.id_to_token(piece)
        )

    def fill(self, reading: Reading, predictions: list[Prediction]) -> str:
        """Return the text with the best piece at each masked position, as the tokenizer decodes it."""
        best = {prediction.position: prediction.best[0].id for prediction in predictions}
        ids = [best.get(row, piece.id) for row, piece in enumerate(reading.pieces) if piece.word is not None]
        return str(self._tokenizer.decode(ids, skip_special_tokens=False))

    def _pieces(self, text: str, max_pieces: int) -> list[Piece]:
        encoding = self._tokenizer.encode(text)
        if len(encoding.ids) > max_pieces:
            raise UserError(
                f"the text has {len(encoding.ids):,} word pieces and at most {max_pieces} are read; shorten it"
            )
        rows = zip(encoding.ids, encoding.tokens, encoding.word_ids, encoding.offsets, strict=True)
        return [Piece(number, token, word, *offsets) for number, token, word, offsets in rows]

    def _prediction(self, reading: Reading, position: int, best: int) -> Prediction:
        logits, logs = reading.logits[position], reading.log_probabilities(position)

        def candidate(piece: int) -> Candidate:
            rank = 1 + int((logits > logits[piece]).sum())
            return Candidate(piece, self.word(piece), rank, float(logits[piece]), float(np.exp(logs[piece])))

        order = np.argsort(-logits, kind="stable")[:best]
        piece = reading.pieces[position].id
        return Prediction(
            position,
            [candidate(int(row)) for row in order],
            None if piece == self._mask_id else candidate(piece),
            float(-(np.exp(logs) * logs).sum()),
        )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path}: not readable ({type(error).__name__}); give a model directory as `python -m trainer pretrain` writes"
        ) from error
    return content


def _run(session: onnxruntime.InferenceSession, inputs: set[str], ids: Ids, mask: Ids, types: Ids) -> Outputs:
    feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
    return Outputs(*session.run(list(Outputs._fields), {name: feed[name] for name in inputs}))
