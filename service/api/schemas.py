"""Schemas that several groups of routes share: queries, metadata, and fields of every response."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue, PlainSerializer, StringConstraints
from pydantic_core import to_jsonable_python

MAX_QUERY = 2_000
"""Longest query, in characters."""
MAX_ID = 2_000
"""Longest id of a document, in characters: in a path, with all of them escaped, it has 24,000."""
HIT: dict[str, JsonValue] = {
    "id": "subprocess.run",
    "rank": 1,
    "score": 3.41,
    "relevance": 0.83,
    "title": "subprocess.run",
    "text": "Run command with arguments and return a CompletedProcess instance.",
    "metadata": {"module": "subprocess", "kind": "function"},
}
INDEX: dict[str, JsonValue] = {
    "id": "20261120T101500Z-1f2e3d4c",
    "generation": "20261120T101500Z-1f2e3d4c.0",
    "model": "20261120T101420Z-5a6b7c8d",
    "documents": 4211,
}


def _jsonable(metadata: dict[str, Any]) -> dict[str, Any]:
    # `ser_json_bytes` of a model works only if that model itself is dumped, which FastAPI does not do.
    jsonable: dict[str, Any] = to_jsonable_python(metadata, bytes_mode="base64")
    return jsonable


Metadata = Annotated[
    dict[str, Any],
    PlainSerializer(_jsonable, return_type=dict[str, Any]),
    Field(
        description="all other columns of the corpus, with their types: dates and times in ISO 8601, binary values in "
        "URL-safe base64, NaN and infinite numbers as null"
    ),
]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class IndexInfo(BaseModel):
    """The index that answered."""

    id: str = Field(description="id of the index")
    generation: str = Field(description="id of the index and number of the last visible write")
    model: str = Field(description="id of the model that it was built with")
    documents: int = Field(description="number of documents")


Took = Annotated[float, Field(description="milliseconds from the start of the search to the finished results")]
AnsweredBy = Annotated[IndexInfo, Field(description="the index that answered")]
RequestId = Annotated[str, Field(description="id of the request, as in the header X-Request-ID and in the log")]
DocumentId = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID, pattern=r"\S")]
"""An id as it stands in a body or a query: of any characters, all of which count, but not of blanks alone."""
Query = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_QUERY)]
SomeQuery = Annotated[str, StringConstraints(strip_whitespace=True, max_length=MAX_QUERY)]
"""A query, or an empty text for none: then the documents are listed."""
