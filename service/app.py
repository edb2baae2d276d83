"""The application: a function of its settings."""

from __future__ import annotations

import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.concurrency import run_in_threadpool

from indexer import __version__
from indexer.retrieval.highlights import SentenceVectors
from service import problems
from service.api import pages as docs
from service.api import request_id as middleware
from service.api.documents import routes as live_routes
from service.api.mcp import server as model_context
from service.api.models import classify
from service.api.models import masked_lm as reading
from service.api.openai import embeddings
from service.api.operations import metrics as scrape
from service.api.search import batch, rerank, routes, similar
from service.observability import metrics, tracing
from service.security import cors
from service.security.auth import Door
from service.security.hosts import Hosts
from service.security.keyring import Keyring
from service.serving.published import Published
from service.serving.queue import Admission
from service.serving.searcher import Searcher
from service.settings import ServiceSettings

log = logging.getLogger("dowse.service")


def create_app(settings: ServiceSettings) -> FastAPI:
    """Return the service for ``settings``. The index is opened when the application starts, not before."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        searcher = Searcher(settings.data, settings.cores, settings.poll_seconds, settings.query_cache_mb * 1_000_000)
        await run_in_threadpool(searcher.start)
        app.state.searcher = searcher
        app.state.sentences = SentenceVectors()
        app.state.settings = settings
        labelling = Published(
            "classifier", settings.data, partial(classify.open_classifier, cores=settings.cores), settings.poll_seconds
        )
        await run_in_threadpool(labelling.start)
        app.state.classifier = labelling
        masked = Published(
            "masked", settings.data, partial(reading.open_masked, cores=settings.cores), settings.poll_seconds
        )
        await run_in_threadpool(masked.start)
        app.state.masked = masked
        reranking = Published(
            "reranker", settings.data, partial(rerank.open_reranker, cores=settings.cores), settings.poll_seconds
        )
        await run_in_threadpool(reranking.start)
        app.state.reranker = reranking
        admission = Admission(searcher.cores, settings.queue, settings.deadline_seconds)
        app.state.admission = admission
        yield
        await run_in_threadpool(admission.stop)
        await run_in_threadpool(reranking.stop)
        await run_in_threadpool(masked.stop)
        await run_in_threadpool(labelling.stop)
        await run_in_threadpool(searcher.stop)
        await run_in_threadpool(app.state.stop_tracing)

    # Its documentation pages need no CDN.
    app = FastAPIOffline(
        title="Dowse",
        version=__version__,
        description="Semantic search over the live index. Errors are RFC 9457 problem details with a stable `type`.",
        lifespan=lifespan,
        redoc_url=None,
        docs_url=None,
        redirect_slashes=False,  # /search/ is a 404 like any other unknown path
    )
    app.state.draining = threading.Event()
    app.state.closed = threading.Event()
    app.state.metrics_folder = None  # that of the workers, where there are several
    docs.install(app)
    app.include_router(similar.of_document)
    app.include_router(routes.router)
    app.include_router(live_routes.router)
    app.include_router(batch.router)
    app.include_router(similar.router)
    app.include_router(classify.router)
    app.include_router(reading.router)
    app.include_router(embeddings.router)
    app.router.routes.append(model_context.route(frozenset(cors.origins(settings.cors or ""))))
    app.include_router(scrape.router)
    # The last one added is the outermost.
    app.add_middleware(
        Door,
        keyring=Keyring(settings.key_file, settings.poll_seconds),
        settings=settings,
        hosts=Hosts(settings),
        closed=app.state.closed,
    )
    app.add_middleware(middleware.LastResort)
    cors.install(app, settings.cors)
    app.add_middleware(middleware.Envelope)
    app.add_middleware(metrics.Measured)
    app.state.stop_tracing = tracing.install(app)
    problems.install(app)
    return app
