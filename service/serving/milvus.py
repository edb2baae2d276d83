"""Searcher over Milvus: the index that the alias names, opened again where another is named or an error has occurred.

A process keeps nothing of the index on its disk, so that any number of them can be started and ended. After an error of
Milvus all requests are answered with 503 and the reason, until the index has been opened anew with all its rows.
"""

from __future__ import annotations

import gc
import logging
import os
import threading
import time

from indexer.artifacts.store import Store
from indexer.errors import StoreError
from indexer.milvus.index import MilvusIndex
from indexer.milvus.open import open_index
from indexer.retrieval.retriever import Retriever
from service.observability import metrics
from service.problems import Problem
from service.serving.follower import STOP_SECONDS
from service.serving.live_documents import LiveDocuments, NoWrites
from service.serving.model import LiveModel
from service.serving.searcher import Searching, Serving
from service.settings import ServiceSettings

log = logging.getLogger("dowse.service")

COUNT_SECONDS = 30.0
"""Between counts of all rows while nothing fails: a server may have restarted without them between two requests."""


class MilvusSearcher(Searching):
    """Follows the alias in Milvus.

    Args:
        settings: of the service.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        self.cores = settings.cores or len(os.sched_getaffinity(0))
        self.documents: LiveDocuments | NoWrites = NoWrites()
        self._settings = settings
        self._models = Store("model", settings.data)
        self._live: Serving | None = None
        self._index: MilvusIndex | None = None
        self._retired: MilvusIndex | None = None
        self._reason = "Milvus was not asked yet"
        self._kind = "not-ready"
        self._counted = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="follow-milvus", daemon=True)

    def start(self) -> None:
        """Open the live index, if there is one, and follow the alias from now on."""
        self.refresh()
        self._thread.start()

    def stop(self) -> None:
        """Stop following."""
        self._stop.set()
        self._thread.join(STOP_SECONDS)

    @property
    def current(self) -> Serving | None:
        """The live index and its model; None while there is none, or Milvus does not answer."""
        return None if self._fault else self._live

    @property
    def live(self) -> Serving:
        """The live index and its model.

        Raises:
            Problem: there is none, or Milvus does not answer; the detail says why.
        """
        if self._live is None or self._fault:
            raise Problem(503, self._kind if self._reason else "store-unavailable", self._fault)
        return self._live

    def refresh(self) -> None:
        """Open the live index where it is another one, or anew after an error. No error is raised."""
        try:
            if not self._is_current():
                self._open()
        except StoreError as error:
            self._close("store-unavailable", str(error))
        except Exception as error:  # noqa: BLE001 - it must not keep the service from starting, nor end the thread
            self._close("not-ready", str(error) or type(error).__name__)

    @property
    def _fault(self) -> str:
        """Why nothing is served: what the last attempt has found, else the last request; empty where all is well."""
        return self._reason or ("" if self._index is None else self._index.engine.fault)

    def _is_current(self) -> bool:
        """Say whether the open index is the one that the alias names, with all its rows."""
        index = self._index
        if index is None or self._fault:
            return False
        if index.engine.alias_target(self._settings.alias) != index.names.documents:
            return False
        if time.monotonic() - self._counted > COUNT_SECONDS:
            if missing := index.missing():
                raise StoreError(f"Milvus at {self._settings.uri}: {missing}; publish the index again")
            self._counted = time.monotonic()
        return True

    def _open(self) -> None:
        settings, before = self._settings, self._index
        index = open_index(
            settings,
            settings.data,
            cores=self.cores,
            query_cache_bytes=settings.query_cache_mb * 1_000_000,
            before=before,
        )
        retriever = Retriever(index) if self._live is None else self._live.retriever.with_index(index)
        retriever.page(retriever.search("warm up"), 0, 1)
        self._live = Serving(retriever, LiveModel(self._models.path(index.manifest.parents["model"])))
        self._index, self._counted, self._reason = index, time.monotonic(), ""
        metrics.SWAPPED.inc()
        log.info("index %s is live, in Milvus", index.manifest.id)
        if self._retired is not None:  # requests that began with it have ended
            self._retired.engine.close()
        self._retired = before
        gc.collect()

    def _close(self, kind: str, reason: str) -> None:
        """Serve nothing until the next attempt."""
        if reason != self._reason:
            log.error("%s", reason)
        self._kind, self._reason = kind, reason

    def _follow(self) -> None:
        while not self._stop.wait(self._settings.poll_seconds):
            self.refresh()


def check_store(settings: ServiceSettings) -> str:
    """Return in one line what is live in Milvus.

    Raises:
        StoreError: Milvus does not answer, or rows are gone.
        UserError: nothing was published there, or the model is absent.
    """
    index = open_index(settings, settings.data)
    try:
        return f"index {index.manifest.id}: {len(index):,} documents in Milvus at {settings.uri}"
    finally:
        index.engine.close()
