"""Schemas of whole documents by id or by filter: `POST /documents/fetch` and `POST /documents/delete`."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from indexer.filters.filter import Filter
from service.api.documents.schemas import DOCUMENT
from service.api.schemas import INDEX, AnsweredBy, DocumentId, Metadata, RequestId

MAX_FETCHED = 256
MAX_CHARACTERS = 4_000_000
"""Characters of texts in one answer; it has one document in any case."""
MAX_DELETED = 10_000
FILTER: JsonValue = {"must": [{"field": "id", "prefix": "shutil."}]}


class FetchRequest(BaseModel):
    """Body of `POST /documents/fetch`: ids, or a filter and where to go on."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"ids": ["shutil.copy2", "shutil.move"]},
                {"filter": FILTER, "limit": 2, "after": "shutil.copy2"},
            ]
        },
    )
    ids: list[DocumentId] | None = Field(
        default=None,
        max_length=MAX_FETCHED,
        description="ids of documents, which come in this order; those that the index does not have are left out",
    )
    filter: Filter | None = Field(default=None, description="which documents; all by default")
    after: DocumentId | None = Field(
        default=None, description="go on behind this id: `next` of the answer before, whether it still exists or not"
    )
    limit: Annotated[int, Field(ge=0, le=MAX_FETCHED)] = Field(
        default=100, description="number of documents; 0 only counts them"
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if self.ids is not None and self.model_fields_set != {"ids"}:
            raise ValueError("give `ids` alone, or any of `filter`, `after` and `limit`")
        return self


class FetchedDocument(BaseModel):
    """One whole document."""

    model_config = ConfigDict(json_schema_extra={"examples": [{**DOCUMENT, "metadata": {}}]})
    id: str = Field(description="id of the document")
    title: str | None = Field(description="title of the document, if it has one")
    text: str = Field(description="the whole text")
    metadata: Metadata


class FetchResponse(BaseModel):
    """Answer of `POST /documents/fetch`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "documents": [{**DOCUMENT, "metadata": {}}],
                    "matches": 2,
                    "next": DOCUMENT["id"],
                    "index": INDEX,
                    "request_id": "0f8fad5bd9cb469fa16570867728950e",
                }
            ]
        }
    )
    documents: list[FetchedDocument] = Field(
        description=f"in the order of `ids`, or of their ids by their bytes. Fewer than asked for where their texts have "
        f"more than {MAX_CHARACTERS:,} characters together"
    )
    matches: int = Field(description="number of documents that there are of `ids`, or that pass the filter")
    next: str | None = Field(
        description="null where this is all; else `after` of the next request or, with `ids`, the first id to ask for again"
    )
    index: AnsweredBy
    request_id: RequestId


class DeleteRequest(BaseModel):
    """Body of `POST /documents/delete`."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"filter": FILTER}]})
    filter: Filter = Field(description="which documents are deleted; an empty tree means all")


class DeleteResponse(BaseModel):
    """Answer of `POST /documents/delete`. The deletion is on disk, and every search that begins now sees it."""

    deleted: int = Field(description=f"number of documents that were deleted, at most {MAX_DELETED:,}")
    remaining: int = Field(description="number of documents that pass the filter and are still there: send it again")
    took_ms: float = Field(description="milliseconds until the write was on disk and visible")
    index: AnsweredBy
    request_id: RequestId
