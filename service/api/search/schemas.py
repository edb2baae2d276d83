"""Schemas of search: what a request may ask for, and what an answer says."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, field_validator
from pydantic_core import to_jsonable_python

from indexer.filters.facets import Facet, FacetRequest
from indexer.filters.filter import Filter
from indexer.retrieval.fusion import Fusion
from indexer.retrieval.retriever import Mode
from service.api.schemas import HIT, INDEX, AnsweredBy, Metadata, Query, RequestId, Took

MAX_FIELDS = 100
MAX_OFFSET = 10_000

TopK = Annotated[int, Field(ge=1, le=100, description="number of results")]
Column = Annotated[str, Field(min_length=1, max_length=200)]


class Arrangement(BaseModel):
    """How results are chosen, ordered and shown; both ways of searching take it."""

    model_config = ConfigDict(extra="forbid")

    min_score: float | None = Field(
        default=None,
        allow_inf_nan=False,
        description="leave out results below this. Of `dense` and `hybrid` it is the cosine of the dense leg (fused "
        "scores mean nothing outside their response), of `lexical` the BM25 score",
    )
    diversity: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="how much results that resemble one before them are put back (maximal marginal relevance): "
        "0 not at all, 1 regardless of relevance. Scores stay, and no longer descend",
    )
    group_by: Column | None = Field(
        default=None,
        description="metadata column of which each value gets at most `group_size` results; documents without a value "
        "are not grouped",
    )
    group_size: int = Field(default=1, ge=1, le=100, description="most results with the same value of `group_by`")
    fields: list[Column] | None = Field(
        default=None, max_length=MAX_FIELDS, description="metadata columns to return; all by default"
    )
    highlight: bool = Field(
        default=False, description="say where the query's words stand, and which sentence is nearest in meaning"
    )


class Paged(Arrangement):
    """An arrangement of which one page is returned."""

    top_k: TopK = 10
    offset: int = Field(default=0, ge=0, le=MAX_OFFSET, description="number of results to skip")


class Highlights(BaseModel):
    """Where a result answers. Spans are code points into `title` or `text`, the end excluded."""

    title: list[tuple[int, int]] = Field(description="words of the query in `title`")
    text: list[tuple[int, int]] = Field(description="words of the query in `text`")
    sentence: tuple[int, int] | None = Field(description="the sentence of `text` that is nearest in meaning")


class RerankRequest(BaseModel):
    """How results are re-ranked."""

    model_config = ConfigDict(extra="forbid")

    top_n: int = Field(default=50, ge=1, le=200, description="how many of the first results the cross-encoder reads")
    budget_ms: int = Field(
        default=200, ge=1, le=60_000, description="milliseconds for it; where they do not suffice, the order stays"
    )


class Rerank(BaseModel):
    """What became of the re-ranking."""

    applied: bool = Field(description="whether the first results are in the order of the cross-encoder")
    scored: int = Field(description="number of results that it has read")
    took_ms: float = Field(description="milliseconds spent on it")
    reason: str | None = Field(description="why it was not applied; null where it was")


Group = Annotated[
    Any,
    PlainSerializer(lambda value: to_jsonable_python(value, bytes_mode="base64"), return_type=Any),
    Field(description="the document's value of the `group_by` column, where that was asked"),
]


MAX_FACETS = 20


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
        max_length=MAX_FACETS,
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


# What every list of results comes with; spelt out in each response, so that its fields keep their order.
Results = Annotated[list[Result], Field(description="best first; equal scores in the order of their ids")]


Count = Annotated[int, Field(description="number of results in this response")]


Stages = Annotated[Timings, Field(description="milliseconds of each stage")]


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
