"""Response of a search: runs one search request and builds its results, scores, timings and highlights."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from fastapi import Request

from indexer.filters.found import documents_found
from indexer.filters.sort import SortByDistance, SortByField
from indexer.index.served import Neighbours, Selection, ServedIndex
from indexer.index.terms.rules import Rules
from indexer.inference.encoder import Vectors
from indexer.retrieval.highlights import SentenceVectors, nearest_sentences
from indexer.retrieval.ranking import Hit, LegScore, Mode, Ranking
from indexer.retrieval.retriever import Retriever
from indexer.retrieval.spelling import suggestion
from service.api.dependencies import index_info
from service.api.search import filtering, schemas
from service.api.search.arrange import SCORE_DIGITS, arrange, check_columns, eligible_positions, group_value, with_exact
from service.api.search.boosts import boosted
from service.api.search.browse import browse
from service.api.search.combine import check_combination, pages_beyond
from service.api.search.rerank import Reranking, TimeLeft, rerank_options
from service.api.search.schemas import Highlights, Paged
from service.observability.metrics import observe_stages
from service.problems import invalid
from service.serving.batching import PendingQuery

STAGES = ("encode", "dense", "lexical", "fuse", "fetch")
"""Stages that every response lists, also those that took no time."""


def answer_search(
    request: Request,
    live: Retriever,
    search: schemas.SearchRequest,
    location: str,
    *,
    vector: Vectors | None = None,
    neighbours: Neighbours | None = None,
    pending: PendingQuery | None = None,
    left: TimeLeft | None = None,
) -> schemas.SearchResponse:
    """Run one search and return its response.

    Args:
        request: for its id and the state of the application.
        live: retriever of the live index.
        search: what to search for.
        location: the part of the request that holds ``search``, for errors: ``body``, ``query``.
        vector: of the query, if it is encoded already.
        neighbours: nearest passages of ``vector``, if they are known already.
        pending: the query as the request queue had it, perhaps encoded in a batch.
        left: time for re-ranking that this search shares with others; None for its own budget alone.
    """
    started = time.perf_counter()
    if pending and pending.vector is not None:
        vector = pending.vector
    check_columns(live.index, search, location)
    check_combination(search, live.index, location)
    if not search.query:
        return _answer_browse(request, live, search, location, started)
    mask = filtering.document_mask(search.filter, live.index, location)
    over_results = search.facets_over == "results"
    counts = {} if over_results else filtering.count_matches(search, live.index, mask, location)
    ranking = rank(
        live,
        search,
        mask,
        location,
        request.app.state.rules.over(live.index.rules),
        vector=vector,
        neighbours=neighbours,
        reach=pages_beyond(search, search.offset + search.top_k),
    )
    if over_results:
        find = partial(_find, live, ranking, search, mask)
        counts = filtering.count_matches(search, live.index, mask, location, find)
    if pending and pending.vector is not None and ranking.text == search.query:
        ranking.timings["encode"] = pending.milliseconds
    reranking = reranking_of(request, live, search, ranking, left)
    results = build_results(
        request,
        live,
        ranking,
        search,
        search.mode,
        explain=search.explain,
        reranking=reranking,
        sort=search.sort,
        min_relevance=search.min_relevance,
    )
    fields = common_fields(request, live, ranking, results, started)
    if search.explain and ranking.weight is not None:
        fields["dense_weight"] = round(ranking.weight, 4)
    if reranking:
        fields["rerank"] = reranking.outcome
    expansions = ranking.expanded.expansions if ranking.expanded else ()
    if expansions:
        fields["expanded"] = [schemas.Expansion.model_validate(each, from_attributes=True) for each in expansions]
    found = ranking.lexical is not None and ranking.lexical.any()
    misspelt = any(each.kind == "typo" for each in expansions)
    if search.mode != "dense" and ranking.exact is None and (misspelt or not found):
        fields["suggestion"] = suggestion(search.query, live.index.lexical, live.index.visible)
    return schemas.SearchResponse(query=search.query, offset=search.offset, **fields, **counts)


def rank(
    live: Retriever,
    search: schemas.SearchRequest,
    allowed: Selection | None,
    location: str,
    rules: Rules,
    *,
    vector: Vectors | None = None,
    neighbours: Neighbours | None = None,
    reach: int = 0,
) -> Ranking:
    """Return all candidates of a search, with its boosts: what its pages and its export are parts of.

    Args:
        live: retriever of the live index.
        search: what to search for; it has a query.
        allowed: the documents that pass its filter; None for all.
        location: the part of the request that holds ``search``, for errors.
        rules: synonyms and stop words.
        vector: of the query, if it is encoded already.
        neighbours: nearest passages of ``vector``, if they are known already.
        reach: how many documents are ranked at least in lexical mode.

    Raises:
        Problem: 422, a boost does not fit the index, or a least relevance is asked for where it has no calibration.
    """
    if search.min_relevance is not None and live.calibration is None:
        raise invalid(
            f"{location}.min_relevance",
            "the index has no calibration of relevance: it has too few documents, or an earlier version has built it; leave "
            "it out, or build the index again",
        )
    expanded = live.expand(search.query, prefix=search.prefix, typos=search.typos, rules=rules)
    if expanded.text != search.query:  # the vector is that of what was typed
        vector = neighbours = None
    ranking = live.search(
        search.query,
        search.mode,
        live.fusion.overridden(search.fusion),
        vector=vector,
        neighbours=neighbours,
        allowed=allowed,
        reach=reach,
        expanded=expanded,
    )
    live.judge(ranking, search.mode)  # a boost changes the order, and not how well a document answers
    return boosted(ranking, search.boost, live.index, f"{location}.boost")


def reranking_of(
    request: Request, live: Retriever, search: schemas.SearchRequest, ranking: Ranking, left: TimeLeft | None = None
) -> Reranking | None:
    """Return the re-ranking of a search; None where it is not re-ranked, as where a sort decides the order."""
    state = request.app.state
    options = rerank_options(
        False if search.sort else search.rerank,
        search.mode,
        live,
        state.reranker.opened,
        on_request=state.settings.rerank_on_request,
    )
    if options is None:
        return None
    return Reranking(state.reranker, state.rerank_memory, live, ranking, options, offset=search.offset, left=left)


def _answer_browse(
    request: Request, live: Retriever, search: schemas.SearchRequest, location: str, started: float
) -> schemas.SearchResponse:
    """List the documents that pass the filter of a search without a query."""
    mask = filtering.document_mask(search.filter, live.index, location)
    counts = filtering.count_matches(search, live.index, mask, location)
    if search.facets_over == "results" and search.facets:
        counts["found"] = counts["matches"]
    ranking = browse(live, search, mask)
    hits = live.hits(ranking, range(len(ranking.rows)), search.offset + 1, explain=False)
    results = [result_of(hit, fields=search.fields) for hit in hits]
    for result, hit in zip(results, hits, strict=True):
        if search.group_by is not None:
            result.group = group_value(hit.document, search.group_by)
        if search.explain:
            result.scores = schemas.Scores(dense=None, lexical=None)
        if search.highlight:
            result.highlights = Highlights(title=[], text=[], sentence=None)
    fields = common_fields(request, live, ranking, results, started)
    return schemas.SearchResponse(query="", offset=search.offset, **fields, **counts)


def _find(live: Retriever, ranking: Ranking, search: schemas.SearchRequest, allowed: Selection | None) -> Selection:
    """Return the documents that a search finds, over which its facets count."""
    eligible = eligible_positions(ranking, search.mode, search.min_score, search.min_relevance)
    found = ranking.rows[list(with_exact(ranking, eligible))]
    is_cut = search.min_score is not None or search.min_relevance is not None
    # Other documents have no score that could reach it.
    alone = is_cut or search.mode == "dense"
    terms = None if alone or ranking.expanded is None else ranking.expanded.terms
    selection: Selection = documents_found(live.index, found, terms, allowed)
    return selection


def build_results(
    request: Request,
    live: Retriever,
    ranking: Ranking,
    options: Paged,
    mode: Mode,
    *,
    explain: bool = False,
    reranking: Reranking | None = None,
    min_relevance: float | None = None,
    sort: Sequence[SortByField | SortByDistance] = (),
) -> list[schemas.Result]:
    """Return the results of the requested page, with scores, groups and highlights as far as they were requested."""
    page = arrange(
        live.index,
        ranking,
        options,
        mode=mode,
        offset=options.offset,
        count=options.top_k,
        rerank=reranking,
        min_relevance=min_relevance,
        sort=sort,
    )
    hits = live.hits(ranking, page.positions, options.offset + 1, explain=explain)
    three_legs = ranking.sparse is not None
    results = [
        result_of(hit, explain=explain, fields=options.fields, three_legs=three_legs, fused=mode == "hybrid")
        for hit in hits
    ]
    if explain:
        _explain(live, ranking, results, page.positions, reranking.scores if reranking else {})
    if ranking.exact is not None:
        for result, position in zip(results, page.positions, strict=True):
            result.exact = bool(ranking.exact[position])
    if options.group_by is not None:
        for result, position in zip(results, page.positions, strict=True):
            result.group = page.groups[position]
    if options.highlight:
        highlights = find_highlights(live.index, ranking, hits, request.app.state.sentences)
        for result, spans in zip(results, highlights, strict=True):
            result.highlights = spans
    return results


def _explain(
    live: Retriever,
    ranking: Ranking,
    results: Sequence[schemas.Result],
    positions: Sequence[int],
    reranked: Mapping[int, float],
) -> None:
    """Add to the scores of results what the re-ranking, boosts and each searched field say of them."""
    parts = live.lexical_parts(ranking, positions) if live.index.lexical.columns else [None] * len(results)
    for result, position, fields in zip(results, positions, parts, strict=True):
        if result.scores is None:
            continue
        if position in reranked:
            result.scores.rerank = round(reranked[position], 6)
        if ranking.boost is not None:
            result.scores.boost = round(float(ranking.boost[position]) * ranking.spread, SCORE_DIGITS)
        if result.scores.lexical and fields is not None:
            result.scores.lexical.fields = fields


def common_fields(
    request: Request, live: Retriever, ranking: Ranking, results: list[schemas.Result], started: float
) -> dict[str, Any]:
    """Return the fields of every response with results; ``started`` is the start time of the work."""
    observe_stages(ranking.timings)
    return {
        "results": results,
        "count": len(results),
        "took_ms": round((time.perf_counter() - started) * 1e3, 3),
        "timings": schemas.Timings(
            **dict.fromkeys(STAGES, 0.0) | {stage: round(ms, 3) for stage, ms in ranking.timings.items()}
        ),
        "index": index_info(live.index),
        "request_id": request.scope["request_id"],
    }


def result_of(
    hit: Hit,
    *,
    explain: bool = False,
    fields: list[str] | None = None,
    three_legs: bool = False,
    fused: bool = False,
) -> schemas.Result:
    """Return a hit as a result of the API, with the metadata columns ``fields`` or all.

    With ``three_legs``, ``explain`` shows the learned-sparse leg, too. A ``fused`` score means nothing outside its ranking:
    beside a relevance it is shown by ``explain`` alone.
    """
    metadata = hit.document.metadata
    values = {
        "id": hit.document.id,
        "rank": hit.rank,
        "relevance": hit.relevance,
        "title": hit.document.title,
        "text": hit.passage,
        "metadata": metadata if fields is None else {name: metadata.get(name) for name in fields},
    }
    if explain or not fused or hit.relevance is None:
        values["score"] = round(hit.score, SCORE_DIGITS)
    if explain:
        legs = {"dense": hit.dense, "lexical": hit.lexical} | ({"sparse": hit.sparse} if three_legs else {})
        values["scores"] = schemas.Scores(**{name: leg and leg_score_of(leg) for name, leg in legs.items()})
    return schemas.Result(**values)


def leg_score_of(leg: LegScore) -> schemas.LegScore:
    """Return score and rank of a leg as the API has them."""
    values = {"score": round(leg.score, SCORE_DIGITS), "rank": leg.rank}
    return schemas.LegScore(**values if leg.part is None else values | {"part": round(leg.part, 6)})


def find_highlights(
    index: ServedIndex, ranking: Ranking, hits: Sequence[Hit], vectors: SentenceVectors
) -> list[Highlights]:
    """Return the highlights of each hit: the query's words by the lexical index, the nearest sentence by the encoder.

    In lexical mode the query has no vector yet and is encoded here.
    """
    if not hits:
        return []
    with ranking.timed("highlight"):
        titles = index.lexical.spans(ranking.words, [hit.document.title or "" for hit in hits])
        texts = index.lexical.spans(ranking.words, [hit.passage for hit in hits])
        query = index.encoder.encode_query(ranking.text) if ranking.vector is None else ranking.vector
        model = index.manifest.parents["model"]
        sentences = nearest_sentences(query, [hit.passage for hit in hits], model, index.encoder, vectors)
        spans = zip(titles, texts, sentences, strict=True)
        return [Highlights(title=title, text=text, sentence=sentence) for title, text, sentence in spans]
