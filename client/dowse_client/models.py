"""What the service takes and gives. Written by `make client` from `service/openapi.json`; do not edit."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class DowseModel(BaseModel):
    """What all have in common: fields that a newer service adds are kept, not refused."""

    model_config = ConfigDict(extra="allow", populate_by_name=True, protected_namespaces=())


class Attention(DowseModel):
    """How much each piece looks at each other one, in one head."""

    head: int
    """from 1"""

    layer: int
    """from 1"""

    weights: list[list[float]]
    """a row for each piece that looks; each row sums to 1"""


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


class Candidate(DowseModel):
    """A word piece that could stand behind a mask."""

    logit: float
    """the model's score, before the softmax"""

    probability: float
    """softmax of the logits over the whole vocabulary"""

    rank: int
    """place among all pieces of the vocabulary, from 1"""

    word: str
    """the piece; `##ing` goes on with the word before it"""


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
    """the labels that apply, the most probable first: exactly one, or with a classifier of several labels those that reach their thresholds, perhaps none"""

    probabilities: list[LabelProbability]
    """the `top_k` most probable labels, whether they apply or not"""


class ClassifierFacts(DowseModel):
    """The classifier that answered."""

    id: str
    """id of the classifier"""

    labels: list[str]
    """the labels that it knows"""

    macro_f1: float | None
    """macro-F1 on its test rows; null where that was not measured"""

    max_tokens: int
    """tokens of a text that it reads"""

    multi_label: bool
    """whether several labels, or none, may apply to a text"""


class ClassifyRequest(DowseModel):
    """Body of `POST /classify`."""

    texts: list[str]
    """1 to 64 texts, of at most 10,000 characters each; what lies beyond the classifier's `max_tokens` is not read"""

    top_k: int = 10
    """number of labels in `probabilities` of each text, the most probable"""


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
    """another one"""


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
    """words of both texts, each at its first place, in the order of the first text; null while no masked-language model is published"""


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
    """the vector: numbers, or base64 where that was asked for"""

    index: int
    """place of the text in `input`, from 0"""

    object: Literal["embedding"] = "embedding"
    """what this is"""


class EmbeddingsRequest(DowseModel):
    """Body of `POST /v1/embeddings`."""

    dimensions: int | None = None
    """length of the vectors: the model's own or, of a Matryoshka model, one that it was trained for"""

    encoding_format: Literal["float", "base64"] = "float"
    """numbers, or the bytes of 32-bit floats (little-endian) in base64"""

    input: str | list[str]
    """a text, or up to 2,048 of them; what lies beyond the model's `max_tokens` is not read"""

    input_type: Literal["query", "document"] = "document"
    """whose prompt the model is given: Dowse's own field (`extra_body` of the client)"""

    model: str
    """id of the live model, which makes a request fail once another model is live, or its name, which goes on with the next; `GET /v1/models` lists both"""

    user: str | None = None
    """taken for compatibility, and not looked at"""


class EmbeddingsResponse(DowseModel):
    """Answer of `POST /v1/embeddings`."""

    data: list[Embedding]
    """a vector for each text, in the order of `input`"""

    model: str
    """id of the model that answered"""

    object: Literal["list"] = "list"
    """what this is"""

    truncated: list[int] = Field(default_factory=list)
    """places of the texts whose end was not read: Dowse's own field, absent where all were"""

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
    """best first; equal scores in the order of their ids"""

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
    """somebody opened it"""

    document: str
    """id of a document"""

    grade: int | None = None
    """how well it answers: 0 not at all, 1 a little, 2 well, 3 perfectly"""

    query: str
    """what was searched for"""


class FeedbackResponse(DowseModel):
    """Answer to feedback: it is on the disk."""

    request_id: str
    """id of the request, as in the header X-Request-ID and in the log"""

    stored: Literal[True]
    """the next `python -m trainer run --feedback` learns from it"""


