"""Schemas of `/v1/rerank`: those that Cohere's, Jina's and vLLM's clients send and read."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, WithJsonSchema
from pydantic_core import PydanticCustomError

from service.api.openai.schemas import MAX_INPUT
from service.api.schemas import Query

MAX_DOCUMENTS = 1_000

_TEXT: dict[str, JsonValue] = {"type": "string", "maxLength": MAX_INPUT}
_OBJECT: dict[str, JsonValue] = {
    "type": "object",
    "properties": {"text": _TEXT},
    "required": ["text"],
    "additionalProperties": False,
}
_EITHER: dict[str, JsonValue] = {"anyOf": [_TEXT, _OBJECT]}


def _texts(value: Any) -> Any:
    """Return the texts of ``documents``, checked as a whole: a union of types would report an error for each type."""
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_DOCUMENTS:
        raise PydanticCustomError("documents", f"Input should be a list of 1 to {MAX_DOCUMENTS:,} documents")
    texts = [part["text"] if isinstance(part, dict) and set(part) == {"text"} else part for part in value]
    for position, text in enumerate(texts):
        if not isinstance(text, str):
            raise PydanticCustomError(
                "documents", f'Each document should be a text or {{"text": …}}; number {position} is neither'
            )
        if len(text) > MAX_INPUT:
            raise PydanticCustomError(
                "documents",
                f"Each document should have at most {MAX_INPUT:,} characters; number {position} has {len(text):,}",
            )
    return texts


Documents = Annotated[
    list[str],
    BeforeValidator(_texts),
    WithJsonSchema({"type": "array", "items": _EITHER, "minItems": 1, "maxItems": MAX_DOCUMENTS}),
]


class RerankTextsRequest(BaseModel):
    """Body of `POST /v1/rerank`."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"query": "copy a file", "documents": ["Copy data and metadata.", "Remove a directory."], "top_n": 1},
                {"query": "copy a file", "documents": ["Remove a directory."], "return_documents": True},
            ]
        },
    )
    query: Query = Field(description="what the documents should answer")
    documents: Documents = Field(
        description=f"1 to {MAX_DOCUMENTS:,} texts, or objects with a `text`; of query and document together only the "
        "re-ranker's `max_tokens` are read"
    )
    model: str | None = Field(
        default=None,
        max_length=500,
        description="id or name of the live re-ranker, or nothing for whichever is live; `GET /model/info` has its id",
    )
    top_n: int | None = Field(default=None, ge=1, description="number of results; by default all documents")
    return_documents: bool = Field(default=False, description="whether results repeat the texts of the documents")


class RerankedText(BaseModel):
    """The text of a document."""

    text: str = Field(description="as it stands in the request")


class RerankedDocument(BaseModel):
    """One document with its score."""

    index: int = Field(description="position of the document in `documents`, from 0")
    relevance_score: float = Field(
        description="between 0 and 1, the sigmoid of the cross-encoder's output: comparable within a re-ranker, and a "
        "probability only as far as it was trained to give one"
    )
    document: RerankedText | None = Field(default=None, description="with `return_documents` the document")


class RerankUsage(BaseModel):
    """Tokens that the re-ranker has read, special tokens included, as Jina and OpenAI report them."""

    prompt_tokens: int = Field(description="tokens of all pairs of query and document")
    total_tokens: int = Field(description="the same number: nothing is generated")


class RerankTokens(BaseModel):
    """Tokens, as Cohere reports them."""

    input_tokens: int = Field(description="as `usage.total_tokens`")


class RerankMeta(BaseModel):
    """What Cohere's clients look for beside the results."""

    tokens: RerankTokens = Field(description="tokens that were read")


class RerankTextsResponse(BaseModel):
    """Answer of `POST /v1/rerank`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "0f8fad5bd9cb469fa16570867728950e",
                    "object": "list",
                    "model": "20261121T150101Z-7e8f9a0b",
                    "results": [{"index": 0, "relevance_score": 0.9712}],
                    "usage": {"prompt_tokens": 21, "total_tokens": 21},
                    "meta": {"tokens": {"input_tokens": 21}},
                }
            ]
        }
    )
    id: str = Field(description="id of the request, as in the header X-Request-ID and in the log")
    object: Literal["list"] = Field(default="list", description="type of this object")
    model: str = Field(description="id of the re-ranker that answered")
    results: list[RerankedDocument] = Field(description="the best documents, the best first; equal ones as they came")
    usage: RerankUsage = Field(description="tokens that were read")
    meta: RerankMeta = Field(description="the same as Cohere's clients read it")
    truncated: list[int] = Field(
        default=[],
        description="positions of the documents that were not read whole, or whose query was not: a field of Dowse, "
        "absent where there are none",
    )
