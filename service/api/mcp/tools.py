"""Tools of the Model Context Protocol: their descriptions for assistants, and the requests that they stand for.

Each tool is a request to a route of the service. Nothing here knows the protocol; `server.py` does.
"""

from __future__ import annotations

from typing import Any, Literal, TypeVar

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from indexer.filters.filter import Filter
from service.api.mcp import internal_request as inside
from service.api.schemas import MAX_QUERY, Metadata, Query

MAX_PART = 50_000
Given = TypeVar("Given", bound=BaseModel)


class ToolError(Exception):
    """A call that failed in a way that the assistant can mend: the message says how."""


class _Arguments(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SearchArguments(_Arguments):
    """What `search` takes."""

    query: Query = Field(
        description=f"What to look for, in plain words: a question, a topic or a description; at most {MAX_QUERY:,} "
        "characters. Whole phrases do better than key words."
    )
    top_k: int = Field(default=10, ge=1, le=50, description="How many documents to return.")
    offset: int = Field(default=0, ge=0, le=1_000, description="How many to skip, to read on where a call ended.")
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


class Found(BaseModel):
    """A document that was found."""

    id: str = Field(description="Id of the document, for `get_document`.")
    title: str | None = Field(description="Its title, if it has one.")
    text: str = Field(description="The passage that fits best; the document may be longer.")
    score: float = Field(description="Higher is better; comparable only within one answer.")
    metadata: Metadata


class SearchAnswer(BaseModel):
    """What `search` gives."""

    results: list[Found] = Field(description="Documents, best first.")


class DocumentArguments(_Arguments):
    """What `get_document` takes."""

    id: str = Field(min_length=1, max_length=2_000, description="Id of a document, as `search` gives it.")
    start: int = Field(default=0, ge=0, description="First character of the text to return, to read on in a long one.")
    max_characters: int = Field(
        default=20_000, ge=1, le=MAX_PART, description="How many characters of the text to return at most."
    )


class DocumentAnswer(BaseModel):
    """What `get_document` gives."""

    id: str = Field(description="Id of the document.")
    title: str | None = Field(description="Its title, if it has one.")
    text: str = Field(description="The text from `start` on.")
    start: int = Field(description="Place of its first character in the whole text.")
    characters: int = Field(description="Length of the whole text.")
    metadata: Metadata


async def search(request: Request, given: dict[str, Any]) -> SearchAnswer:
    """Rank the documents of the index for a query."""
    asked = _valid(SearchArguments, given)
    answer = await _ask(request, "POST", "/search", asked.model_dump(mode="json", exclude_unset=True))
    return SearchAnswer.model_validate(answer)


async def get_document(request: Request, given: dict[str, Any]) -> DocumentAnswer:
    """Return a document, or a part of a long one."""
    asked = _valid(DocumentArguments, given)
    document = await _ask(request, "GET", f"/documents/{asked.id}")
    whole = document["text"]
    part = whole[asked.start : asked.start + asked.max_characters]
    return DocumentAnswer.model_validate({**document, "text": part, "start": asked.start, "characters": len(whole)})


async def describe_corpus(request: Request) -> str:
    """Return a sentence on what is searched: how many documents, and what is known of each."""
    status, info = await inside.call_route(request, "GET", "/info")
    index = info.get("index") if status == 200 else None
    if not index:
        return "Nothing is indexed yet."
    columns = ", ".join(f"{name} ({kind})" for name, kind in index["metadata"].items())
    known = f" Metadata of each: {columns}." if columns else ""
    return f"The corpus has {index['documents']:,} documents.{known}"


def _valid(model: type[Given], given: dict[str, Any]) -> Given:
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise ToolError(
            "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        ) from error


async def _ask(request: Request, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    status, answer = await inside.call_route(request, method, path, body)
    if status != 200:
        raise ToolError(answer["detail"])
    answered: dict[str, Any] = answer
    return answered