class FillMaskRequest(DowseModel):
    """Body of `POST /fill-mask`."""

    text: str
    """a text with one mask or several, written as the model's mask token, usually [MASK]"""

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
    """How the two legs are combined."""

    dense_weight: float = 0.5
    """weight of the dense leg; the lexical leg has the rest"""

    k: int = 60
    """constant of reciprocal rank fusion"""

    method: Literal["convex", "rrf"] = "convex"
    """`convex`: weighted sum of standardised scores; `rrf`: reciprocal rank fusion"""


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
    """Where a result answers. Spans are code points into `title` or `text`, the end excluded."""

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
    """how a text becomes a vector"""

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

    version: str
    """version of Dowse"""


class LabelProbability(DowseModel):
    """A label and how probable it is."""

    label: str
    """the label"""

    probability: float
    """calibrated: of the answers with .9, nine in ten are right"""


class LegScore(DowseModel):
    """One leg's word on a result."""

    part: float | None = None
    """`hybrid`: what the leg adds to the fused score, counted from the candidate to which it adds least; the parts of a result compare with each other and with those of other results"""

    rank: int
    """rank by this score among the query's candidates, from 1"""

    score: float
    """cosine (dense) or BM25 (lexical)"""


class MaskedFacts(DowseModel):
    """The published masked-language model."""

    heads: int
    """number of attention heads in each layer"""

    id: str
    """id of the model"""

    layers: int
    """number of layers"""

    mask_token: str
    """what stands for a hidden word in a text"""

    max_pieces: int
    """longest text that `/model/read` and `/model/compare` take, in word pieces"""

    name: str
    """name of the directory that it was published from"""

    vocabulary: int
    """number of word pieces that it knows"""


class MaskedPosition(DowseModel):
    """One masked word piece, and what the model expects there; several masks are filled independently of one another."""

    candidates: list[Candidate]
    """the most probable pieces, best first"""

    end: int
    """the character after the last one"""

    entropy: float
    """of the whole distribution, in nats: 0 is certain, log(vocabulary) knows nothing"""

    hidden: Candidate | None = None
    """the piece that was hidden; null where the text said [MASK]"""

    position: int
    """number of the piece in the text, from 0"""

    start: int
    """first character of the text that it covers"""


class Model(DowseModel):
    """A model that can be named in a request."""

    created: int
    """when the live model was published, in seconds since 1970"""

    id: str
    """what to put into `model`"""

    object: Literal["model"] = "model"
    """what this is"""

    owned_by: Literal["dowse"] = "dowse"
    """who serves it"""


class ModelFacts(DowseModel):
    """The model that the live index was built with."""

    dense: Gain | None
    """dense search alone; null where it was not measured"""

    hybrid: Gain | None
    """hybrid search; null where it was not measured"""

    id: str
    """id of the model"""

    judged_by: str | None
    """`labels` or `synthetic queries`: what the verdict rests on"""

    name: str
    """name of the base model"""

    report: str | None
    """path of its report, relative to the service's root; null without one"""

    tuned: bool
    """whether it was tuned on a corpus"""

    tuned_from: str | None
    """id of the model that training started from; null for an untouched one"""

    verdict: str | None
    """`WIN`, `TIE` or `LOSS` against its base; null for an untouched one"""


class ModelInfo(DowseModel):
    """Answer of `GET /model/info`: what the page «how it reads» can show."""

    encoder: EncoderFacts | None
    """null while there is no index"""

    masked: MaskedFacts | None
    """null while no masked-language model is published"""

    missing: list[str]
    """for each model that is missing a sentence with the command that makes it"""


class ModelList(DowseModel):
    """Answer of `GET /v1/models`."""

    data: list[Model]
    """the live model under its id, and under its name"""

    object: Literal["list"] = "list"
    """what this is"""


class NewDocument(DowseModel):
    """A document to be put: a new one, or another version of one with this id."""

    id: str
    """id of the document"""

    metadata: dict[str, Any] = Field(default_factory=dict)
    """columns of the index with values of their types, as results have them; what is left out is null"""

    text: str
    """what is searched; not empty"""

    title: str | None = None
    """searched together with the text"""


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


