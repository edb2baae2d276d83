"""`GET /metrics`: what is counted, in the format that Prometheus reads."""

from __future__ import annotations

from collections.abc import Iterable

from fastapi import APIRouter, Request
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.concurrency import run_in_threadpool

from service.observability import worker_metrics as shared_metrics
from service.problems import RESPONSES
from service.serving.searcher import Searcher

INDEX_METRICS: dict[str, tuple[str, list[str]]] = {
    "dowse_index_documents": ("Documents in the live index", []),
    "dowse_index_info": ("The live index and its model", ["index", "model"]),
}
"""Name of a metric of the live index → what it is, and its labels."""

router = APIRouter(responses={status: RESPONSES[status] for status in (422, 500, 503)})


@router.get("/metrics", tags=["operate"], summary="Metrics for Prometheus", response_class=Response)
async def metrics(request: Request) -> Response:
    """Return the service's metrics in Prometheus' text format: of all workers, whichever of them is asked."""
    state = request.app.state
    if state.metrics_folder:
        counted = await run_in_threadpool(shared_metrics.exposition, state.metrics_folder)
    else:
        counted = generate_latest(REGISTRY)
    own = CollectorRegistry()
    own.register(IndexCollector(state.searcher))
    return Response(counted + generate_latest(own), media_type=CONTENT_TYPE_LATEST)


class IndexCollector(Collector):
    """What this process serves at the moment of asking; for a second another worker may still have the one before."""

    def __init__(self, searcher: Searcher) -> None:
        self._searcher = searcher

    def collect(self) -> Iterable[Metric]:
        """Yield the size and the identity of the live index; nothing while there is none."""
        live = self._searcher.current
        if live is None:
            return
        index = live.retriever.index
        values: dict[str, tuple[list[str], int]] = {
            "dowse_index_documents": ([], len(index)),
            "dowse_index_info": ([index.manifest.id, index.manifest.parents["model"]], 1),
        }
        for name, (text, labels) in INDEX_METRICS.items():
            family = GaugeMetricFamily(name, text, labels=labels)
            family.add_metric(*values[name])
            yield family
