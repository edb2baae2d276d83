"""Models of the service's requests and responses. Written by `make client` from `service/openapi.json`; do not edit."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class DowseModel(BaseModel):
    """Base class of all models: fields that a newer service adds are kept, not refused."""

    model_config = ConfigDict(extra="allow", populate_by_name=True, protected_namespaces=())


class Artifact(DowseModel):
    """One published artifact of the data directory."""

    activate: str | None = None
    """command that makes it the live one; null where it is"""

    created: str | None = None
    """when it was published, UTC"""

    current: bool
    """whether it is the live one of its kind, by `CURRENT`"""

    dense: Gain | None = None
    """dense search alone; null where it was not measured"""

    documents: int | None = None
    """documents of an index"""

    hybrid: Gain | None = None
    """hybrid search; null where it was not measured"""

    id: str
    """id of the artifact"""

    judged_by: str | None = None
    """queries of the verdict: `labels` or `synthetic queries`"""

    kind: str
    """`index`, `model`, `reranker`, …"""

    model: str | None = None
    """id of the model with which an index was built"""

    name: str | None = None
    """name of the base model; null for an index"""

    problem: str | None = None
    """why its manifest cannot be read; null where it can"""

    report: str | None = None
    """path of its report, relative to the service's root"""

    serving: bool
    """whether this service answers from it"""

    tuned_from: str | None = None
    """id of the model from which its training started"""

    verdict: str | None = None
    """`WIN`, `TIE` or `LOSS` against its base; null where unjudged"""


class Attention(DowseModel):
    """Attention of each piece to each piece, in one head."""

    head: int
    """number of the head in the layer, from 1"""

    layer: int
    """number of the layer, from 1"""

    weights: list[list[float]]
    """a row for each attending piece, in their order; each row sums to 1"""


class BatchRequest(DowseModel):
    """Body of `POST /search/batch`."""

    searches: list[SearchRequest]
    """the searches, each like the body of `POST /search`"""


class BatchResponse(DowseModel):
    """Answer of `/search/batch`."""

    request_id: str
    """id of the request, as in the header X-Request-ID and in the log"""

    responses: list[SearchResponse]
    """one for each search, in their order, from one index"""

    took_ms: float
    """milliseconds for all searches; encoding counts here and in no single response"""


class Between(DowseModel):
    """The field is within bounds: numbers, dates and times by size, texts by their code points."""

    field: str
    """a metadata column, `id`, or a field of a struct column as `column.field`"""

    gt: int | float | str | None = None
    """more than"""

    gte: int | float | str | None = None
    """at least"""

    lt: int | float | str | None = None
    """less than"""

    lte: int | float | str | None = None
    """at most"""


class Boost(DowseModel):
    """Documents whose score is raised or lowered, and by how much."""

    filter: Filter
    """which documents"""

    weight: float
    """what is added to their scores, as a share of the difference between the best and the worst score of the query's candidates: .1 is a nudge, 1 puts even the worst of them level with the best. Below 0 they sink. Weights of several boosts add up, to -1 or 1 at most"""


class Candidate(DowseModel):
    """A word piece that could stand behind a mask."""

    logit: float
    """the model's score, before the softmax"""

    probability: float
    """softmax of the logits over the whole vocabulary"""

    rank: int
    """rank among all pieces of the vocabulary, from 1"""

    word: str
    """the piece; `##ing` continues the word before it"""


class Circle(DowseModel):
    """A circle on the earth."""

    km: float
    """radius in kilometres"""

    lat: float
    """latitude of its centre in degrees, north positive"""

    lon: float
    """longitude of its centre in degrees, east positive"""


class Classified(DowseModel):
    """The answer about one text."""

    labels: list[LabelProbability]
    """the labels that apply, the most probable first: exactly one, or with a multi-label classifier those that reach their thresholds, perhaps none"""

    probabilities: list[LabelProbability]
    """the `top_k` most probable labels, whether they apply or not"""


class ClassifierFacts(DowseModel):
    """The classifier that answered."""

    id: str
    """id of the classifier"""

    labels: list[str]
    """its labels"""

    macro_f1: float | None
    """macro-F1 on its test rows; null where that was not measured"""

    max_tokens: int
    """maximum number of tokens of a text that it reads"""

    multi_label: bool
    """whether several labels, or none, may apply to a text"""


class ClassifyRequest(DowseModel):
    """Body of `POST /classify`."""

    texts: list[str]
    """1 to 64 texts, of at most 10,000 characters each; tokens beyond the classifier's `max_tokens` are not read"""

    top_k: int = 10
    """number of labels in `probabilities` of each text, the most probable first"""


class ClassifyResponse(DowseModel):
    """Answer of `POST /classify`."""

    classifier: ClassifierFacts
    """the classifier that answered"""

    request_id: str
    """as in the header X-Request-ID and in the log"""

    results: list[Classified]
    """one for each text, in their order"""

    took_ms: float
    """milliseconds from the start of the work to the finished answer"""


class CompareRequest(DowseModel):
    """Body of `POST /model/compare`."""

    first: str
    """a text of at most 64 word pieces"""

    second: str
    """another text, with the same limit"""


class CompareResponse(DowseModel):
    """Answer of `POST /model/compare`."""

    encoder: str | None
    """id of the sentence encoder; null without one"""

    masked_model: str | None
    """id of the masked-language model; null without one"""

    request_id: str
    """as in the header X-Request-ID and in the log"""

    sentences: float | None
    """cosine of the two texts by the live index's sentence encoder; null while there is no index"""

    took_ms: float
    """milliseconds from the start of the work to the finished answer"""

    words: list[SharedWord] | None
    """words of both texts, each at its first occurrence, in the order of the first text; null while no masked-language model is published"""


