"""What the service takes and gives: the models behind `openapi.json`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, PlainSerializer, StringConstraints, field_validator
from pydantic_core import to_jsonable_python

from indexer.filters.facets import Facet, FacetRequest
from indexer.filters.filter import Filter
from indexer.retrieval.fusion import Fusion
from indexer.retrieval.retriever import Mode
from service.api.search.schemas import Group, Highlights, Paged, Rerank, RerankRequest
from service.openai_errors import OpenAIError

LONGEST_QUERY = 2_000
MOST_FACETS = 20

Query = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=LONGEST_QUERY)]

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


class Choices(Paged):
    """What both ways of searching have in common."""

    mode: Mode = Field(
        default="hybrid",
        description="`dense`: by meaning, scores are cosines; `lexical`: by words, scores are BM25; "
        "`hybrid`: both, scores are fused and comparable only within one response",
    )
    explain: bool = Field(default=False, description="add each leg's score and rank to every result")


class SearchRequest(Choices):
    """Body of `POST /search`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"query": "run a command and get its output"},
                {
                    "query": "remove duplicates but keep the order",
                    "top_k": 5,
                    "mode": "hybrid",
                    "fusion": {"method": "convex", "dense_weight": 0.7},
                    "explain": True,
                },
                {
                    "query": "write an object to a file",
                    "filter": {"must_not": [{"field": "id", "prefix": "shelve."}]},
                    "facets": [{"field": "id", "limit": 3}],
                },
            ]
        }
    )
    query: Query = Field(description="what to look for, in plain words")
    rerank: RerankRequest | None = Field(
        default=None, description="order the first results by the published cross-encoder; `{}` for the defaults"
    )
    fusion: Fusion | None = Field(
        default=None, description="how the legs are combined; what is left out is as the index says"
    )
    filter: Filter | None = Field(default=None, description="which documents may be returned")
    facets: list[FacetRequest] = Field(
        default=[],
        max_length=MOST_FACETS,
        description="fields whose values are counted over all documents that pass the filter; each field once",
    )

    @field_validator("facets")
    @classmethod
    def _each_once(cls, facets: list[FacetRequest]) -> list[FacetRequest]:
        if len({facet.field for facet in facets}) < len(facets):
            raise ValueError("a field is there twice; ask for each once, with all its ranges")
        return facets


class SearchQuery(Choices):
    """Query string of `GET /search`: the same, flat."""

    q: Query = Field(description="what to look for, in plain words", examples=["run a command and get its output"])
    fusion: Literal["convex", "rrf"] | None = Field(default=None, description="how the legs are combined")
    dense_weight: float | None = Field(default=None, ge=0, le=1, description="weight of the dense leg")

    def request(self) -> SearchRequest:
        """Return the same request as a body."""
        asked = {"method": self.fusion, "dense_weight": self.dense_weight}
        given = {name: value for name, value in asked.items() if value is not None}
        common = {name: getattr(self, name) for name in Choices.model_fields}
        return SearchRequest(query=self.q, fusion=Fusion(**given) if given else None, **common)


class LegScore(BaseModel):
    """One leg's word on a result."""

    score: float = Field(description="cosine (dense) or BM25 (lexical)")
    rank: int = Field(description="rank by this score among the query's candidates, from 1")
    part: float | None = Field(
        default=None,
        description="`hybrid`: what the leg adds to the fused score, counted from the candidate to which it adds least; "
        "the parts of a result compare with each other and with those of other results",
    )


class Scores(BaseModel):
    """Both legs' words on a result; null for a leg that was not asked or has not found it."""

    dense: LegScore | None = Field(default=None, description="nearness in meaning")
    lexical: LegScore | None = Field(default=None, description="words in common")
    rerank: float | None = Field(
        default=None, description="the cross-encoder's, where `rerank` was set and has read the result"
    )


class Result(BaseModel):
    """One document."""

    model_config = ConfigDict(json_schema_extra={"examples": [HIT]})
    id: str = Field(description="id of the document")
    rank: int = Field(description="place in the ranking, from 1; counts on over pages")
    score: float = Field(description="higher is better; see `mode` for its meaning")
    title: str | None = Field(description="title of the document, if it has one")
    text: str = Field(description="the passage of the document that fits best")
    metadata: Metadata
    scores: Scores | None = Field(default=None, description="each leg's score and rank, where `explain` was set")
    highlights: Highlights | None = Field(default=None, description="where it answers, where `highlight` was set")
    group: Group = None


class Timings(BaseModel):
    """Milliseconds spent in each stage; encoding and the lexical leg run side by side."""

    encode: float = Field(default=0.0, description="the query's vector")
    dense: float = Field(default=0.0, description="nearest passages")
    lexical: float = Field(default=0.0, description="BM25")
    fuse: float = Field(default=0.0, description="one ranking out of two")
    fetch: float = Field(default=0.0, description="texts and metadata of the results")
    rerank: float = Field(default=0.0, description="the cross-encoder's reading, where `rerank` was set")
    highlight: float = Field(default=0.0, description="words and sentences marked, where `highlight` was set")


class IndexInfo(BaseModel):
    """The index that answered."""

    id: str = Field(description="id of the index")
    generation: str = Field(description="the same with the number of the last write that is visible")
    model: str = Field(description="id of the model that it was built with")
    documents: int = Field(description="number of documents")


