"""Schemas of the document routes: requests and responses of reading, writing and feedback."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    model_validator,
)

from service.api.schemas import AnsweredBy, DocumentId, IndexInfo, Metadata, Query, RequestId

MAX_DOCUMENTS = 256
MAX_TEXT = 1_000_000
MAX_COLUMN = 512

ColumnName = Annotated[str, StringConstraints(max_length=MAX_COLUMN)]
DOCUMENT: dict[str, JsonValue] = {
    "id": "my.chunks",
    "title": "my.chunks",
    "text": "Split a list into pieces of a given length.",
}


class NewDocument(BaseModel):
    """A document to put: a new one, or a new version of the one with this id."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [DOCUMENT]})
    id: DocumentId = Field(description="id of the document")
    title: str | None = Field(default=None, max_length=MAX_TEXT, description="title; searched together with the text")
    text: Annotated[str, StringConstraints(min_length=1, max_length=MAX_TEXT, pattern=r"\S")] = Field(
        description="text that is searched; not empty"
    )
    metadata: dict[ColumnName, Any] = Field(
        default={},
        description="columns of the index with values of their types, as in results; a column that is left out is null",
    )


class PutDocuments(BaseModel):
    """Body of `PUT /documents`."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"documents": [DOCUMENT]}]})
    documents: list[NewDocument] = Field(
        min_length=1, max_length=MAX_DOCUMENTS, description="written together: all of them or none"
    )


class WriteResponse(BaseModel):
    """Answer to a write. It is on disk, and every search that begins now sees it."""

    put: int = Field(description="number of documents that were put")
    replaced: int = Field(description="how many of them replaced a document with the same id")
    deleted: int = Field(description="number of documents that existed and were deleted")
    took_ms: float = Field(description="milliseconds until the write was on disk and visible")
    index: AnsweredBy
    request_id: RequestId


class Feedback(BaseModel):
    """Body of `POST /feedback`: either a click or a grade."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"query": "copy a file", "document": "shutil.copy2", "click": True}]},
    )
    query: Query = Field(description="the query that was searched")
    document: DocumentId = Field(description="id of a document")
    click: Literal[True] | None = Field(default=None, description="true if the document was opened")
    grade: int | None = Field(
        default=None,
        ge=0,
        le=3,
        description="how well the document answers: 0 not at all, 1 a little, 2 well, 3 perfectly",
    )

    rank: int | None = Field(
        default=None, ge=1, le=10_100, description="rank of the document among the results, from 1; for statistics"
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> Feedback:
        if (self.click is None) == (self.grade is None):
            raise ValueError("give either `click` or `grade`")
        return self


class FeedbackResponse(BaseModel):
    """Answer to feedback. It is on disk."""

    stored: Literal[True] = Field(description="the next `python -m trainer run --feedback` learns from it")
    request_id: RequestId


class DocumentResponse(BaseModel):
    """One whole document."""

    id: str = Field(description="id of the document")
    title: str | None = Field(description="title of the document, if it has one")
    text: str = Field(description="the whole text")
    metadata: Metadata
    index: IndexInfo = Field(description="the index that answered")
    request_id: str = Field(description="as in the header X-Request-ID and in the log")


class ImportProgress(BaseModel):
    """Line of the answer to an import: how far it is. What it counts is on disk and searchable."""

    lines: int = Field(description="rows up to this line of the stream are written or refused")
    put: int = Field(description="documents that were put")
    replaced: int = Field(description="how many of them replaced a document with the same id")
    refused: int = Field(description="rows that were refused")


class ImportRefusal(BaseModel):
    """Line of the answer to an import: a row that was refused."""

    line: int = Field(description="number of the line in the stream, from 1")
    id: str | None = Field(description="id of the document, where it could be read")
    error: str = Field(description="why it was refused")


class ImportSummary(ImportProgress):
    """Last line of the answer to an import that took the whole stream."""

    done: Literal[True] = Field(description="all rows are written or refused")
    took_ms: float = Field(description="milliseconds from the first row to the last")
    index: IndexInfo = Field(description="the index with these documents")
    request_id: RequestId


class ImportStopped(ImportProgress):
    """Last line of the answer to an import that stopped: send the lines after `lines` again."""

    stopped: str = Field(description="why")
    status: int = Field(description="HTTP status that a request of its own would have got")
    request_id: RequestId