class DayRow(DowseModel):
    """Searches of one day."""

    day: str
    """UTC"""

    nothing: int
    """of these, how many found nothing"""

    searches: int
    """number of searches"""


class DeleteRequest(DowseModel):
    """Body of `POST /documents/delete`."""

    filter: Filter
    """which documents are deleted; an empty tree means all"""


class DeleteResponse(DowseModel):
    """Answer of `POST /documents/delete`. The deletion is on disk, and every search that begins now sees it."""

    deleted: int
    """number of documents that were deleted, at most 10,000"""

    index: IndexInfo
    """the index that answered"""

    remaining: int
    """number of documents that pass the filter and are still there: send it again"""

    request_id: str
    """id of the request, as in the header X-Request-ID and in the log"""

    took_ms: float
    """milliseconds until the write was on disk and visible"""


class Disk(DowseModel):
    """The disk of the data directory."""

    free_bytes: int
    """room that is free"""

    total_bytes: int
    """its size"""

    used_bytes: dict[str, int]
    """folder of the data directory → bytes in it"""


class DocumentResponse(DowseModel):
    """One whole document."""

    id: str
    """id of the document"""

    index: IndexInfo
    """the index that answered"""

    metadata: dict[str, Any]
    """all other columns of the corpus, with their types: dates and times in ISO 8601, binary values in URL-safe base64, NaN and infinite numbers as null"""

    request_id: str
    """as in the header X-Request-ID and in the log"""

    text: str
    """the whole text"""

    title: str | None
    """title of the document, if it has one"""


class Embedding(DowseModel):
    """The vector of one text."""

    embedding: list[float] | str
    """the vector: numbers, or base64 where that was requested"""

    index: int
    """position of the text in `input`, from 0"""

    object: Literal["embedding"] = "embedding"
    """type of this object"""


class EmbeddingsRequest(DowseModel):
    """Body of `POST /v1/embeddings`."""

    dimensions: int | None = None
    """length of the vectors: the model's own or, of a Matryoshka model, one that it was trained for"""

    encoding_format: Literal["float", "base64"] = "float"
    """numbers, or the bytes of 32-bit floats (little-endian) in base64"""

    input: str | list[str]
    """a text, or up to 2,048 texts; tokens beyond the model's `max_tokens` are not read"""

    input_type: Literal["query", "document"] = "document"
    """chooses the model's prompt: a field of Dowse, not of OpenAI (`extra_body` of the client)"""

    model: str
    """id or name of the live model; `GET /v1/models` lists both. A request with the id fails once another model is live; a request with the name then uses that model"""

    user: str | None = None
    """accepted for compatibility and ignored"""


class EmbeddingsResponse(DowseModel):
    """Answer of `POST /v1/embeddings`."""

    data: list[Embedding]
    """a vector for each text, in the order of `input`"""

    model: str
    """id of the model that answered"""

    object: Literal["list"] = "list"
    """type of this object"""

    truncated: list[int] = Field(default_factory=list)
    """positions of the texts whose end was not read: a field of Dowse, absent where there are none"""

    usage: Usage
    """tokens that were read"""


class EncoderFacts(DowseModel):
    """The sentence encoder of the live index."""

    id: str
    """id of the model"""

    name: str
    """name of its base model"""


class Equals(DowseModel):
    """The field has this value."""

    eq: bool | int | float | str
    """the value"""

    field: str
    """a metadata column, `id`, or a field of a struct column as `column.field`"""


class ExampleQueriesResponse(DowseModel):
    """Answer of `/search/examples`."""

    index: IndexInfo
    """the index that answered"""

    queries: list[str]
    """at most three; each finds the document first of which it has key words"""

    request_id: str
    """id of the request, as in the header X-Request-ID and in the log"""


class ExamplesResponse(DowseModel):
    """Answer of `POST /similar`; scores are cosines to the vector of the examples."""

    count: int
    """number of results in this response"""

    index: IndexInfo
    """the index that answered"""

    offset: int
    """number of results that were skipped"""

    request_id: str
    """id of the request, as in the header X-Request-ID and in the log"""

    results: list[Result]
    """best first, equal scores in the order of their ids; or as `sort` says, or without a query in the order of the corpus"""

    timings: Timings
    """milliseconds of each stage"""

    took_ms: float
    """milliseconds from the start of the search to the finished results"""


class Exists(DowseModel):
    """The field has a value, or has none: null, NaN and empty lists are no values."""

    exists: bool
    """true: it has one; false: it has none"""

    field: str
    """a metadata column, `id`, or a field of a struct column as `column.field`"""


class Expansion(DowseModel):
    """What was searched beside a word of the query."""

    certain: bool
    """whether the dense leg searched the first of them in place of the word"""

    kind: Literal["prefix", "typo", "synonym"]
    """`prefix`: words that begin so; `typo`: the nearest words; `synonym`: what a rule says"""

    word: str
    """as it was typed"""

    words: list[str]
    """that were searched, the best first"""


