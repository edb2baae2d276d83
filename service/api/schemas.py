"""Schemas that several rooms of the API share: queries, metadata, and what every answer says."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue, PlainSerializer, StringConstraints
from pydantic_core import to_jsonable_python

HIT: dict[str, JsonValue] = {
    "id": "subprocess.run",
    "rank": 1,
    "score": 3.41,
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
    # A model's `ser_json_bytes` counts only where that model is dumped by itself, which is not what FastAPI does.
    jsonable: dict[str, Any] = to_jsonable_python(metadata, bytes_mode="base64")
    return jsonable


Metadata = Annotated[
    dict[str, Any],
    PlainSerializer(_jsonable, return_type=dict[str, Any]),
    Field(
        description="all other columns of the corpus, with their types: dates and times in ISO 8601, binary in "
        "URL-safe base64, a number that is none (NaN) or infinite as null"
    ),
]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class IndexInfo(BaseModel):
    """The index that answered."""

    id: str = Field(description="id of the index")
    generation: str = Field(description="the same with the number of the last write that is visible")
    model: str = Field(description="id of the model that it was built with")
    documents: int = Field(description="number of documents")


Took = Annotated[float, Field(description="milliseconds from the start of the search to the finished results")]
AnsweredBy = Annotated[IndexInfo, Field(description="the index that answered")]
RequestId = Annotated[str, Field(description="as in the header X-Request-ID and in the log")]


MAX_QUERY = 2_000


Query = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_QUERY)]
