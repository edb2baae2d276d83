"""Answer of a search: from a request to the results of a page."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from fastapi import Request

from indexer.index.index import Index
from indexer.inference.encoder import Vectors
from indexer.retrieval.highlights import SentenceVectors, nearest_sentences
from indexer.retrieval.ranking import Hit, LegScore, Ranking
from indexer.retrieval.retriever import Mode, Neighbours, Retriever
from indexer.retrieval.spelling import suggestion
from service.api.dependencies import index_info
from service.api.search import filtering, schemas
from service.api.search.arrange import arrange, check_columns
from service.api.search.rerank import Reranking
from service.api.search.schemas import Highlights, Paged
from service.observability.metrics import observe_stages
from service.serving.batching import PendingQuery

STAGES = ("encode", "dense", "lexical", "fuse", "fetch")
"""The stages that every answer states, also one that took no time."""


def answer_search(
    request: Request,
    live: Retriever,
    asked: schemas.SearchRequest,
    where: str,
    *,
    vector: Vectors | None = None,
    neighbours: Neighbours | None = None,
    encoded: PendingQuery | None = None,
) -> schemas.SearchResponse:
    """Answer one search.

    Args:
        request: for its id.
        live: what answers.
        asked: the search.
        where: the part of the request that it stands in, for errors: ``body``, ``query``.
        vector: the query's, where it was encoded already.
        neighbours: of ``vector``, where they were found already.
        encoded: the query, where it may have been encoded with others while it waited.
    """
    started = time.perf_counter()
    if encoded and encoded.vector is not None:
        vector = encoded.vector
    check_columns(live.index, asked, where)
    own = live.fusion
    fusion = own.model_copy(update=asked.fusion.model_dump(exclude_unset=True)) if asked.fusion else own
    allowed = filtering.allowed(asked.filter, live.index, where)
    counted = filtering.counts(asked, live.index, allowed, where)
    ranking = live.search(asked.query, asked.mode, fusion, vector=vector, neighbours=neighbours, allowed=allowed)
    if encoded and vector is not None:
        ranking.timings["encode"] = encoded.milliseconds
    reranking = Reranking(request.app.state.reranker, live, ranking, asked.rerank) if asked.rerank else None
    results = arranged(request, live, ranking, asked, asked.mode, explain=asked.explain, reranking=reranking)
    found = page_of(request, live, ranking, results, started)
    if reranking:
        found["rerank"] = reranking.said
    if asked.mode != "dense" and (ranking.lexical is None or not ranking.lexical.any()):
        found["suggestion"] = suggestion(asked.query, live.index.lexical, live.index.visible)
    return schemas.SearchResponse(query=asked.query, offset=asked.offset, **found, **counted)


def arranged(
    request: Request,
    live: Retriever,
    ranking: Ranking,
    asked: Paged,
    mode: Mode,
    *,
    explain: bool = False,
    reranking: Reranking | None = None,
) -> list[schemas.Result]:
    """Return the results of the page that is asked for, with what is asked for about each."""
    page = arrange(live.index, ranking, asked, mode=mode, offset=asked.offset, count=asked.top_k, rerank=reranking)
    hits = live.hits(ranking, page.places, asked.offset + 1, explain=explain)
    results = [result_of(hit, explain=explain, fields=asked.fields) for hit in hits]
    if reranking and explain:
        for result, place in zip(results, page.places, strict=True):
            if result.scores and place in reranking.scores:
                result.scores.rerank = round(reranking.scores[place], 6)
    if asked.group_by is not None:
        for result, place in zip(results, page.places, strict=True):
            result.group = page.groups[place]
    if asked.highlight:
        marked = highlights(live.index, ranking, hits, request.app.state.sentences)
        for result, spans in zip(results, marked, strict=True):
            result.highlights = spans
    return results


def page_of(
    request: Request, live: Retriever, ranking: Ranking, results: list[schemas.Result], started: float
) -> dict[str, Any]:
    """Return what every list of results comes with; ``started`` is when the request was taken up."""
    observe_stages(ranking.timings)
    return {
        "results": results,
        "count": len(results),
        "took_ms": round((time.perf_counter() - started) * 1e3, 3),
        "timings": schemas.Timings(
            **dict.fromkeys(STAGES, 0.0) | {stage: round(spent, 3) for stage, spent in ranking.timings.items()}
        ),
        "index": index_info(live.index),
        "request_id": request.scope["request_id"],
    }


def result_of(hit: Hit, *, explain: bool = False, fields: list[str] | None = None) -> schemas.Result:
    """Return a hit as the API says it, with the metadata columns ``fields`` or all."""
    metadata = hit.document.metadata
    said = {
        "id": hit.document.id,
        "rank": hit.rank,
        "score": round(hit.score, 6),
        "title": hit.document.title,
        "text": hit.passage,
        "metadata": metadata if fields is None else {name: metadata.get(name) for name in fields},
    }
    if explain:
        said["scores"] = schemas.Scores(
            dense=hit.dense and leg_of(hit.dense), lexical=hit.lexical and leg_of(hit.lexical)
        )
    return schemas.Result(**said)


def leg_of(leg: LegScore) -> schemas.LegScore:
    """Return what a leg says as the API says it."""
    said = {"score": round(leg.score, 6), "rank": leg.rank}
    return schemas.LegScore(**said if leg.part is None else said | {"part": round(leg.part, 6)})


def highlights(index: Index, ranking: Ranking, hits: Sequence[Hit], vectors: SentenceVectors) -> list[Highlights]:
    """Return where each of ``hits`` answers the ranking's query.

    In lexical mode the query has no vector yet and is encoded here.
    """
    if not hits:
        return []
    with ranking.timed("highlight"):
        titles = index.lexical.spans(ranking.query, [hit.document.title or "" for hit in hits])
        texts = index.lexical.spans(ranking.query, [hit.passage for hit in hits])
        query = index.encoder.encode_query(ranking.query) if ranking.vector is None else ranking.vector
        model = index.manifest.parents["model"]
        found = nearest_sentences(query, [hit.passage for hit in hits], model, index.encoder, vectors)
        spans = zip(titles, texts, found, strict=True)
        return [Highlights(title=title, text=text, sentence=sentence) for title, text, sentence in spans]
