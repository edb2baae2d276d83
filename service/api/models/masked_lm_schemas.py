"""Schemas of the masked-language model: requests and responses of filling masks, reading and comparing texts."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints

MAX_TEXT = 1_000
MAX_PIECES = 64
"""Longest text of the page, in word pieces. An attention map has the square of it, and should still be readable."""

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_TEXT)]
Candidates = Annotated[int, Field(ge=1, le=50, description="number of candidates for each mask")]
MaskedId = Annotated[str, Field(description="id of the masked-language model that answered")]
Took = Annotated[float, Field(description="milliseconds from the start of the work to the finished answer")]
RequestId = Annotated[str, Field(description="as in the header X-Request-ID and in the log")]

CANDIDATE: dict[str, JsonValue] = {"word": "paris", "probability": 0.846, "logit": 9.41, "rank": 1}
MASK: dict[str, JsonValue] = {
    "position": 6,
    "start": 25,
    "end": 31,
    "entropy": 0.81,
    "candidates": [CANDIDATE],
}
MODEL = "20261121T143843Z-d0ee7605"
REQUEST = "0f8fad5bd9cb469fa16570867728950e"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class FillMaskRequest(_Strict):
    """Body of `POST /fill-mask`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"text": "The capital of France is [MASK]."},
                {"text": "He sat on the [MASK] of the [MASK].", "top_k": 3},
            ]
        }
    )
    text: Text = Field(
        description="a text with one or more masks, each written as the model's mask token, usually [MASK]"
    )
    top_k: Candidates = 5


class Candidate(BaseModel):
    """A word piece that could stand behind a mask."""

    model_config = ConfigDict(json_schema_extra={"examples": [CANDIDATE]})
    word: str = Field(description="the piece; `##ing` continues the word before it")
    probability: float = Field(description="softmax of the logits over the whole vocabulary")
    logit: float = Field(description="the model's score, before the softmax")
    rank: int = Field(description="rank among all pieces of the vocabulary, from 1")


class MaskedPosition(BaseModel):
    """One masked word piece and the model's candidates for it. Several masks are filled independently of one another."""

    model_config = ConfigDict(json_schema_extra={"examples": [MASK]})
    position: int = Field(description="number of the piece in the text, from 0")
    start: int = Field(description="first character of the text that it covers")
    end: int = Field(description="the character after the last one")
    entropy: float = Field(
        description="entropy of the whole distribution, in nats: 0 is certain, log(vocabulary) is uniform"
    )
    candidates: list[Candidate] = Field(description="the most probable pieces, best first")
    hidden: Candidate | None = Field(
        default=None, description="the piece that was masked; null where the text has [MASK]"
    )


class FillMaskResponse(BaseModel):
    """Answer of `POST /fill-mask`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "text": "The capital of France is [MASK].",
                    "filled": "the capital of france is paris.",
                    "masks": [MASK],
                    "masked_model": MODEL,
                    "took_ms": 3.1,
                    "request_id": REQUEST,
                }
            ]
        }
    )
    text: str = Field(description="the text as it was read")
    filled: str = Field(description="the text with the best piece for each mask, as the tokenizer decodes it")
    masks: list[MaskedPosition] = Field(description="the masks, in the order of the text")
    masked_model: MaskedId
    took_ms: Took
    request_id: RequestId


class ReadRequest(_Strict):
    """Body of `POST /model/read`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"text": "The capital of France is Paris.", "hide": [5], "layer": 1, "head": 2}]
        }
    )
    text: Text = Field(description=f"a text of at most {MAX_PIECES} word pieces")
    hide: list[Annotated[int, Field(ge=0)]] = Field(
        default=[], max_length=MAX_PIECES, description="numbers of the words that are masked, from 0"
    )
    layer: int = Field(default=1, ge=1, description="layer whose attention is returned, from 1")
    head: int = Field(default=1, ge=1, description="head of that layer, from 1")
    top_k: Candidates = 8


class WordPiece(BaseModel):
    """A word piece of the text."""

    piece: str = Field(description="as the vocabulary writes it; `##ing` continues the word before it")
    id: int = Field(description="row in the vocabulary")
    word: int | None = Field(description="number of its word, from 0; null for special tokens such as [CLS] and [SEP]")
    start: int = Field(description="first character of the text that it covers")
    end: int = Field(description="the character after the last one")
    masked: bool = Field(description="whether the model was shown the mask token instead")


class Attention(BaseModel):
    """Attention of each piece to each piece, in one head."""

    layer: int = Field(description="number of the layer, from 1")
    head: int = Field(description="number of the head in the layer, from 1")
    weights: list[list[float]] = Field(description="a row for each attending piece, in their order; each row sums to 1")


class ReadResponse(BaseModel):
    """Answer of `POST /model/read`."""

    text: str = Field(description="the text as it was read")
    pieces: list[WordPiece] = Field(description="word pieces, with [CLS] and [SEP]")
    masks: list[MaskedPosition] = Field(description="the candidates for each masked piece")
    attention: Attention = Field(description="attention of the requested layer and head")
    masked_model: MaskedId
    took_ms: Took
    request_id: RequestId


class CompareRequest(_Strict):
    """Body of `POST /model/compare`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"first": "He sat on the bank of the river.", "second": "She put the money in the bank."},
            ]
        }
    )
    first: Text = Field(description=f"a text of at most {MAX_PIECES} word pieces")
    second: Text = Field(description="another text, with the same limit")


class SharedWord(BaseModel):
    """A word that both texts have."""

    word: str = Field(description="as the first text writes it")
    first: list[int] = Field(description="its first and last character in the first text: [start, end)")
    second: list[int] = Field(description="its first and last character in the second text: [start, end)")
    cosine: float = Field(description="cosine of its two contextual vectors, each the mean over its pieces")


class CompareResponse(BaseModel):
    """Answer of `POST /model/compare`."""

    words: list[SharedWord] | None = Field(
        description="words of both texts, each at its first occurrence, in the order of the first text; null while no "
        "masked-language model is published"
    )
    sentences: float | None = Field(
        description="cosine of the two texts by the live index's sentence encoder; null while there is no index"
    )
    masked_model: str | None = Field(description="id of the masked-language model; null without one")
    encoder: str | None = Field(description="id of the sentence encoder; null without one")
    took_ms: Took
    request_id: RequestId


class MaskedFacts(BaseModel):
    """The published masked-language model."""

    id: str = Field(description="id of the model")
    name: str = Field(description="name of the directory that it was published from")
    mask_token: str = Field(description="the token that stands for a masked word in a text")
    layers: int = Field(description="number of layers")
    heads: int = Field(description="number of attention heads in each layer")
    vocabulary: int = Field(description="number of word pieces in its vocabulary")
    max_pieces: int = Field(description="longest text that `/model/read` and `/model/compare` take, in word pieces")


class EncoderFacts(BaseModel):
    """The sentence encoder of the live index."""

    id: str = Field(description="id of the model")
    name: str = Field(description="name of its base model")


class ModelInfo(BaseModel):
    """Answer of `GET /model/info`: the models that the page «how it reads» can show."""

    masked: MaskedFacts | None = Field(description="null while no masked-language model is published")
    encoder: EncoderFacts | None = Field(description="null while there is no index")
    missing: list[str] = Field(description="for each model that is missing, a sentence with the command that makes it")
