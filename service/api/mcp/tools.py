"""Tools of the Model Context Protocol: their schemas, and the requests that they make.

Each tool is a request to a route of the service. The protocol itself is in `server.py`.
"""

from __future__ import annotations

from typing import Any, Literal, TypeVar
from urllib.parse import quote

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from indexer.filters.filter import Filter
from indexer.filters.sort import Sort
from service.api.mcp.internal_request import call_route
from service.api.schemas import MAX_QUERY, DocumentId, Metadata, SomeQuery

MAX_PART = 50_000
"""Limit of the characters of a document in one answer."""
Arguments = TypeVar("Arguments", bound=BaseModel)


class ToolError(Exception):
    """A failed call that the assistant can correct: the message says how."""


class _Arguments(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SearchArguments(_Arguments):
    """Arguments of `search`."""

    query: SomeQuery = Field(
        default="",
        description=f"What to look for, in plain words: a question, a topic or a description; at most {MAX_QUERY:,} "
        "characters. Whole phrases do better than key words. Leave it out to list documents by `filter` and `sort` alone: "
        "the newest, the cheapest, all of a kind.",
    )
    top_k: int = Field(default=10, ge=1, le=50, description="How many documents to return.")
    offset: int = Field(
        default=0, ge=0, le=1_000, description="How many documents to skip, to continue where a call ended."
    )
    mode: Literal["hybrid", "dense", "lexical"] = Field(
        default="hybrid",
        description="`hybrid` (meaning and words, best for nearly everything), `dense` (meaning alone) or `lexical` "
        "(words alone, for names, codes and exact terms).",
    )
    filter: Filter | None = Field(
        default=None,
        description="Which documents may be returned, by their metadata and `id`: trees of conditions such as "
        '`{"must": [{"field": "price", "lt": 20}, {"field": "tags", "in": ["garden"]}]}`. Leave it out unless the '
        "question is about a metadata field.",
    )
    sort: Sort = Field(
        default=[],
        description="The order of the results, in place of how well they fit: "
        '`[{"field": "price", "order": "desc"}]`, or by distance '
        '`[{"latitude": "lat", "longitude": "lon", "near": {"lat": 39.9, "lon": 4.1}}]`. With a query it orders only the '
        "best candidates.",
    )


class Found(BaseModel):
    """One hit."""

    id: str = Field(description="Id of the document, for `get_document`.")
    title: str | None = Field(description="Its title, if it has one.")
    text: str = Field(description="The passage that fits best; the document may be longer.")
    score: float | None = Field(
        default=None,
        description="Higher is better; comparable only within one answer. Null where there is a relevance, 0 without a query.",
    )
    relevance: float | None = Field(
        default=None, description="Probability that it answers the query; below 0.1 it hardly does. Null where unknown."
    )
    metadata: Metadata


class SearchAnswer(BaseModel):
    """Answer of `search`."""

    results: list[Found] = Field(description="Documents, best first, or as `sort` says.")
    matches: int | None = Field(
        default=None, description="How many documents pass the filter, with one and without a query."
    )


class DocumentArguments(_Arguments):
    """Arguments of `get_document`."""

    id: DocumentId = Field(description="Id of a document, as `search` gives it.")
    start: int = Field(default=0, ge=0, description="First character of the text to return, to continue in a long one.")
    max_characters: int = Field(
        default=20_000, ge=1, le=MAX_PART, description="How many characters of the text to return at most."
    )


class DocumentAnswer(BaseModel):
    """Answer of `get_document`."""

    id: str = Field(description="Id of the document.")
    title: str | None = Field(description="Its title, if it has one.")
    text: str = Field(description="The text from `start` on.")
    start: int = Field(description="Offset of its first character in the whole text.")
    characters: int = Field(description="Length of the whole text.")
    metadata: Metadata


async def search(request: Request, arguments: dict[str, Any]) -> SearchAnswer:
    """Rank the documents of the index for a query."""
    search_arguments = _validate(SearchArguments, arguments)
    answer = await _call(request, "POST", "/search", search_arguments.model_dump(mode="json", exclude_unset=True))
    return SearchAnswer.model_validate(answer)


async def get_document(request: Request, arguments: dict[str, Any]) -> DocumentAnswer:
    """Return a document, or a part of a long one."""
    part = _validate(DocumentArguments, arguments)
    document = await _call(request, "GET", f"/documents/{quote(part.id, safe='')}")
    text = document["text"]
    return DocumentAnswer.model_validate(
        {
            **document,
            "text": text[part.start : part.start + part.max_characters],
            "start": part.start,
            "characters": len(text),
        }
    )


async def describe_corpus(request: Request) -> str:
    """Return a sentence on the corpus: its number of documents and its metadata columns."""
    status, info = await call_route(request, "GET", "/info")
    index = info.get("index") if status == 200 else None
    if not index:
        return "Nothing is indexed yet."
    columns = ", ".join(f"{name} ({kind})" for name, kind in index["metadata"].items())
    metadata = f" Metadata of each: {columns}." if columns else ""
    return f"The corpus has {index['documents']:,} documents.{metadata}"


def _validate(model: type[Arguments], arguments: dict[str, Any]) -> Arguments:
    try:
        return model.model_validate(arguments)
    except ValidationError as error:
        raise ToolError(
            "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        ) from error


async def _call(request: Request, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    status, content = await call_route(request, method, path, body)
    if status != 200:
        raise ToolError(content["detail"])
    answer: dict[str, Any] = content
    return answer
