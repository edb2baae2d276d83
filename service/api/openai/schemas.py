"""Schemas of `/v1`: those of OpenAI, with two fields of Dowse (`input_type`, `truncated`)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, WithJsonSchema
from pydantic_core import PydanticCustomError

MAX_INPUTS = 2_048
MAX_INPUT = 100_000

USAGE: dict[str, JsonValue] = {"prompt_tokens": 9, "total_tokens": 9}
MODEL: dict[str, JsonValue] = {
    "id": "20261120T101420Z-5a6b7c8d",
    "object": "model",
    "created": 1795169660,
    "owned_by": "dowse",
}

_TOKENIZED_INPUT = (
    "Token ids come from another tokenizer than this model's; send the text itself "
    "(LangChain: OpenAIEmbeddings(check_embedding_ctx_length=False))"
)


def _check(value: Any) -> Any:
    """Check an ``input`` as a whole: a union of types would report an error for each type."""
    texts = [value] if isinstance(value, str) else value
    if isinstance(texts, list) and any(isinstance(part, int | list) for part in texts):
        raise PydanticCustomError("token_ids", _TOKENIZED_INPUT)
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise PydanticCustomError("texts", "Input should be a text or a list of texts")
    if not 1 <= len(texts) <= MAX_INPUTS:
        raise PydanticCustomError("texts", f"Input should be 1 to {MAX_INPUTS:,} texts")
    for position, text in enumerate(texts):
        if not 1 <= len(text) <= MAX_INPUT:
            raise PydanticCustomError(
                "texts", f"Each text should have 1 to {MAX_INPUT:,} characters; number {position} has {len(text):,}"
            )
    return value


_TEXT_SCHEMA = {"type": "string", "minLength": 1, "maxLength": MAX_INPUT}
Texts = Annotated[
    str | list[str],
    BeforeValidator(_check),
    WithJsonSchema(
        {"anyOf": [_TEXT_SCHEMA, {"type": "array", "items": _TEXT_SCHEMA, "minItems": 1, "maxItems": MAX_INPUTS}]}
    ),
]


class EmbeddingsRequest(BaseModel):
    """Body of `POST /v1/embeddings`."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "model": "sentence-transformers/all-MiniLM-L6-v2",
                    "input": "how to sort a list",
                    "input_type": "query",
                },
                {"model": MODEL["id"], "input": ["one text", "another one"], "encoding_format": "base64"},
            ]
        },
    )
    input: Texts = Field(
        description=f"a text, or up to {MAX_INPUTS:,} texts; tokens beyond the model's `max_tokens` are not read"
    )
    model: str = Field(
        max_length=500,
        description="id or name of the live model; `GET /v1/models` lists both. A request with the id fails once "
        "another model is live; a request with the name then uses that model",
    )
    encoding_format: Literal["float", "base64"] = Field(
        default="float", description="numbers, or the bytes of 32-bit floats (little-endian) in base64"
    )
    dimensions: int | None = Field(
        default=None,
        ge=1,
        le=100_000,
        description="length of the vectors: the model's own or, of a Matryoshka model, one that it was trained for",
    )
    input_type: Literal["query", "document"] = Field(
        default="document",
        description="chooses the model's prompt: a field of Dowse, not of OpenAI (`extra_body` of the client)",
    )
    user: str | None = Field(default=None, description="accepted for compatibility and ignored")

    @property
    def texts(self) -> list[str]:
        """The texts to encode."""
        return [self.input] if isinstance(self.input, str) else self.input


class Embedding(BaseModel):
    """The vector of one text."""

    object: Literal["embedding"] = Field(default="embedding", description="type of this object")
    index: int = Field(description="position of the text in `input`, from 0")
    embedding: list[float] | str = Field(description="the vector: numbers, or base64 where that was requested")


class Usage(BaseModel):
    """Tokens that the model has read, prompts and special tokens included."""

    prompt_tokens: int = Field(description="tokens of all texts, after the cut at `max_tokens`")
    total_tokens: int = Field(description="the same number: nothing is generated")


class EmbeddingsResponse(BaseModel):
    """Answer of `POST /v1/embeddings`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "list",
                    "data": [{"object": "embedding", "index": 0, "embedding": [0.0362, -0.0104, 0.0517]}],
                    "model": MODEL["id"],
                    "usage": USAGE,
                }
            ]
        }
    )
    object: Literal["list"] = Field(default="list", description="type of this object")
    data: list[Embedding] = Field(description="a vector for each text, in the order of `input`")
    model: str = Field(description="id of the model that answered")
    usage: Usage = Field(description="tokens that were read")
    truncated: list[int] = Field(
        default=[],
        description="positions of the texts whose end was not read: a field of Dowse, absent where there are none",
    )


class Model(BaseModel):
    """A model that can be named in a request."""

    model_config = ConfigDict(json_schema_extra={"examples": [MODEL]})
    id: str = Field(description="value for `model` in a request")
    object: Literal["model"] = Field(default="model", description="type of this object")
    created: int = Field(description="when the live model was published, in seconds since 1970")
    owned_by: Literal["dowse"] = Field(default="dowse", description="always `dowse`")


class ModelList(BaseModel):
    """Answer of `GET /v1/models`."""

    object: Literal["list"] = Field(default="list", description="type of this object")
    data: list[Model] = Field(description="the live model twice: under its id and under its name")
