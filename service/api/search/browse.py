"""Browsing: the documents that pass a filter, without a query, in the order of the corpus or as the request sorts them."""

from __future__ import annotations

import numpy as np

from indexer.filters.evaluate import compile_filter
from indexer.filters.filter import Filter
from indexer.filters.grouping import first_of_groups
from indexer.filters.ordering import rows_of, sorted_positions
from indexer.index.document_mask import Rows
from indexer.index.served import Selection, ServedIndex
from indexer.retrieval.ranking import Ranking
from indexer.retrieval.retriever import Retriever
from service.api.search.schemas import SearchRequest


def browse_rows(search: SearchRequest, index: ServedIndex, allowed: Selection | None, count: int) -> Rows:
    """Return the rows of the first ``count`` documents, in their order.

    Args:
        search: its sort and its groups.
        index: the live index.
        allowed: the documents that pass the filter; None for all.
        count: how many are returned, where there are as many.
    """
    allowed = compile_filter(Filter(), index) if allowed is None else allowed
    rows = rows_of(allowed, index)
    total = allowed.count
    wanted = total if search.group_by is not None else min(count, total)
    if search.sort:
        positions = sorted_positions(search.sort, index, rows, wanted)
        ordered = positions if rows is None else rows[positions]
    else:
        ordered = np.arange(wanted) if rows is None else rows[:wanted]
    if search.group_by is not None:
        ordered = first_of_groups(ordered, search.group_by, search.group_size, index)[:count]
    return ordered


def browse(live: Retriever, search: SearchRequest, allowed: Selection | None) -> Ranking:
    """Return the documents up to the end of the requested page as a ranking without scores."""
    ranking = Ranking()
    with ranking.timed("fetch"):
        rows = browse_rows(search, live.index, allowed, search.offset + search.top_k)
        page = rows[search.offset :]
        passages = np.array([each[0] for each in live.index.passages_of_documents(page)], dtype=np.int64)
    ranking.rows, ranking.scores, ranking.passages = page, np.zeros(len(page)), passages
    return ranking
