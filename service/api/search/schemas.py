"""Schemas of search: requests and responses of `/search` and `/documents/{id}/similar`."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, ValidationInfo, field_validator
from pydantic_core import to_jsonable_python

from indexer.filters.boost import MAX_BOOSTS, Boost
from indexer.filters.conditions import MAX_TEXT
from indexer.filters.facets import Facet, FacetRequest
from indexer.filters.filter import Filter
from indexer.filters.sort import MAX_KEYS, Sort, parse_sort
from indexer.retrieval.fusion import Fusion
from indexer.retrieval.ranking import Mode
from service.api.schemas import HIT, INDEX, AnsweredBy, Metadata, RequestId, SomeQuery, Took

MAX_FIELDS = 100
MAX_OFFSET = 10_000
MAX_TOP_K = 100

TopK = Annotated[int, Field(ge=1, le=MAX_TOP_K, description="number of results")]
Column = Annotated[str, Field(min_length=1, max_length=200)]


class Arrangement(BaseModel):
    """How results are chosen, ordered and shown, in every kind of search."""

    model_config = ConfigDict(extra="forbid")

    min_score: float | None = Field(
        default=None,
        allow_inf_nan=False,
        description="leave out results below this score: with `dense` and `hybrid` the cosine of the dense leg, with "
        "`lexical` the BM25 score. Fused scores are not comparable between responses",
    )
    diversity: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="how far results similar to an earlier one move down (maximal marginal relevance): 0 not at all, "
        "1 regardless of relevance. Scores stay the same and need not descend",
    )
    group_by: Column | None = Field(
        default=None,
        description="metadata column of which each value gets at most `group_size` results; documents without a value "
        "are not grouped",
    )
    group_size: int = Field(
        default=1, ge=1, le=100, description="maximum number of results with the same value of `group_by`"
    )
    fields: list[Column] | None = Field(
        default=None, max_length=MAX_FIELDS, description="metadata columns to return; all by default"
    )
    highlight: bool = Field(
        default=False,
        description="return the positions of the query's words, and the sentence that is nearest in meaning",
    )

    @field_validator("*", mode="before")
    @classmethod
    def _no_boolean_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, bool):  # pydantic would take 1 or 0
            annotation = cls.model_fields[info.field_name or ""].annotation
            kinds = {annotation, *get_args(annotation)}
            if kinds & {int, float} and bool not in kinds:
                raise ValueError("is true or false; give a number")
        return value


class Paged(Arrangement):
    """An arrangement of which one page is returned."""

    top_k: TopK = 10
    offset: int = Field(default=0, ge=0, le=MAX_OFFSET, description="number of results to skip")


class Highlights(BaseModel):
    """Matching words and the nearest sentence of a result. Spans are code points in `title` or `text`, the end excluded."""

    title: list[tuple[int, int]] = Field(description="words of the query in `title`")
    text: list[tuple[int, int]] = Field(description="words of the query in `text`")
    sentence: tuple[int, int] | None = Field(description="the sentence of `text` that is nearest in meaning")


class RerankRequest(BaseModel):
    """How results are re-ranked."""

    model_config = ConfigDict(extra="forbid")

    top_n: int = Field(default=50, ge=1, le=200, description="number of first results that the cross-encoder scores")
    budget_ms: int = Field(
        default=200, ge=1, le=60_000, description="time limit in milliseconds; if it is exceeded, the order stays"
    )
    weight: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="weight of the cross-encoder's score; that of the first ranking has the rest. By default what was best "
        "when the cross-encoder was judged, else 1",
    )


class Rerank(BaseModel):
    """Outcome of the re-ranking."""

    applied: bool = Field(description="whether the first results are in the order of the cross-encoder")
    scored: int = Field(description="number of results that the cross-encoder has scored")
    took_ms: float = Field(description="milliseconds spent on it")
    reason: str | None = Field(description="why it was not applied; null where it was")


Group = Annotated[
    Any,
    PlainSerializer(lambda value: to_jsonable_python(value, bytes_mode="base64"), return_type=Any),
    Field(description="the document's value of the `group_by` column, where that was requested"),
]


MAX_FACETS = 20


class Choices(Paged):
    """Fields that the body and the query string of a search share."""

    mode: Mode = Field(
        default="hybrid",
        description="`dense`: by meaning, scores are cosines; `lexical`: by words, scores are BM25; "
        "`hybrid`: both, scores are fused and comparable only within one response",
    )
    min_relevance: float | None = Field(
        default=None,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="leave out results below this relevance; refused where the index has no calibration",
    )
    explain: bool = Field(default=False, description="add each leg's score and rank to every result")
    prefix: bool = Field(
        default=False,
        description="the last word may be half typed: words that begin so are searched, too. A blank behind it ends it",
    )
    typos: bool = Field(
        default=True, description="a word that no document has is searched as the words nearest to it in spelling"
    )


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
                    "facets_over": "results",
                },
                {"sort": [{"field": "id", "order": "desc"}], "top_k": 3},
            ]
        }
    )
    query: SomeQuery = Field(
        default="",
        description="what to look for, in plain words; empty or left out, all documents that pass the filter are listed, in "
        "the order of the corpus or as `sort` says",
    )
    rerank: RerankRequest | bool | None = Field(
        default=None,
        description="order the first results by the published cross-encoder; `true` for the defaults, `false` for the first "
        "order. By default hybrid search is re-ranked where the cross-encoder has won its comparison with the live model",
    )
    fusion: Fusion | None = Field(default=None, description="how the legs are combined; the index has the defaults")
    filter: Filter | None = Field(default=None, description="which documents may be returned")
    facets: list[FacetRequest] = Field(
        default=[],
        max_length=MAX_FACETS,
        description="fields whose values are counted; each field once",
    )
    facets_over: Literal["all", "results"] = Field(
        default="all",
        description="what facets count: `all` documents that pass the filter, or of these the `results`: the query's "
        "candidates and, but in dense mode, every document that has a word of the query. With `min_score` only candidates "
        "that reach it",
    )
    sort: Sort = Field(
        default=[],
        description="the order of the results, in place of their scores: of the query's candidates or, without a query, of "
        "all documents that pass the filter. The first key decides, among equal ones the second; then the rank",
    )
    boost: list[Boost] = Field(
        default=[],
        max_length=MAX_BOOSTS,
        description="documents whose scores are raised or lowered among the candidates",
    )

    @field_validator("facets")
    @classmethod
    def _each_once(cls, facets: list[FacetRequest]) -> list[FacetRequest]:
        if len({facet.field for facet in facets}) < len(facets):
            raise ValueError("a field occurs twice; give each field once, with all its ranges")
        return facets


class SearchQuery(Choices):
    """Query string of `GET /search`: a flat form of the body."""

    q: SomeQuery = Field(
        default="",
        description="what to look for, in plain words; empty or left out, the documents are listed",
        examples=["run a command and get its output"],
    )
    sort: str | None = Field(
        default=None,
        max_length=MAX_TEXT,
        description="fields by which the results are sorted, with commas between, and a minus before one for descending: "
        "`-price,name`",
    )
    fusion: Literal["convex", "rrf"] | None = Field(default=None, description="how the legs are combined")
    dense_weight: float | None = Field(default=None, ge=0, le=1, description="weight of the dense leg")
    sparse_weight: float | None = Field(default=None, ge=0, le=1, description="weight of the learned-sparse leg")
    rerank: bool | None = Field(default=None, description="whether results are re-ranked; see `POST /search`")

    @field_validator("sort")
    @classmethod
    def _few_keys(cls, sort: str | None) -> str | None:
        if sort and len(parse_sort(sort)) > MAX_KEYS:
            raise ValueError(f"at most {MAX_KEYS} fields decide the order")
        return sort

    def request(self) -> SearchRequest:
        """Return the same request as a body."""
        weights = {"dense_weight": self.dense_weight, "sparse_weight": self.sparse_weight}
        options = {"method": self.fusion, **weights}
        fusion = {name: value for name, value in options.items() if value is not None}
        common = {name: getattr(self, name) for name in Choices.model_fields}
        return SearchRequest(
            query=self.q,
            fusion=Fusion(**fusion) if fusion else None,
            rerank=self.rerank,
            sort=parse_sort(self.sort or ""),
            **common,
        )


class LegScore(BaseModel):
    """Score and rank of a result in one leg."""

    score: float = Field(description="cosine (dense), BM25 (lexical), or sum of products of weights (sparse)")
    rank: int = Field(description="rank by this score among the query's candidates, from 1")
    fields: dict[str, float] | None = Field(
        default=None,
        description="lexical leg of an index with searched columns: what each field adds to the score. `body` has the "
        "stems of title and text, `exact` their words as they are written, `column:NAME` the words of a column",
    )
    part: float | None = Field(
        default=None,
        description="`hybrid`: what the leg adds to the fused score, minus the smallest such addition among the "
        "candidates. Parts are comparable within a result and between results",
    )


class Scores(BaseModel):
    """Scores of a result; null for a leg that was not searched or has not found it."""

    dense: LegScore | None = Field(default=None, description="score of the dense leg, by meaning")
    lexical: LegScore | None = Field(default=None, description="score of the lexical leg, by words")
    sparse: LegScore | None = Field(
        default=None, description="score of the learned-sparse leg, where the index has one and it has a weight"
    )
    rerank: float | None = Field(
        default=None, description="score of the cross-encoder, where results were re-ranked and this one was scored"
    )
    boost: float | None = Field(
        default=None, description="what the request's boosts have added to `score`, where it has any"
    )


class Result(BaseModel):
    """One document."""

    model_config = ConfigDict(json_schema_extra={"examples": [HIT]})
    id: str = Field(description="id of the document")
    rank: int = Field(description="rank of the result, from 1; it continues over pages")
    score: float | None = Field(
        default=None,
        description="higher is better; see `mode` for its meaning. In `hybrid` mode it is fused, and comes with `explain`, or "
        "where there is no `relevance`. 0 without a query",
    )
    relevance: float | None = Field(
        default=None,
        description="probability that the result answers the query, from 0 to 1; comparable between queries of one index, and "
        "never rising down a ranking. Null where the index has no calibration, and for similar documents",
    )
    title: str | None = Field(description="title of the document, if it has one")
    text: str = Field(description="the passage of the document that fits best")
    metadata: Metadata
    scores: Scores | None = Field(default=None, description="each leg's score and rank, where `explain` was set")
    highlights: Highlights | None = Field(
        default=None, description="matching words and nearest sentence, where `highlight` was set"
    )
    group: Group = None
    exact: bool | None = Field(
        default=None,
        description="whether the query is this document's id or its value of an exact column, which puts it first; present "
        "only where that holds for a document",
    )


class Expansion(BaseModel):
    """What was searched beside a word of the query."""

    word: str = Field(description="as it was typed")
    kind: Literal["prefix", "typo", "synonym"] = Field(
        description="`prefix`: words that begin so; `typo`: the nearest words; `synonym`: what a rule says"
    )
    words: list[str] = Field(description="that were searched, the best first")
    certain: bool = Field(description="whether the dense leg searched the first of them in place of the word")


class Timings(BaseModel):
    """Milliseconds spent in each stage; encoding and the lexical leg run side by side."""

    encode: float = Field(default=0.0, description="encoding of the query")
    dense: float = Field(default=0.0, description="search of the nearest passages")
    lexical: float = Field(default=0.0, description="BM25")
    sparse: float = Field(default=0.0, description="learned-sparse leg, where the index has one and it has a weight")
    fuse: float = Field(default=0.0, description="fusion of the rankings")
    fetch: float = Field(default=0.0, description="reading of the results' texts and metadata")
    rerank: float = Field(default=0.0, description="scoring by the cross-encoder, where results were re-ranked")
    highlight: float = Field(default=0.0, description="marking of words and sentences, where `highlight` was set")


# Fields of every list of results. Each response spells them out, to keep the order of its fields.
Results = Annotated[
    list[Result],
    Field(
        description="best first, equal scores in the order of their ids; or as `sort` says, or without a query in the order "
        "of the corpus"
    ),
]


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
    dense_weight: float | None = Field(
        default=None,
        description="weight that the dense leg had for this query, adapted to it where `fusion` says so; hybrid mode with "
        "`explain` only",
    )
    rerank: Rerank | None = Field(default=None, description="outcome of the re-ranking, where there was one")
    suggestion: str | None = Field(
        default=None,
        description="did you mean: the query with its unknown words replaced by the nearest of the corpus. Present only "
        "where the query's words find nothing, or a word was searched as its nearest ones; null where no word is near",
    )
    expanded: list[Expansion] | None = Field(
        default=None, description="what was searched beside the words of the query; present only where something was"
    )
    request_id: RequestId
    matches: int | None = Field(
        default=None,
        description="number of documents that pass the filter, where a filter or facets were requested, and without a query; "
        "without a filter it counts all documents",
    )
    found: int | None = Field(
        default=None, description="number of documents that facets were counted over, with `facets_over` `results`"
    )
    facets: dict[str, Facet] | None = Field(
        default=None, description="counts of each requested field, over the documents that `facets_over` says"
    )


class SimilarResponse(BaseModel):
    """Answer of `/documents/{id}/similar`."""

    id: str = Field(description="id of the document in the request; it is not among the results")
    results: Results
    count: Count
    took_ms: Took
    timings: Stages
    index: AnsweredBy
    request_id: RequestId