class ExportRequest(DowseModel):
    """Body of `POST /search/export`: a search, without what only pages have."""

    boost: list[Boost] = Field(default_factory=list)
    """documents whose scores are raised or lowered among the candidates"""

    diversity: float = 0.0
    """how far results similar to an earlier one move down (maximal marginal relevance): 0 not at all, 1 regardless of relevance. Scores stay the same and need not descend"""

    fields: list[str] | None = None
    """the columns, in this order: metadata columns, `id`, `title`, `text` (the whole text), and `rank` and `score` unless metadata columns have these names; by default `id`, `title`, `text` and all metadata"""

    filter: Filter | None = None
    """which documents may be returned"""

    format: Literal["csv", "jsonl"] = "csv"
    """`csv`, or `jsonl`: a JSON object on each line"""

    fusion: Fusion | None = None
    """how the legs are combined; the index has the defaults"""

    group_by: str | None = None
    """metadata column of which each value gets at most `group_size` results; documents without a value are not grouped"""

    group_size: int = 1
    """maximum number of results with the same value of `group_by`"""

    limit: int = 10000
    """number of documents at most"""

    min_relevance: float | None = None
    """leave out results below this relevance; refused where the index has no calibration"""

    min_score: float | None = None
    """leave out results below this score: with `dense` and `hybrid` the cosine of the dense leg, with `lexical` the BM25 score. Fused scores are not comparable between responses"""

    mode: Literal["hybrid", "dense", "lexical"] = "hybrid"
    """`dense`: by meaning, scores are cosines; `lexical`: by words, scores are BM25; `hybrid`: both, scores are fused and comparable only within one response"""

    prefix: bool = False
    """the last word may be half typed: words that begin so are searched, too. A blank behind it ends it"""

    query: str = ""
    """what to look for, in plain words; empty or left out, all documents that pass the filter are listed, in the order of the corpus or as `sort` says"""

    rerank: RerankRequest | bool | None = None
    """order the first results by the published cross-encoder; `true` for the defaults, `false` for the first order. By default hybrid search is re-ranked where the cross-encoder has won its comparison with the live model"""

    sort: list[SortByField | SortByDistance] = Field(default_factory=list)
    """the order of the results, in place of their scores: of the query's candidates or, without a query, of all documents that pass the filter. The first key decides, among equal ones the second; then the rank"""

    typos: bool = True
    """a word that no document has is searched as the words nearest to it in spelling"""


class Facet(DowseModel):
    """Counts of the values of a field. A document counts once for each of its values."""

    max: str | bool | int | float | None = None
    """greatest value of a number, date or time"""

    min: str | bool | int | float | None = None
    """smallest value of a number, date or time"""

    missing: int
    """number of documents without a value"""

    ranges: list[RangeCount]
    """the ranges of the request, in their order"""

    values: list[ValueCount]
    """the most frequent values; equally frequent ones in their order"""


class FacetRange(DowseModel):
    """A range of values: the lower bound is in it, the upper bound is not."""

    gte: int | float | str | None = None
    """at least; without it, the range begins at the smallest value"""

    lt: int | float | str | None = None
    """less than; without it, the range ends at the greatest value"""


class FacetRequest(DowseModel):
    """A field, and which of its values and ranges to count."""

    field: str
    """a metadata column, `id`, or a field of a struct column as `column.field`"""

    limit: int = 10
    """how many of the most frequent values to return"""

    ranges: list[FacetRange] = Field(default_factory=list)
    """ranges of numbers, dates, times or texts; they may overlap"""


class Feedback(DowseModel):
    """Body of `POST /feedback`: either a click or a grade."""

    click: Literal[True] | None = None
    """true if the document was opened"""

    document: str
    """id of a document"""

    grade: int | None = None
    """how well the document answers: 0 not at all, 1 a little, 2 well, 3 perfectly"""

    query: str
    """the query that was searched"""

    rank: int | None = None
    """rank of the document among the results, from 1; for statistics"""


class FeedbackResponse(DowseModel):
    """Answer to feedback. It is on disk."""

    request_id: str
    """id of the request, as in the header X-Request-ID and in the log"""

    stored: Literal[True]
    """the next `python -m trainer run --feedback` learns from it"""


class FetchRequest(DowseModel):
    """Body of `POST /documents/fetch`: ids, or a filter and where to go on."""

    after: str | None = None
    """go on behind this id: `next` of the answer before, whether it still exists or not"""

    filter: Filter | None = None
    """which documents; all by default"""

    ids: list[str] | None = None
    """ids of documents, which come in this order; those that the index does not have are left out"""

    limit: int = 100
    """number of documents; 0 only counts them"""


class FetchResponse(DowseModel):
    """Answer of `POST /documents/fetch`."""

    documents: list[FetchedDocument]
    """in the order of `ids`, or of their ids by their bytes. Fewer than asked for where their texts have more than 4,000,000 characters together"""

    index: IndexInfo
    """the index that answered"""

    matches: int
    """number of documents that there are of `ids`, or that pass the filter"""

    next: str | None
    """null where this is all; else `after` of the next request or, with `ids`, the first id to ask for again"""

    request_id: str
    """id of the request, as in the header X-Request-ID and in the log"""


class FetchedDocument(DowseModel):
    """One whole document."""

    id: str
    """id of the document"""

    metadata: dict[str, Any]
    """all other columns of the corpus, with their types: dates and times in ISO 8601, binary values in URL-safe base64, NaN and infinite numbers as null"""

    text: str
    """the whole text"""

    title: str | None
    """title of the document, if it has one"""


class FillMaskRequest(DowseModel):
    """Body of `POST /fill-mask`."""

    text: str
    """a text with one or more masks, each written as the model's mask token, usually [MASK]"""

    top_k: int = 5
    """number of candidates for each mask"""


class FillMaskResponse(DowseModel):
    """Answer of `POST /fill-mask`."""

    filled: str
    """the text with the best piece for each mask, as the tokenizer decodes it"""

    masked_model: str
    """id of the masked-language model that answered"""

    masks: list[MaskedPosition]
    """the masks, in the order of the text"""

    request_id: str
    """as in the header X-Request-ID and in the log"""

    text: str
    """the text as it was read"""

    took_ms: float
    """milliseconds from the start of the work to the finished answer"""


