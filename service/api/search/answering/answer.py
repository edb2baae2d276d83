"""Response of a search: runs one search request, with a query or without."""

from __future__ import annotations

import time
from functools import partial

from fastapi import Request

from indexer.filters.found import documents_found
from indexer.index.served import Neighbours, Selection
from indexer.inference.encoder import Vectors
from indexer.retrieval.ranking import Ranking
from indexer.retrieval.retriever import Retriever
from indexer.retrieval.spelling import suggestion
from service.api.search import filtering, schemas
from service.api.search.answering.ranked import rank, reranking_of
from service.api.search.answering.results import build_results, common_fields, result_of
from service.api.search.arrange import check_columns, eligible_positions, group_value, with_exact
from service.api.search.browse import browse
from service.api.search.combine import check_combination, pages_beyond
from service.api.search.rerank import TimeLeft
from service.api.search.schemas import Highlights
from service.serving.batching import PendingQuery


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
