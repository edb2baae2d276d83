"""Ranking of a search: all candidates of its query with its boosts, and their re-ranking."""

from __future__ import annotations

from fastapi import Request

from indexer.index.served import Neighbours, Selection
from indexer.index.terms.rules import Rules
from indexer.inference.encoder import Vectors
from indexer.retrieval.ranking import Ranking
from indexer.retrieval.retriever import Retriever
from service.api.search import schemas
from service.api.search.boosts import boosted
from service.api.search.rerank import Reranking, TimeLeft, rerank_options
from service.problems import invalid


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
