"""Results of a page, with scores, groups and highlights, and the fields that every response with results has."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import Request

from indexer.filters.sort import SortByDistance, SortByField
from indexer.index.served import ServedIndex
from indexer.retrieval.highlights import SentenceVectors, nearest_sentences
from indexer.retrieval.ranking import Hit, LegScore, Mode, Ranking
from indexer.retrieval.retriever import Retriever
from service.api.dependencies import index_info
from service.api.search import schemas
from service.api.search.arrange import SCORE_DIGITS, arrange
from service.api.search.rerank import Reranking
from service.api.search.schemas import Highlights, Paged
from service.observability.metrics import observe_stages

STAGES = ("encode", "dense", "lexical", "fuse", "fetch")
"""Stages that every response lists, also those that took no time."""


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
    observe_stages(ranking.timings, request.scope)
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
