"""Response of a search: runs one search request and builds its results, scores, timings and highlights."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from fastapi import Request

from indexer.index.served import Neighbours, ServedIndex
from indexer.inference.encoder import Vectors
from indexer.retrieval.highlights import SentenceVectors, nearest_sentences
from indexer.retrieval.ranking import Hit, LegScore, Ranking
from indexer.retrieval.retriever import Mode, Retriever
from indexer.retrieval.spelling import suggestion
from service.api.dependencies import index_info
from service.api.search import filtering, schemas
from service.api.search.arrange import SCORE_DIGITS, arrange, check_columns
from service.api.search.rerank import Reranking, TimeLeft, rerank_options
from service.api.search.schemas import Highlights, Paged
from service.observability.metrics import observe_stages
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
    fusion = live.fusion.overridden(search.fusion)
    mask = filtering.document_mask(search.filter, live.index, location)
    counts = filtering.count_matches(search, live.index, mask, location)
    state = request.app.state
    expanded = live.expand(
        search.query, prefix=search.prefix, typos=search.typos, rules=state.rules.over(live.index.rules)
    )
    if expanded.text != search.query:  # the vector is that of what was typed
        vector = neighbours = None
    ranking = live.search(
        search.query,
        search.mode,
        fusion,
        vector=vector,
        neighbours=neighbours,
        allowed=mask,
        expanded=expanded,
    )
    if pending and vector is not None:
        ranking.timings["encode"] = pending.milliseconds
    options = rerank_options(
        search.rerank, search.mode, live, state.reranker.opened, on_request=state.settings.rerank_on_request
    )
    reranking = (
        Reranking(state.reranker, state.rerank_memory, live, ranking, options, offset=search.offset, left=left)
        if options
        else None
    )
    results = build_results(request, live, ranking, search, search.mode, explain=search.explain, reranking=reranking)
    fields = common_fields(request, live, ranking, results, started)
    if search.explain and ranking.weight is not None:
        fields["dense_weight"] = round(ranking.weight, 4)
    if reranking:
        fields["rerank"] = reranking.outcome
    if expanded.expansions:
        fields["expanded"] = [
            schemas.Expansion.model_validate(each, from_attributes=True) for each in expanded.expansions
        ]
    found = ranking.lexical is not None and ranking.lexical.any()
    misspelt = any(each.kind == "typo" for each in expanded.expansions)
    if search.mode != "dense" and ranking.exact is None and (misspelt or not found):
        fields["suggestion"] = suggestion(search.query, live.index.lexical, live.index.visible)
    return schemas.SearchResponse(query=search.query, offset=search.offset, **fields, **counts)


def build_results(
    request: Request,
    live: Retriever,
    ranking: Ranking,
    options: Paged,
    mode: Mode,
    *,
    explain: bool = False,
    reranking: Reranking | None = None,
) -> list[schemas.Result]:
    """Return the results of the requested page, with scores, groups and highlights as far as they were requested."""
    page = arrange(
        live.index, ranking, options, mode=mode, offset=options.offset, count=options.top_k, rerank=reranking
    )
    hits = live.hits(ranking, page.positions, options.offset + 1, explain=explain)
    three_legs = ranking.sparse is not None
    results = [result_of(hit, explain=explain, fields=options.fields, three_legs=three_legs) for hit in hits]
    if reranking and explain:
        for result, position in zip(results, page.positions, strict=True):
            if result.scores and position in reranking.scores:
                result.scores.rerank = round(reranking.scores[position], 6)
    if explain and live.index.lexical.columns:
        for result, parts in zip(results, live.lexical_parts(ranking, page.positions), strict=True):
            if result.scores and result.scores.lexical:
                result.scores.lexical.fields = parts
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
    hit: Hit, *, explain: bool = False, fields: list[str] | None = None, three_legs: bool = False
) -> schemas.Result:
    """Return a hit as a result of the API, with the metadata columns ``fields`` or all.

    With ``three_legs``, ``explain`` shows the learned-sparse leg, too.
    """
    metadata = hit.document.metadata
    values = {
        "id": hit.document.id,
        "rank": hit.rank,
        "score": round(hit.score, SCORE_DIGITS),
        "title": hit.document.title,
        "text": hit.passage,
        "metadata": metadata if fields is None else {name: metadata.get(name) for name in fields},
    }
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
