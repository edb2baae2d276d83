"""What a masked-language model says of one text: its pieces, its vectors, its attention, its guesses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Piece:
    """A word piece of a text.

    Attributes:
        id: its row in the vocabulary.
        text: as the vocabulary writes it; «##ing» goes on with a word.
        word: number of the word that it belongs to, from 0; None for what the model puts around the text ([CLS], [SEP]).
        start: first character of the text that it covers.
        end: the character after the last one.
    """

    id: int
    text: str
    word: int | None
    start: int
    end: int


@dataclass(frozen=True)
class Candidate:
    """A word piece that could stand at a position, with its rank (from 1), logit and probability there."""

    id: int
    text: str
    rank: int
    logit: float
    probability: float


@dataclass(frozen=True)
class Guess:
    """The model's distribution over the vocabulary at one masked position.

    Attributes:
        position: number of the piece, from 0.
        best: the most probable pieces, best first.
        hidden: the piece that was hidden there; None where the text itself said [MASK].
        entropy: of the whole distribution, in nats: 0 is certain, log(vocabulary) knows nothing.
    """

    position: int
    best: list[Candidate]
    hidden: Candidate | None
    entropy: float


@dataclass(frozen=True)
class Reading:
    """One text as the model read it.

    Attributes:
        pieces: of the text as it was given, [CLS] and [SEP] included.
        masked: positions of the pieces that the model did not see.
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