class Filter(DowseModel):
    """A tree of conditions. A document passes if all three parts agree; an empty tree lets every document pass."""

    must: list[Equals | OneOf | Between | Exists | Prefix | Within | Filter] = Field(default_factory=list)
    """all of these hold"""

    must_not: list[Equals | OneOf | Between | Exists | Prefix | Within | Filter] = Field(default_factory=list)
    """none of these holds"""

    should: list[Equals | OneOf | Between | Exists | Prefix | Within | Filter] = Field(default_factory=list)
    """at least one of these holds, where any are given"""


class Fusion(DowseModel):
    """How the legs are combined."""

    by_query: bool = False
    """adapt the weight to each query, by its length and by how far the best candidate of each leg stands out (`convex` only)"""

    dense_weight: float = 0.5
    """weight of the dense leg; the lexical leg has the rest"""

    k: int = 60
    """constant of reciprocal rank fusion"""

    method: Literal["convex", "rrf"] = "convex"
    """`convex`: weighted sum of standardised scores; `rrf`: reciprocal rank fusion"""

    sparse_weight: float = 0
    """weight of the learned-sparse leg, of an index that has one; the other legs share the rest, and 0 switches it off"""


class Gain(DowseModel):
    """nDCG@10 on held-out queries, before and after tuning."""

    base: float
    """with the model that training started from"""

    tuned: float
    """with the tuned model"""


class Health(DowseModel):
    """Answer of the health checks."""

    status: str
    """`alive`, or `ready` with the id of the index"""


class Highlights(DowseModel):
    """Matching words and the nearest sentence of a result. Spans are code points in `title` or `text`, the end excluded."""

    sentence: list[Any] | None
    """the sentence of `text` that is nearest in meaning"""

    text: list[list[Any]]
    """words of the query in `text`"""

    title: list[list[Any]]
    """words of the query in `title`"""


class IndexDetails(DowseModel):
    """The live index in full."""

    config: dict[str, Any]
    """how it was built"""

    created: str
    """when it was published, UTC"""

    documents: int
    """number of documents"""

    encoder: dict[str, Any]
    """the encoder's contract: how a text becomes a vector"""

    generation: str
    """id of the index and number of the last visible write"""

    id: str
    """id of the index"""

    metadata: dict[str, str]
    """metadata columns and their types"""

    model: str
    """id of the model that it was built with"""

    passages: int
    """number of passages, each with one vector"""


class IndexInfo(DowseModel):
    """The index that answered."""

    documents: int
    """number of documents"""

    generation: str
    """id of the index and number of the last visible write"""

    id: str
    """id of the index"""

    model: str
    """id of the model that it was built with"""


class Info(DowseModel):
    """Answer of `/info`."""

    index: IndexDetails | None
    """null while there is no index"""

    model: ModelFacts | None
    """null while there is no index"""

    name: str
    """name of the service"""

    page: PageFacts | None = None
    """settings of the page"""

    reranker: RerankerFacts | None = None
    """null while none is published"""

    version: str
    """version of Dowse"""


class LabelProbability(DowseModel):
    """A label and how probable it is."""

    label: str
    """the label"""

    probability: float
    """calibrated probability: of the answers with 0.9, nine in ten are right"""


class Latency(DowseModel):
    """Percentiles of the milliseconds of a search."""

    p50: float
    """half of all searches took no longer"""

    p95: float
    """95 of 100 took no longer"""

    p99: float
    """99 of 100 took no longer"""


class LegScore(DowseModel):
    """Score and rank of a result in one leg."""

    fields: dict[str, float] | None = None
    """lexical leg of an index with searched columns: what each field adds to the score. `body` has the stems of title and text, `exact` their words as they are written, `column:NAME` the words of a column"""

    part: float | None = None
    """`hybrid`: what the leg adds to the fused score, minus the smallest such addition among the candidates. Parts are comparable within a result and between results"""

    rank: int
    """rank by this score among the query's candidates, from 1"""

    score: float
    """cosine (dense), BM25 (lexical), or sum of products of weights (sparse)"""


class LiveWrites(DowseModel):
    """Documents written while the index is served."""

    accepted: bool
    """whether the service is writable"""

    changed: int
    """documents that were put or deleted since the index was built"""

    documents: int
    """documents that were put, and are not folded into the index"""

    last: str | None
    """when the log was last written to, UTC; null for never"""

    log_bytes: int
    """size of the log of writes"""

    set_aside: int
    """writes that could not be applied to the index"""

    since: str | None
    """when the index was built, UTC"""


class MaskedFacts(DowseModel):
    """The published masked-language model."""

    heads: int
    """number of attention heads in each layer"""

    id: str
    """id of the model"""

    layers: int
    """number of layers"""

    mask_token: str
    """the token that stands for a masked word in a text"""

    max_pieces: int
    """longest text that `/model/read` and `/model/compare` take, in word pieces"""

    name: str
    """name of the directory that it was published from"""

    vocabulary: int
    """number of word pieces in its vocabulary"""


class MaskedPosition(DowseModel):
    """One masked word piece and the model's candidates for it. Several masks are filled independently of one another."""

    candidates: list[Candidate]
    """the most probable pieces, best first"""

    end: int
    """the character after the last one"""

    entropy: float
    """entropy of the whole distribution, in nats: 0 is certain, log(vocabulary) is uniform"""

    hidden: Candidate | None = None
    """the piece that was masked; null where the text has [MASK]"""

    position: int
    """number of the piece in the text, from 0"""

    start: int
    """first character of the text that it covers"""


class Model(DowseModel):
    """A model that can be named in a request."""

    created: int
    """when the live model was published, in seconds since 1970"""

    id: str
    """value for `model` in a request"""

    object: Literal["model"] = "model"
    """type of this object"""

    owned_by: Literal["dowse"] = "dowse"
    """always `dowse`"""


