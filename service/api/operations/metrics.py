"""`GET /metrics`: the metrics of the service in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Iterable

from fastapi import APIRouter, Request
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.concurrency import run_in_threadpool

from service.api.problem_responses import RESPONSES
from service.observability import worker_metrics
from service.serving.searcher import Searching

INDEX_METRICS: dict[str, tuple[str, list[str]]] = {
    "dowse_index_documents": ("Documents in the live index", []),
    "dowse_index_info": ("The live index and its model", ["index", "model"]),
}
"""Name of a metric of the live index → its help text and labels."""

router = APIRouter(responses={status: RESPONSES[status] for status in (422, 500, 503)})


@router.get(
    "/metrics", operation_id="get_metrics", tags=["operate"], summary="Metrics for Prometheus", response_class=Response
)
async def metrics(request: Request) -> Response:
    """Return metrics in Prometheus' text format: of all workers together, except those of the index.

    Metrics whose names begin with `dowse_index_` are those of the worker that answers. Each follows the index by itself.
    """
    state = request.app.state
    if state.workers_folder:
        request_metrics = await run_in_threadpool(worker_metrics.exposition, state.workers_folder)
    else:
        request_metrics = generate_latest(REGISTRY)
    index_registry = CollectorRegistry()
    index_registry.register(IndexCollector(state.searcher))
    return Response(request_metrics + generate_latest(index_registry), media_type=CONTENT_TYPE_LATEST)


class IndexCollector(Collector):
    """Collector of what this process serves now; for a second another worker may still serve the previous index."""

    def __init__(self, searcher: Searching) -> None:
        self._searcher = searcher

    def collect(self) -> Iterable[Metric]:
        """Yield the size and the id of the live index; nothing while there is none."""
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
