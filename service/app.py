"""FastAPI application, built from its settings: routes, middleware, and a lifespan for long-lived objects."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Protocol

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.concurrency import run_in_threadpool

from indexer import __version__
from indexer.milvus.settings import require_client
from indexer.retrieval.highlights import SentenceVectors
from service.api import errors, pages, request_id
from service.api.direct import DirectRoute, DirectRoutes
from service.api.documents import feedback, fetch
from service.api.documents import routes as documents
from service.api.mcp import server as mcp
from service.api.models import classify, masked_lm
from service.api.openai import embeddings
from service.api.openai import rerank as rerank_texts
from service.api.operations import metrics as metrics_route
from service.api.operations import queries, status
from service.api.operations import routes as operations
from service.api.search import batch, example_queries, export, rerank, similar, suggest
from service.api.search import routes as search
from service.api.search.example_queries import ExampleQueries
from service.api.search.rerank_memory import RerankMemory
from service.api.search.schemas import SearchRequest
from service.observability import metrics, tracing
from service.security import cors, image_sources
from service.security.auth import AuthMiddleware
from service.security.hosts import AllowedHosts
from service.security.keys import Keyring
from service.serving.follower import Follower
from service.serving.queries.recorder import QueryRecorder
from service.serving.queue import RequestQueue
from service.serving.rules import FollowedRules
from service.serving.searcher import Searcher, Searching
from service.settings import ServiceSettings

ROUTERS = (
    similar.document_router,  # before the route of one document, which matches every path below /documents/
    search.router,
    documents.router,
    operations.router,
    status.router,
    queries.router,
    pages.router,
    documents.write_router,
    feedback.router,
    fetch.router,
    fetch.write_router,
    batch.router,
    export.router,
    suggest.router,
    similar.router,
    example_queries.router,
    classify.router,
    masked_lm.router,
    embeddings.router,
    rerank_texts.router,
)


class Component(Protocol):
    """A long-lived part of the service, such as a follower."""

    def start(self) -> None:
        """Start; called in a thread."""

    def stop(self) -> None:
        """Stop; called in a thread, in the opposite order of starting."""


def open_searcher(settings: ServiceSettings) -> Searching:
    """Return what searches the store of the settings; it opens nothing before it is started."""
    if settings.store == "milvus":
        require_client()
        from service.serving.milvus import MilvusSearcher

        return MilvusSearcher(settings)
    return Searcher(settings.data, settings.cores, settings.poll_seconds, settings.query_cache_mb * 1_000_000)


def create_app(settings: ServiceSettings) -> FastAPI:
    """Return the application for ``settings``. The index is opened when the application starts, not before."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        data, poll, cores = settings.data, settings.poll_seconds, settings.cores
        async with AsyncExitStack() as stack:

            async def run(component: Component) -> None:
                await run_in_threadpool(component.start)
                stack.push_async_callback(run_in_threadpool, component.stop)

            stack.push_async_callback(run_in_threadpool, app.state.stop_tracing)
            state = app.state
            state.settings = settings
            state.started = datetime.now(UTC).isoformat(timespec="seconds")
            state.sentences = SentenceVectors()
            state.examples = ExampleQueries()
            state.rerank_memory = RerankMemory(state.workers_folder)
            stack.push_async_callback(run_in_threadpool, state.rerank_memory.stop)
            state.rules = FollowedRules(settings.synonyms, settings.stop_words, poll)
            state.searcher = open_searcher(settings)
            state.classifier = Follower("classifier", data, partial(classify.open_classifier, cores=cores), poll)
            state.masked = Follower("masked", data, partial(masked_lm.open_masked, cores=cores), poll)
            state.reranker = Follower("reranker", data, partial(rerank.open_reranker, cores=cores), poll)
            state.queries = QueryRecorder(settings) if settings.query_log else None
            components = (state.searcher, state.classifier, state.masked, state.reranker, state.queries)
            for component in filter(None, components):
                await run(component)
            state.queue = RequestQueue(state.searcher.cores, settings.queue, settings.deadline_seconds)
            stack.push_async_callback(run_in_threadpool, state.queue.stop)
            yield

    # FastAPIOffline: the documentation pages need no CDN.
    app = FastAPIOffline(
        title="Dowse",
        version=__version__,
        description="Semantic search over the live index. Errors are RFC 9457 problem details with a stable `type`.",
        lifespan=lifespan,
        redoc_url=None,
        docs_url=None,
        redirect_slashes=False,  # /search/ is a 404 like any other unknown path
    )
    image_sources.parse_sources(settings.image_sources)  # a wrong one is an error of the start
    app.state.keyring = Keyring(settings.key_file, settings.poll_seconds)
    app.state.draining = threading.Event()
    app.state.closed = threading.Event()
    app.state.workers_folder = None  # set where there are several workers: what they share, see `Assignment`
    pages.install_docs(app)
    for router in ROUTERS:
        app.include_router(router)
    app.router.routes.append(mcp.route(frozenset(cors.parse_origins(settings.cors or ""))))
    app.include_router(metrics_route.router)
    # The middleware that is added last is the outermost.
    app.add_middleware(DirectRoutes, routes={"/search": DirectRoute.of(search.router, "/search", SearchRequest)})
    app.add_middleware(
        AuthMiddleware,
        keyring=app.state.keyring,
        settings=settings,
        hosts=AllowedHosts(settings),
        closed=app.state.closed,
    )
    app.add_middleware(errors.ErrorMiddleware)
    cors.install(app, settings.cors)
    app.add_middleware(errors.PlainErrorMiddleware)
    app.add_middleware(request_id.RequestIdMiddleware)
    app.add_middleware(metrics.MetricsMiddleware)
    app.state.stop_tracing = tracing.install(app)
    errors.install(app)
    return app