class ModelFacts(DowseModel):
    """The model that the live index was built with."""

    dense: Gain | None
    """dense search alone; null where it was not measured"""

    hybrid: Gain | None
    """hybrid search; null where it was not measured"""

    id: str
    """id of the model"""

    judged_by: str | None
    """queries of the verdict: `labels` or `synthetic queries`"""

    name: str
    """name of the base model"""

    report: str | None
    """path of its report, relative to the service's root; null without one"""

    tuned: bool
    """whether it was tuned on a corpus"""

    tuned_from: str | None
    """id of the model that training started from; null for a model that was not tuned"""

    verdict: str | None
    """`WIN`, `TIE` or `LOSS` against its base; null for a model that was not tuned"""


class ModelInfo(DowseModel):
    """Answer of `GET /model/info`: the models that the page «how it reads» can show."""

    encoder: EncoderFacts | None
    """null while there is no index"""

    masked: MaskedFacts | None
    """null while no masked-language model is published"""

    missing: list[str]
    """for each model that is missing, a sentence with the command that makes it"""


class ModelList(DowseModel):
    """Answer of `GET /v1/models`."""

    data: list[Model]
    """the live model twice: under its id and under its name"""

    object: Literal["list"] = "list"
    """type of this object"""


class NewDocument(DowseModel):
    """A document to put: a new one, or a new version of the one with this id."""

    id: str
    """id of the document"""

    metadata: dict[str, Any] = Field(default_factory=dict)
    """columns of the index with values of their types, as in results; a column that is left out is null"""

    text: str
    """text that is searched; not empty"""

    title: str | None = None
    """title; searched together with the text"""


class OneOf(DowseModel):
    """The field has one of these values."""

    field: str
    """a metadata column, `id`, or a field of a struct column as `column.field`"""

    in_: list[bool | int | float | str] = Field(alias="in")
    """the values; an empty list lets no document pass"""


class OpenAIError(DowseModel):
    """An error in the shape of OpenAI's API."""

    code: str
    """the problem's kind, such as `model_not_found`"""

    message: str
    """the problem's `detail`"""

    param: str | None
    """the refused field of the request; null where it was not one field"""

    type: str
    """`invalid_request_error`, `authentication_error`, `permission_error`, `rate_limit_error` or `server_error`"""


class PageFacts(DowseModel):
    """What the operator has set for the page."""

    clicks: bool
    """whether the page sends which results are opened to `POST /feedback`"""

    image_column: str | None
    """metadata column with a picture's address; null where it is found"""

    image_sources: list[str]
    """origins from which pictures are loaded; empty for no pictures"""

    url_column: str | None
    """metadata column to whose address a title leads; null where it is found"""


class Point(DowseModel):
    """A place on the earth."""

    lat: float
    """latitude in degrees, north positive"""

    lon: float
    """longitude in degrees, east positive"""


class Prefix(DowseModel):
    """The field is a text that begins with exactly these characters."""

    field: str
    """a metadata column, `id`, or a field of a struct column as `column.field`"""

    prefix: str
    """the beginning"""


class ProblemDetails(DowseModel):
    """An error in the shape of RFC 9457."""

    detail: str
    """what went wrong with this request, and what to do about it"""

    error: OpenAIError | None = None
    """the same in OpenAI's shape; only below `/v1`"""

    errors: list[ProblemField] = Field(default_factory=list)
    """the refused parts of the request"""

    request_id: str
    """id of the request, as in the header X-Request-ID and in the log"""

    status: int
    """HTTP status"""

    title: str
    """the kind of problem in words"""

    type: str
    """stable name of the kind of problem"""


class ProblemField(DowseModel):
    """One part of a request that was refused."""

    field: str
    """path of the field: `body.top_k`, `query.q`, …"""

    message: str
    """what is wrong with it"""


class PutDocuments(DowseModel):
    """Body of `PUT /documents`."""

    documents: list[NewDocument]
    """written together: all of them or none"""


class QueryLogState(DowseModel):
    """State of the query log."""

    bytes: int
    """size of the log"""

    dropped: int
    """searches that this worker could not write and did not keep"""

    kept: bool
    """whether the service keeps a query log"""

    problem: str | None
    """why nothing is written at present; null where all is well"""


class QueryReport(DowseModel):
    """Answer of `/queries.json`: the statistics of the query log."""

    by_day: list[DayRow]
    """oldest first"""

    clicks: int
    """results that were opened, as far as clients have said"""

    clicks_by_rank: list[RankRow]
    """where they stood, as far as clients have said; from rank 1"""

    days: int
    """the last days that are counted, today included"""

    distinct: int
    """number of different queries of which the words were kept"""

    milliseconds: Latency | None
    """null where nothing was searched"""

    nothing: int
    """searches that found nothing, or nothing of a relevance of .1 where it is known"""

    nothing_found: list[QueryRow]
    """the most frequent queries that never found anything"""

    searches: int
    """number of searches"""

    top: list[QueryRow]
    """the most frequent queries"""


class QueryRow(DowseModel):
    """One query."""

    clicks: int
    """how often a result of it was opened, as far as clients have said"""

    found: int
    """how often it found something"""

    query: str
    """as it was written first"""

    searches: int
    """how often it was searched"""


class Queue(DowseModel):
    """The request queue of the worker that answers."""

    capacity: int
    """requests that may wait or run; further ones are refused with 429"""

    cores: int
    """queries that this worker encodes at the same time"""

    open: int
    """requests that wait or run now"""

    workers: int
    """worker processes of the service"""


class RangeCount(DowseModel):
    """A range and how many documents have a value in it."""

    count: int
    """number of documents with a value in it"""

    gte: str | bool | int | float | None = None
    """at least"""

    lt: str | bool | int | float | None = None
    """less than"""