class RangeCount(DowseModel):
    """A range and how many documents have a value in it."""

    count: int
    """number of documents with a value in it"""

    gte: str | bool | int | float | None = None
    """at least"""

    lt: str | bool | int | float | None = None
    """less than"""


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
    """of the chosen layer and head"""

    masked_model: str
    """id of the masked-language model that answered"""

    masks: list[MaskedPosition]
    """what the model expects at the masked pieces"""

    pieces: list[WordPiece]
    """word pieces, with [CLS] and [SEP]"""

    request_id: str
    """as in the header X-Request-ID and in the log"""

    text: str
    """the text as it was read"""

    took_ms: float
    """milliseconds from the start of the work to the finished answer"""


class Rerank(DowseModel):
    """What became of the re-ranking."""

    applied: bool
    """whether the first results are in the order of the cross-encoder"""

    reason: str | None
    """why it was not applied; null where it was"""

    scored: int
    """number of results that it has read"""

    took_ms: float
    """milliseconds spent on it"""


class RerankRequest(DowseModel):
    """How results are re-ranked."""

    budget_ms: int = 200
    """milliseconds for it; where they do not suffice, the order stays"""

    top_n: int = 50
    """how many of the first results the cross-encoder reads"""


class Result(DowseModel):
    """One document."""

    group: Any = None
    """the document's value of the `group_by` column, where that was asked"""

    highlights: Highlights | None = None
    """where it answers, where `highlight` was set"""

    id: str
    """id of the document"""

    metadata: dict[str, Any]
    """all other columns of the corpus, with their types: dates and times in ISO 8601, binary values in URL-safe base64, NaN and infinite numbers as null"""

    rank: int
    """place in the ranking, from 1; counts on over pages"""

    score: float
    """higher is better; see `mode` for its meaning"""

    scores: Scores | None = None
    """each leg's score and rank, where `explain` was set"""

    text: str
    """the passage of the document that fits best"""

    title: str | None
    """title of the document, if it has one"""


class Scores(DowseModel):
    """Both legs' words on a result; null for a leg that was not asked or has not found it."""

    dense: LegScore | None = None
    """nearness in meaning"""

    lexical: LegScore | None = None
    """words in common"""

    rerank: float | None = None
    """the cross-encoder's, where `rerank` was set and has read the result"""


class SearchRequest(DowseModel):
    """Body of `POST /search`."""

    diversity: float = 0.0
    """how much results that resemble one before them are put back (maximal marginal relevance): 0 not at all, 1 regardless of relevance. Scores stay, and no longer descend"""

    explain: bool = False
    """add each leg's score and rank to every result"""

    facets: list[FacetRequest] = Field(default_factory=list)
    """fields whose values are counted over all documents that pass the filter; each field once"""

    fields: list[str] | None = None
    """metadata columns to return; all by default"""

    filter: Filter | None = None
    """which documents may be returned"""

    fusion: Fusion | None = None
    """how the legs are combined; what is left out is as the index says"""

    group_by: str | None = None
    """metadata column of which each value gets at most `group_size` results; documents without a value are not grouped"""

    group_size: int = 1
    """most results with the same value of `group_by`"""

    highlight: bool = False
    """say where the query's words stand, and which sentence is nearest in meaning"""

    min_score: float | None = None
    """leave out results below this. Of `dense` and `hybrid` it is the cosine of the dense leg (fused scores mean nothing outside their response), of `lexical` the BM25 score"""

    mode: Literal["hybrid", "dense", "lexical"] = "hybrid"
    """`dense`: by meaning, scores are cosines; `lexical`: by words, scores are BM25; `hybrid`: both, scores are fused and comparable only within one response"""

    offset: int = 0
    """number of results to skip"""

    query: str
    """what to look for, in plain words"""

    rerank: RerankRequest | None = None
    """order the first results by the published cross-encoder; `{}` for the defaults"""

    top_k: int = 10
    """number of results"""


