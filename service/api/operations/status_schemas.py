"""Schemas of the status and of the statistics of queries."""

from __future__ import annotations

from pydantic import BaseModel, Field

from service.api.operations.schemas import Gain


class Artifact(BaseModel):
    """One published artifact of the data directory."""

    id: str = Field(description="id of the artifact")
    kind: str = Field(description="`index`, `model`, `reranker`, …")
    current: bool = Field(description="whether it is the live one of its kind, by `CURRENT`")
    serving: bool = Field(description="whether this service answers from it")
    created: str | None = Field(default=None, description="when it was published, UTC")
    name: str | None = Field(default=None, description="name of the base model; null for an index")
    documents: int | None = Field(default=None, description="documents of an index")
    model: str | None = Field(default=None, description="id of the model with which an index was built")
    tuned_from: str | None = Field(default=None, description="id of the model from which its training started")
    verdict: str | None = Field(
        default=None, description="`WIN`, `TIE` or `LOSS` against its base; null where unjudged"
    )
    judged_by: str | None = Field(default=None, description="queries of the verdict: `labels` or `synthetic queries`")
    dense: Gain | None = Field(default=None, description="dense search alone; null where it was not measured")
    hybrid: Gain | None = Field(default=None, description="hybrid search; null where it was not measured")
    report: str | None = Field(default=None, description="path of its report, relative to the service's root")
    activate: str | None = Field(default=None, description="command that makes it the live one; null where it is")
    problem: str | None = Field(default=None, description="why its manifest cannot be read; null where it can")


class LiveWrites(BaseModel):
    """Documents written while the index is served."""

    accepted: bool = Field(description="whether the service is writable")
    documents: int = Field(description="documents that were put, and are not folded into the index")
    changed: int = Field(description="documents that were put or deleted since the index was built")
    set_aside: int = Field(description="writes that could not be applied to the index")
    since: str | None = Field(description="when the index was built, UTC")
    last: str | None = Field(description="when the log was last written to, UTC; null for never")
    log_bytes: int = Field(description="size of the log of writes")


class Disk(BaseModel):
    """The disk of the data directory."""

    free_bytes: int = Field(description="room that is free")
    total_bytes: int = Field(description="its size")
    used_bytes: dict[str, int] = Field(description="folder of the data directory → bytes in it")


class Queue(BaseModel):
    """The request queue of the worker that answers."""

    open: int = Field(description="requests that wait or run now")
    capacity: int = Field(description="requests that may wait or run; further ones are refused with 429")
    cores: int = Field(description="queries that this worker encodes at the same time")
    workers: int = Field(description="worker processes of the service")


class QueryLogState(BaseModel):
    """State of the query log."""

    kept: bool = Field(description="whether the service keeps a query log")
    problem: str | None = Field(description="why nothing is written at present; null where all is well")
    dropped: int = Field(description="searches that this worker could not write and did not keep")
    bytes: int = Field(description="size of the log")


class Status(BaseModel):
    """Answer of `/status.json`."""

    version: str = Field(description="version of Dowse")
    started: str = Field(description="when the worker that answers was started, UTC")
    data: str = Field(description="the data directory")
    store: str = Field(description="`files`, or `milvus`: where served indexes are kept")
    index: str | None = Field(description="id of the index that is served; null while there is none")
    generation: str | None = Field(description="the index and the number of the last visible write")
    model: str | None = Field(description="id of the model of that index")
    documents: int | None = Field(description="documents that can be found")
    reason: str | None = Field(description="why nothing is served; null where something is")
    artifacts: list[Artifact] = Field(description="all artifacts, indexes first and then models, the newest first")
    writes: LiveWrites = Field(description="documents written while the index is served")
    disk: Disk = Field(description="the disk of the data directory")
    queue: Queue = Field(description="the request queue of the worker that answers")
    queries: QueryLogState = Field(description="state of the query log")


class QueryRow(BaseModel):
    """One query."""

    query: str = Field(description="as it was written first")
    searches: int = Field(description="how often it was searched")
    found: int = Field(description="how often it found something")
    clicks: int = Field(description="how often a result of it was opened, as far as clients have said")


class RankRow(BaseModel):
    """Clicks on one rank."""

    rank: int = Field(description="rank among the results, from 1")
    clicks: int = Field(description="results that were opened there")


class DayRow(BaseModel):
    """Searches of one day."""

    day: str = Field(description="UTC")
    searches: int = Field(description="number of searches")
    nothing: int = Field(description="of these, how many found nothing")


class Latency(BaseModel):
    """Percentiles of the milliseconds of a search."""

    p50: float = Field(description="half of all searches took no longer")
    p95: float = Field(description="95 of 100 took no longer")
    p99: float = Field(description="99 of 100 took no longer")


class QueryReport(BaseModel):
    """Answer of `/queries.json`: the statistics of the query log."""

    days: int = Field(description="the last days that are counted, today included")
    searches: int = Field(description="number of searches")
    distinct: int = Field(description="number of different queries of which the words were kept")
    nothing: int = Field(description="searches that found nothing, or nothing of a relevance of .1 where it is known")
    milliseconds: Latency | None = Field(description="null where nothing was searched")
    top: list[QueryRow] = Field(description="the most frequent queries")
    nothing_found: list[QueryRow] = Field(description="the most frequent queries that never found anything")
    clicks: int = Field(description="results that were opened, as far as clients have said")
    clicks_by_rank: list[RankRow] = Field(description="where they stood, as far as clients have said; from rank 1")
    by_day: list[DayRow] = Field(description="oldest first")