class RankRow(DowseModel):
    """Clicks on one rank."""

    clicks: int
    """results that were opened there"""

    rank: int
    """rank among the results, from 1"""


class ReadRequest(DowseModel):
    """Body of `POST /model/read`."""

    head: int = 1
    """head of that layer, from 1"""

    hide: list[int] = Field(default_factory=list)
    """numbers of the words that are masked, from 0"""

    layer: int = 1
    """layer whose attention is returned, from 1"""

    text: str
    """a text of at most 64 word pieces"""

    top_k: int = 8
    """number of candidates for each mask"""


class ReadResponse(DowseModel):
    """Answer of `POST /model/read`."""

    attention: Attention
    """attention of the requested layer and head"""

    masked_model: str
    """id of the masked-language model that answered"""

    masks: list[MaskedPosition]
    """the candidates for each masked piece"""

    pieces: list[WordPiece]
    """word pieces, with [CLS] and [SEP]"""

    request_id: str
    """as in the header X-Request-ID and in the log"""

    text: str
    """the text as it was read"""

    took_ms: float
    """milliseconds from the start of the work to the finished answer"""


class Rerank(DowseModel):
    """Outcome of the re-ranking."""

    applied: bool
    """whether the first results are in the order of the cross-encoder"""

    reason: str | None
    """why it was not applied; null where it was"""

    scored: int
    """number of results that the cross-encoder has scored"""

    took_ms: float
    """milliseconds spent on it"""


class RerankMeta(DowseModel):
    """What Cohere's clients look for beside the results."""

    tokens: RerankTokens
    """tokens that were read"""


class RerankRequest(DowseModel):
    """How results are re-ranked."""

    budget_ms: int = 200
    """time limit in milliseconds; if it is exceeded, the order stays"""

    top_n: int = 50
    """number of first results that the cross-encoder scores"""

    weight: float | None = None
    """weight of the cross-encoder's score; that of the first ranking has the rest. By default what was best when the cross-encoder was judged, else 1"""


class RerankTextsRequest(DowseModel):
    """Body of `POST /v1/rerank`."""

    documents: list[str | dict[str, Any]]
    """1 to 1,000 texts, or objects with a `text`; of query and document together only the re-ranker's `max_tokens` are read"""

    model: str | None = None
    """id or name of the live re-ranker, or nothing for whichever is live; `GET /model/info` has its id"""

    query: str
    """what the documents should answer"""

    return_documents: bool = False
    """whether results repeat the texts of the documents"""

    top_n: int | None = None
    """number of results; by default all documents"""


class RerankTextsResponse(DowseModel):
    """Answer of `POST /v1/rerank`."""

    id: str
    """id of the request, as in the header X-Request-ID and in the log"""

    meta: RerankMeta
    """the same as Cohere's clients read it"""

    model: str
    """id of the re-ranker that answered"""

    object: Literal["list"] = "list"
    """type of this object"""

    results: list[RerankedDocument]
    """the best documents, the best first; equal ones as they came"""

    truncated: list[int] = Field(default_factory=list)
    """positions of the documents that were not read whole, or whose query was not: a field of Dowse, absent where there are none"""

    usage: RerankUsage
    """tokens that were read"""


class RerankTokens(DowseModel):
    """Tokens, as Cohere reports them."""

    input_tokens: int
    """as `usage.total_tokens`"""


class RerankUsage(DowseModel):
    """Tokens that the re-ranker has read, special tokens included, as Jina and OpenAI report them."""

    prompt_tokens: int
    """tokens of all pairs of query and document"""

    total_tokens: int
    """the same number: nothing is generated"""


class RerankedDocument(DowseModel):
    """One document with its score."""

    document: RerankedText | None = None
    """with `return_documents` the document"""

    index: int
    """position of the document in `documents`, from 0"""

    relevance_score: float
    """between 0 and 1, the sigmoid of the cross-encoder's output: comparable within a re-ranker, and a probability only as far as it was trained to give one"""


class RerankedText(DowseModel):
    """The text of a document."""

    text: str
    """as it stands in the request"""


class RerankerFacts(DowseModel):
    """The live cross-encoder."""

    by_default: bool
    """whether hybrid search is re-ranked where a request does not say"""

    id: str
    """id of the cross-encoder"""

    name: str
    """name of the model, on the Hub or of its directory"""

    verdict: str | None
    """`WIN`, `TIE` or `LOSS` of re-ranked search; null where it was not judged"""


class Result(DowseModel):
    """One document."""

    exact: bool | None = None
    """whether the query is this document's id or its value of an exact column, which puts it first; present only where that holds for a document"""

    group: Any = None
    """the document's value of the `group_by` column, where that was requested"""

    highlights: Highlights | None = None
    """matching words and nearest sentence, where `highlight` was set"""

    id: str
    """id of the document"""

    metadata: dict[str, Any]
    """all other columns of the corpus, with their types: dates and times in ISO 8601, binary values in URL-safe base64, NaN and infinite numbers as null"""

    rank: int
    """rank of the result, from 1; it continues over pages"""

    relevance: float | None = None
    """probability that the result answers the query, from 0 to 1; comparable between queries of one index, and never rising down a ranking. Null where the index has no calibration, and for similar documents"""

    score: float | None = None
    """higher is better; see `mode` for its meaning. In `hybrid` mode it is fused, and comes with `explain`, or where there is no `relevance`. 0 without a query"""

    scores: Scores | None = None
    """each leg's score and rank, where `explain` was set"""

    text: str
    """the passage of the document that fits best"""

    title: str | None
    """title of the document, if it has one"""


