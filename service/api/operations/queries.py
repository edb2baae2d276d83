"""`GET /queries.json`: statistics of the query log; `/queries` shows them as a page."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse

from indexer.live.feedback import FeedbackLog
from indexer.live.query_log import normalised
from indexer.live.query_statistics import Counts, first_day, merged_queries
from service.api.operations import status_schemas as schemas
from service.api.problem_responses import RESPONSES, documented
from service.negotiation import PAGE, PAGE_HEADERS
from service.problems import Problem
from service.serving.queries.recorder import QueryRecorder

NO_LOG = Problem(404, "not-found", "This service keeps no query log; start it with --query-log or DOWSE_QUERY_LOG=1")
MAX_RANK = 100
"""Last rank of which clicks are listed."""

router = APIRouter(tags=["operate"], responses={status: RESPONSES[status] for status in (422, 500, 503)})


@router.head("/queries", include_in_schema=False)
@router.get("/queries", include_in_schema=False)
async def page() -> FileResponse:
    """Return the page of the query log, which asks for what it shows with the reader's key."""
    return FileResponse(PAGE / "queries.html", media_type="text/html", headers=PAGE_HEADERS)


@router.get(
    "/queries.json",
    operation_id="get_queries",
    summary="Statistics of the query log",
    responses={404: documented(NO_LOG)},
)
def queries(
    request: Request,
    days: Annotated[int, Query(ge=1, le=366, description="the last days to count, today included")] = 30,
    limit: Annotated[int, Query(ge=1, le=1_000, description="queries of each list")] = 50,
) -> schemas.QueryReport:
    """Return the most frequent queries, those that found nothing, clicks by rank, and latencies.

    A query counts seconds after it was searched, all workers together.
    """
    recorder: QueryRecorder | None = request.app.state.queries
    if recorder is None:
        raise NO_LOG
    with recorder.statistics() as statistics:
        counted = list(statistics.days(days))
    clicks, ranks = _clicks(request.app.state.settings.data, days)
    return _report(counted, clicks, ranks, days, limit)


def _clicks(data: Path, days: int) -> tuple[Counter[str], Counter[int]]:
    """Return how often results of each normalised query were opened, and how often those of each rank."""
    since = first_day(days).isoformat()
    clicks: Counter[str] = Counter()
    ranks: Counter[int] = Counter()
    for entry in FeedbackLog(data).read():
        if entry.get("grade") is None and str(entry.get("time", "")) >= since:
            clicks[normalised(entry["query"])] += 1
            if entry.get("rank"):
                ranks[entry["rank"]] += 1
    return clicks, ranks


def _report(
    counted: list[tuple[str, Counts]], clicks: Counter[str], ranks: Counter[int], days: int, limit: int
) -> schemas.QueryReport:
    all_queries = merged_queries(counts for _, counts in counted)
    rows = [
        schemas.QueryRow(
            query=each.text, searches=each.searches, found=each.found, clicks=clicks[normalised(each.text)]
        )
        for each in all_queries
    ]
    by_day: dict[str, schemas.DayRow] = {}
    for day, counts in sorted(counted, key=lambda each: each[0]):
        row = by_day.setdefault(day, schemas.DayRow(day=day, searches=0, nothing=0))
        row.searches += counts.searches
        row.nothing += counts.nothing
    milliseconds = np.concatenate([np.empty(0, np.float32), *(np.array(counts.milliseconds) for _, counts in counted)])
    return schemas.QueryReport(
        days=days,
        searches=sum(row.searches for row in by_day.values()),
        distinct=len(rows),
        nothing=sum(row.nothing for row in by_day.values()),
        milliseconds=_latency(milliseconds) if len(milliseconds) else None,
        top=rows[:limit],
        nothing_found=[row for row in rows if not row.found][:limit],
        clicks=clicks.total(),
        clicks_by_rank=[schemas.RankRow(rank=rank, clicks=ranks[rank]) for rank in sorted(ranks) if rank <= MAX_RANK],
        by_day=list(by_day.values()),
    )


def _latency(milliseconds: np.ndarray) -> schemas.Latency:
    p50, p95, p99 = (round(float(value), 3) for value in np.percentile(milliseconds, (50, 95, 99)))
    return schemas.Latency(p50=p50, p95=p95, p99=p99)