class SearchResponse(DowseModel):
    """Answer of `/search`."""

    count: int
    """number of results in this response"""

    facets: dict[str, Facet] | None = None
    """the counts of each field that was asked for, over all documents that pass the filter"""

    index: IndexInfo
    """the index that answered"""

    matches: int | None = None
    """number of documents that pass the filter, where a filter or facets were asked for; without a filter that is all"""

    offset: int
    """number of results that were skipped"""

    query: str
    """the query as it was searched"""

    request_id: str
    """id of the request, as in the header X-Request-ID and in the log"""

    rerank: Rerank | None = None
    """what became of the re-ranking, where `rerank` was set"""

    results: list[Result]
    """best first; equal scores in the order of their ids"""

    suggestion: str | None = None
    """did you mean: the query with its unknown words replaced by the nearest of the corpus. There only where the query's words find nothing, null where nothing is near"""

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
    """how much results that resemble one before them are put back (maximal marginal relevance): 0 not at all, 1 regardless of relevance. Scores stay, and no longer descend"""

    fields: list[str] | None = None
    """metadata columns to return; all by default"""

    filter: Filter | None = None
    """which documents may be returned"""

    group_by: str | None = None
    """metadata column of which each value gets at most `group_size` results; documents without a value are not grouped"""

    group_size: int = 1
    """most results with the same value of `group_by`"""

    highlight: bool = False
    """say where the query's words stand, and which sentence is nearest in meaning"""

    ids: list[str] = Field(default_factory=list)
    """ids of documents to resemble; they are not among the results"""

    min_score: float | None = None
    """leave out results below this. Of `dense` and `hybrid` it is the cosine of the dense leg (fused scores mean nothing outside their response), of `lexical` the BM25 score"""

    negative_ids: list[str] = Field(default_factory=list)
    """ids of documents not to resemble; they are not among the results either"""

    negative_text: str | None = None
    """what not to look for, in plain words"""

    offset: int = 0
    """number of results to skip"""

    text: str | None = None
    """what to look for, in plain words"""

    top_k: int = 10
    """number of results"""


class SimilarResponse(DowseModel):
    """Answer of `/documents/{id}/similar`."""

    count: int
    """number of results in this response"""

    id: str
    """id of the document that was asked about; it is not among the results"""

    index: IndexInfo
    """the index that answered"""

    request_id: str
    """id of the request, as in the header X-Request-ID and in the log"""

    results: list[Result]
    """best first; equal scores in the order of their ids"""

    timings: Timings
    """milliseconds of each stage"""

    took_ms: float
    """milliseconds from the start of the search to the finished results"""


class Timings(DowseModel):
    """Milliseconds spent in each stage; encoding and the lexical leg run side by side."""

    dense: float = 0.0
    """nearest passages"""

    encode: float = 0.0
    """the query's vector"""

    fetch: float = 0.0
    """texts and metadata of the results"""

    fuse: float = 0.0
    """one ranking out of two"""

    highlight: float = 0.0
    """words and sentences marked, where `highlight` was set"""

    lexical: float = 0.0
    """BM25"""

    rerank: float = 0.0
    """the cross-encoder's reading, where `rerank` was set"""


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
    """as in the metadata; dates and times in ISO 8601; null for an infinite number"""


class Within(DowseModel):
    """A place lies in a circle (great-circle distance)."""

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
    """as the vocabulary writes it; `##ing` goes on with the word before it"""

    start: int
    """first character of the text that it covers"""

    word: int | None
    """number of its word, from 0; null for what the model puts around the text"""


class WriteResponse(DowseModel):
    """Answer to a write: it is on the disk, and every search that begins now sees it."""

    deleted: int
    """number of documents that were there and are no more"""

    index: IndexInfo
    """the index that answered"""

    put: int
    """number of documents that were put"""

    replaced: int
    """how many of them took the place of one with the same id"""

    request_id: str
    """id of the request, as in the header X-Request-ID and in the log"""

    took_ms: float
    """milliseconds until it was on the disk and visible"""