class Scores(DowseModel):
    """Scores of a result; null for a leg that was not searched or has not found it."""

    boost: float | None = None
    """what the request's boosts have added to `score`, where it has any"""

    dense: LegScore | None = None
    """score of the dense leg, by meaning"""

    lexical: LegScore | None = None
    """score of the lexical leg, by words"""

    rerank: float | None = None
    """score of the cross-encoder, where results were re-ranked and this one was scored"""

    sparse: LegScore | None = None
    """score of the learned-sparse leg, where the index has one and it has a weight"""


class SearchRequest(DowseModel):
    """Body of `POST /search`."""

    boost: list[Boost] = Field(default_factory=list)
    """documents whose scores are raised or lowered among the candidates"""

    diversity: float = 0.0
    """how far results similar to an earlier one move down (maximal marginal relevance): 0 not at all, 1 regardless of relevance. Scores stay the same and need not descend"""

    explain: bool = False
    """add each leg's score and rank to every result"""

    facets: list[FacetRequest] = Field(default_factory=list)
    """fields whose values are counted; each field once"""

    facets_over: Literal["all", "results"] = "all"
    """what facets count: `all` documents that pass the filter, or of these the `results`: the query's candidates and, but in dense mode, every document that has a word of the query. With `min_score` only candidates that reach it"""

    fields: list[str] | None = None
    """metadata columns to return; all by default"""

    filter: Filter | None = None
    """which documents may be returned"""

    fusion: Fusion | None = None
    """how the legs are combined; the index has the defaults"""

    group_by: str | None = None
    """metadata column of which each value gets at most `group_size` results; documents without a value are not grouped"""

    group_size: int = 1
    """maximum number of results with the same value of `group_by`"""

    highlight: bool = False
    """return the positions of the query's words, and the sentence that is nearest in meaning"""

    min_relevance: float | None = None
    """leave out results below this relevance; refused where the index has no calibration"""

    min_score: float | None = None
    """leave out results below this score: with `dense` and `hybrid` the cosine of the dense leg, with `lexical` the BM25 score. Fused scores are not comparable between responses"""

    mode: Literal["hybrid", "dense", "lexical"] = "hybrid"
    """`dense`: by meaning, scores are cosines; `lexical`: by words, scores are BM25; `hybrid`: both, scores are fused and comparable only within one response"""

    offset: int = 0
    """number of results to skip"""

    prefix: bool = False
    """the last word may be half typed: words that begin so are searched, too. A blank behind it ends it"""

    query: str = ""
    """what to look for, in plain words; empty or left out, all documents that pass the filter are listed, in the order of the corpus or as `sort` says"""

    rerank: RerankRequest | bool | None = None
    """order the first results by the published cross-encoder; `true` for the defaults, `false` for the first order. By default hybrid search is re-ranked where the cross-encoder has won its comparison with the live model"""

    sort: list[SortByField | SortByDistance] = Field(default_factory=list)
    """the order of the results, in place of their scores: of the query's candidates or, without a query, of all documents that pass the filter. The first key decides, among equal ones the second; then the rank"""

    top_k: int = 10
    """number of results"""

    typos: bool = True
    """a word that no document has is searched as the words nearest to it in spelling"""


class SearchResponse(DowseModel):
    """Answer of `/search`."""

    count: int
    """number of results in this response"""

    dense_weight: float | None = None
    """weight that the dense leg had for this query, adapted to it where `fusion` says so; hybrid mode with `explain` only"""

    expanded: list[Expansion] | None = None
    """what was searched beside the words of the query; present only where something was"""

    facets: dict[str, Facet] | None = None
    """counts of each requested field, over the documents that `facets_over` says"""

    found: int | None = None
    """number of documents that facets were counted over, with `facets_over` `results`"""

    index: IndexInfo
    """the index that answered"""

    matches: int | None = None
    """number of documents that pass the filter, where a filter or facets were requested, and without a query; without a filter it counts all documents"""

    offset: int
    """number of results that were skipped"""

    query: str
    """the query as it was searched"""

    request_id: str
    """id of the request, as in the header X-Request-ID and in the log"""

    rerank: Rerank | None = None
    """outcome of the re-ranking, where there was one"""

    results: list[Result]
    """best first, equal scores in the order of their ids; or as `sort` says, or without a query in the order of the corpus"""

    suggestion: str | None = None
    """did you mean: the query with its unknown words replaced by the nearest of the corpus. Present only where the query's words find nothing, or a word was searched as its nearest ones; null where no word is near"""

    timings: Timings
    """milliseconds of each stage"""

    took_ms: float
    """milliseconds from the start of the search to the finished results"""


class SharedWord(DowseModel):
    """A word that both texts have."""

    cosine: float
    """cosine of its two contextual vectors, each the mean over its pieces"""

    first: list[int]
    """its first and last character in the first text: [start, end)"""

    second: list[int]
    """its first and last character in the second text: [start, end)"""

    word: str
    """as the first text writes it"""


class SimilarRequest(DowseModel):
    """Body of `POST /similar`."""

    diversity: float = 0.0
    """how far results similar to an earlier one move down (maximal marginal relevance): 0 not at all, 1 regardless of relevance. Scores stay the same and need not descend"""

    fields: list[str] | None = None
    """metadata columns to return; all by default"""

    filter: Filter | None = None
    """which documents may be returned"""

    group_by: str | None = None
    """metadata column of which each value gets at most `group_size` results; documents without a value are not grouped"""

    group_size: int = 1
    """maximum number of results with the same value of `group_by`"""

    highlight: bool = False
    """return the positions of the query's words, and the sentence that is nearest in meaning"""

    ids: list[str] = Field(default_factory=list)
    """ids of documents to resemble; they are not among the results"""

    min_score: float | None = None
    """leave out results below this score: with `dense` and `hybrid` the cosine of the dense leg, with `lexical` the BM25 score. Fused scores are not comparable between responses"""

    negative_ids: list[str] = Field(default_factory=list)
    """ids of documents not to resemble; they are not among the results either"""

    negative_text: str | None = None
    """what not to look for, in plain words"""

    offset: int = 0
    """number of results to skip"""

    sort: list[SortByField | SortByDistance] = Field(default_factory=list)
    """the order of the candidates, in place of their scores; see `POST /search`"""

    text: str | None = None
    """what to look for, in plain words"""

    top_k: int = 10
    """number of results"""