# What every list of results comes with; spelt out in each response, so that its fields keep their order.
Results = Annotated[list[Result], Field(description="best first; equal scores in the order of their ids")]
Count = Annotated[int, Field(description="number of results in this response")]
Took = Annotated[float, Field(description="milliseconds from the start of the search to the finished results")]
Stages = Annotated[Timings, Field(description="milliseconds of each stage")]
AnsweredBy = Annotated[IndexInfo, Field(description="the index that answered")]
RequestId = Annotated[str, Field(description="as in the header X-Request-ID and in the log")]


class SearchResponse(BaseModel):
    """Answer of `/search`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "query": "run a command and get its output",
                    "results": [HIT],
                    "count": 1,
                    "offset": 0,
                    "took_ms": 5.2,
                    "timings": {"encode": 4.1, "dense": 0.3, "lexical": 0.5, "fuse": 0.1, "fetch": 0.2},
                    "index": INDEX,
                    "request_id": "0f8fad5bd9cb469fa16570867728950e",
                }
            ]
        }
    )
    query: str = Field(description="the query as it was searched")
    results: Results
    count: Count
    offset: int = Field(description="number of results that were skipped")
    took_ms: Took
    timings: Stages
    index: AnsweredBy
    rerank: Rerank | None = Field(default=None, description="what became of the re-ranking, where `rerank` was set")
    suggestion: str | None = Field(
        default=None,
        description="did you mean: the query with its unknown words replaced by the nearest of the corpus. There only "
        "where the query's words find nothing, null where nothing is near",
    )
    request_id: RequestId
    matches: int | None = Field(
        default=None,
        description="number of documents that pass the filter, where a filter or facets were asked for; "
        "without a filter that is all",
    )
    facets: dict[str, Facet] | None = Field(
        default=None, description="the counts of each field that was asked for, over all documents that pass the filter"
    )


class SimilarResponse(BaseModel):
    """Answer of `/documents/{id}/similar`."""

    id: str = Field(description="id of the document that was asked about; it is not among the results")
    results: Results
    count: Count
    took_ms: Took
    timings: Stages
    index: AnsweredBy
    request_id: RequestId


class DocumentResponse(BaseModel):
    """One whole document."""

    id: str = Field(description="id of the document")
    title: str | None = Field(description="title of the document, if it has one")
    text: str = Field(description="the whole text")
    metadata: Metadata
    index: IndexInfo = Field(description="the index that answered")
    request_id: str = Field(description="as in the header X-Request-ID and in the log")


class IndexDetails(IndexInfo):
    """The live index in full."""

    passages: int = Field(description="number of passages, each with one vector")
    created: str = Field(description="when it was published, UTC")
    config: dict[str, Any] = Field(description="how it was built")
    encoder: dict[str, Any] = Field(description="how a text becomes a vector")
    metadata: dict[str, str] = Field(description="metadata columns and their types")


class Gain(BaseModel):
    """nDCG@10 on held-out queries, before and after tuning."""

    base: float = Field(description="with the model that training started from")
    tuned: float = Field(description="with the tuned model")


class ModelFacts(BaseModel):
    """The model that the live index was built with."""

    id: str = Field(description="id of the model")
    name: str = Field(description="name of the base model")
    tuned: bool = Field(description="whether it was tuned on a corpus")
    tuned_from: str | None = Field(description="id of the model that training started from; null for an untouched one")
    verdict: str | None = Field(description="`WIN`, `TIE` or `LOSS` against its base; null for an untouched one")
    judged_by: str | None = Field(description="`labels` or `synthetic queries`: what the verdict rests on")
    dense: Gain | None = Field(description="dense search alone; null where it was not measured")
    hybrid: Gain | None = Field(description="hybrid search; null where it was not measured")
    report: str | None = Field(description="path of its report, relative to the service's root; null without one")


class Info(BaseModel):
    """Answer of `/info`."""

    name: str = Field(description="name of the service")
    version: str = Field(description="version of Dowse")
    index: IndexDetails | None = Field(description="null while there is no index")
    model: ModelFacts | None = Field(description="null while there is no index")


class Health(BaseModel):
    """Answer of the health checks."""

    status: str = Field(description="`alive`, or `ready` with the id of the index")


class ProblemField(BaseModel):
    """One part of a request that was refused."""

    field: str = Field(description="where: `body.top_k`, `query.q`, …")
    message: str = Field(description="what is wrong with it")


class ProblemDetails(BaseModel):
    """An error, as RFC 9457 has it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:dowse:problem:invalid-request",
                    "title": "The request is not valid",
                    "status": 422,
                    "detail": "body.top_k: Input should be less than or equal to 100",
                    "request_id": "0f8fad5bd9cb469fa16570867728950e",
                    "errors": [{"field": "body.top_k", "message": "Input should be less than or equal to 100"}],
                }
            ]
        }
    )
    type: str = Field(description="stable name of the kind of problem")
    title: str = Field(description="the kind of problem in words")
    status: int = Field(description="HTTP status")
    detail: str = Field(description="this problem, and what to do about it")
    request_id: str = Field(description="as in the header X-Request-ID and in the log")
    errors: list[ProblemField] = Field(default=[], description="the refused parts of the request")
    error: OpenAIError | None = Field(default=None, description="the same for OpenAI's clients; only below `/v1`")
