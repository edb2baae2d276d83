"""Responses of the masked-language model: a reading of a text, converted to the schemas of the API."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from indexer.artifacts.manifest import Manifest
from indexer.index.dense import unit
from indexer.inference.encoder import Vectors
from indexer.inference.masked_lm import Candidate, MaskedModel, Prediction, Reading
from service.api.models import masked_lm_schemas as schemas


def facts(model: MaskedModel, manifest: Manifest) -> schemas.MaskedFacts:
    """Return the facts of the published model for the page."""
    return schemas.MaskedFacts(
        id=manifest.id,
        name=str(manifest.config.get("base", manifest.id)),
        mask_token=model.mask_token,
        layers=model.layers_and_heads[0],
        heads=model.layers_and_heads[1],
        vocabulary=model.vocabulary_size,
        max_pieces=min(model.max_tokens, schemas.MAX_PIECES),
    )


def pieces(reading: Reading) -> list[schemas.WordPiece]:
    """Return the pieces of a text."""
    masked = set(reading.masked)
    return [
        schemas.WordPiece(
            piece=piece.text, id=piece.id, word=piece.word, start=piece.start, end=piece.end, masked=row in masked
        )
        for row, piece in enumerate(reading.pieces)
    ]


def mask(reading: Reading, prediction: Prediction) -> schemas.MaskedPosition:
    """Return one masked piece with its candidates."""
    piece = reading.pieces[prediction.position]
    return schemas.MaskedPosition(
        position=prediction.position,
        start=piece.start,
        end=piece.end,
        entropy=round(prediction.entropy, 4),
        candidates=[_candidate(candidate) for candidate in prediction.best],
        hidden=prediction.hidden and _candidate(prediction.hidden),
    )


def _candidate(candidate: Candidate) -> schemas.Candidate:
    return schemas.Candidate(
        word=candidate.text,
        probability=round(candidate.probability, 6),
        logit=round(candidate.logit, 4),
        rank=candidate.rank,
    )


def attention(reading: Reading, layer: int, head: int) -> schemas.Attention:
    """Return the weights of one head; layers and heads count from 1."""
    weights = reading.attentions[layer - 1, head - 1]
    return schemas.Attention(
        layer=layer, head=head, weights=[[round(float(weight), 4) for weight in row] for row in weights]
    )


def cosine(first: Vectors, second: Vectors) -> float:
    """Return the cosine of two vectors, each of shape (width,)."""
    return round(float(unit(first) @ unit(second)), 4)


def shared_words(first_text: str, first: Reading, second_text: str, second: Reading) -> list[schemas.SharedWord]:
    """Return the words that two texts share, ignoring case, each at its first occurrence in either."""
    second_words = {
        text.casefold(): (word, start, end) for text, word, start, end in reversed([*_words(second_text, second)])
    }
    shared = {}
    for text, word, start, end in _words(first_text, first):
        if (match := second_words.get(text.casefold())) and text.casefold() not in shared:
            shared[text.casefold()] = schemas.SharedWord(
                word=text,
                first=[start, end],
                second=[match[1], match[2]],
                cosine=cosine(first.word_vector(word), second.word_vector(match[0])),
            )
    return list(shared.values())


def _words(text: str, reading: Reading) -> Iterator[tuple[str, int, int, int]]:
    """Yield the words of a text without punctuation: text, number, first character, and the character after the last."""
    for word, group in groupby(reading.pieces, key=lambda piece: piece.word):
        word_pieces = list(group)
        start, end = word_pieces[0].start, word_pieces[-1].end
        if word is not None and any(map(str.isalnum, text[start:end])):
            yield text[start:end].strip(), word, start, end