class SimilarResponse(DowseModel):
    """Answer of `/documents/{id}/similar`."""

    count: int
    """number of results in this response"""

    id: str
    """id of the document in the request; it is not among the results"""

    index: IndexInfo
    """the index that answered"""

    request_id: str
    """id of the request, as in the header X-Request-ID and in the log"""

    results: list[Result]
    """best first, equal scores in the order of their ids; or as `sort` says, or without a query in the order of the corpus"""

    timings: Timings
    """milliseconds of each stage"""

    took_ms: float
    """milliseconds from the start of the search to the finished results"""


class SortByDistance(DowseModel):
    """Sort by the great-circle distance of a place to a point."""

    latitude: str
    """the field with the latitude in degrees"""

    longitude: str
    """the field with the longitude in degrees"""

    near: Point
    """the point"""

    order: Literal["asc", "desc"] = "asc"
    """`asc`: small, early, near and false first; `desc`: the other way round. Documents without a value come last in both"""


class SortByField(DowseModel):
    """Sort by the value of a field: numbers, dates and times by size, texts by their code points, false before true."""

    field: str
    """a metadata column, `id`, or a field of a struct column as `column.field`"""

    order: Literal["asc", "desc"] = "asc"
    """`asc`: small, early, near and false first; `desc`: the other way round. Documents without a value come last in both"""


class Status(DowseModel):
    """Answer of `/status.json`."""

    artifacts: list[Artifact]
    """all artifacts, indexes first and then models, the newest first"""

    data: str
    """the data directory"""

    disk: Disk
    """the disk of the data directory"""

    documents: int | None
    """documents that can be found"""

    generation: str | None
    """the index and the number of the last visible write"""

    index: str | None
    """id of the index that is served; null while there is none"""

    model: str | None
    """id of the model of that index"""

    queries: QueryLogState
    """state of the query log"""

    queue: Queue
    """the request queue of the worker that answers"""

    reason: str | None
    """why nothing is served; null where something is"""

    started: str
    """when the worker that answers was started, UTC"""

    store: str
    """`files`, or `milvus`: where served indexes are kept"""

    version: str
    """version of Dowse"""

    writes: LiveWrites
    """documents written while the index is served"""


class SuggestResponse(DowseModel):
    """Answer of `/suggest`."""

    index: IndexInfo
    """the index that answered"""

    query: str
    """what was to be completed"""

    request_id: str
    """id of the request, as in the header X-Request-ID and in the log"""

    suggestions: list[Suggestion]
    """best first: past queries, then titles; each text once"""

    took_ms: float
    """milliseconds from the start of the search to the finished results"""


class Suggestion(DowseModel):
    """A completion."""

    source: Literal["title", "query"]
    """`title`: the title of a document; `query`: a query that found something"""

    text: str
    """what can be searched for"""


class Timings(DowseModel):
    """Milliseconds spent in each stage; encoding and the lexical leg run side by side."""

    dense: float = 0.0
    """search of the nearest passages"""

    encode: float = 0.0
    """encoding of the query"""

    fetch: float = 0.0
    """reading of the results' texts and metadata"""

    fuse: float = 0.0
    """fusion of the rankings"""

    highlight: float = 0.0
    """marking of words and sentences, where `highlight` was set"""

    lexical: float = 0.0
    """BM25"""

    rerank: float = 0.0
    """scoring by the cross-encoder, where results were re-ranked"""

    sparse: float = 0.0
    """learned-sparse leg, where the index has one and it has a weight"""


class Usage(DowseModel):
    """Tokens that the model has read, prompts and special tokens included."""

    prompt_tokens: int
    """tokens of all texts, after the cut at `max_tokens`"""

    total_tokens: int
    """the same number: nothing is generated"""


class ValueCount(DowseModel):
    """A value and how many documents have it."""

    count: int
    """number of documents that have it"""

    value: str | bool | int | float | None
    """as in the metadata; dates and times in ISO 8601; a decimal is a number, or a text where a double-precision number would change it; null for an infinite number"""


class Within(DowseModel):
    """A place is in a circle (great-circle distance)."""

    latitude: str
    """the field with the latitude in degrees"""

    longitude: str
    """the field with the longitude in degrees"""

    within: Circle
    """the circle"""


class WordPiece(DowseModel):
    """A word piece of the text."""

    end: int
    """the character after the last one"""

    id: int
    """row in the vocabulary"""

    masked: bool
    """whether the model was shown the mask token instead"""

    piece: str
    """as the vocabulary writes it; `##ing` continues the word before it"""

    start: int
    """first character of the text that it covers"""

    word: int | None
    """number of its word, from 0; null for special tokens such as [CLS] and [SEP]"""


class WriteResponse(DowseModel):
    """Answer to a write. It is on disk, and every search that begins now sees it."""

    deleted: int
    """number of documents that existed and were deleted"""

    index: IndexInfo
    """the index that answered"""

    put: int
    """number of documents that were put"""

    replaced: int
    """how many of them replaced a document with the same id"""

    request_id: str
    """id of the request, as in the header X-Request-ID and in the log"""

    took_ms: float
    """milliseconds until the write was on disk and visible"""
