"""The live index: opened at start, replaced when another one is published."""

from __future__ import annotations

import gc
import logging
import math
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from indexer.artifacts.store import Store
from indexer.errors import UserError
from indexer.index.index import Index
from indexer.retrieval.retriever import Retriever
from service.observability import metrics
from service.problems import Problem
from service.serving.live_documents import LiveDocuments
from service.serving.model import LiveModel

log = logging.getLogger("dowse.service")

WRITES_SECONDS = 0.2
"""How often to look for what other processes have written."""
AGAIN_SECONDS = 30.0
"""After how long an index is tried again that the machine would not let be opened: it is verified anew each time."""


@dataclass(frozen=True)
class Serving:
    """The live index and the model that it pins: replaced together, never one without the other."""

    retriever: Retriever
    model: LiveModel


class Searcher:
    """Holds one retriever and follows ``indexes/CURRENT``.

    A request takes `live` once and keeps it, so that its answer comes from one index whatever is published
    meanwhile. An index that cannot be opened leaves the one before in place.
    """

    def __init__(self, data: Path, cores: int | None, poll_seconds: float, query_cache_bytes: int = 0) -> None:
        self._store = Store("index", data)
        self._models = Store("model", data)
        self.cores = cores or len(os.sched_getaffinity(0))
        self._query_cache_bytes = query_cache_bytes
        self._poll_seconds = poll_seconds
        self._live: Serving | None = None
        self._refused: tuple[str, int] | None = None
        self._try_again = math.inf
        self._reason = ""
        self.documents = LiveDocuments(data, self._show)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="follow-current", daemon=True)

    def start(self) -> None:
        """Open the live index, if there is one, and follow what is published."""
        self.refresh()
        if self._live is None:
            log.warning("not ready: %s", self._reason)
        self._thread.start()

    def stop(self) -> None:
        """Stop following."""
        self._stop.set()
        self._thread.join()

    @property
    def current(self) -> Serving | None:
        """The live index and its model, None while there is none."""
        return self._live

    @property
    def live(self) -> Serving:
        """The live index and its model.

        Raises:
            Problem: there is none; the detail says why and what to run.
        """
        if self._live is None:
            raise Problem(503, "not-ready", self._reason)
        return self._live

    def refresh(self) -> None:
        """Open the live index unless it is the one that is open, or one that was refused already."""
        try:
            current = self._store.current_id()
            if current is None:
                self._reason = "There is no index yet; run `python -m indexer build CORPUS`"
                return
            activated = (current, self._store.activated())
            if self._live and self._live.retriever.index.manifest.id == current:
                return
            if activated == self._refused and time.monotonic() < self._try_again:
                return
            # Until `activate` is called again, perhaps after a repair.
            self._refused, self._try_again = activated, math.inf
            path = self._store.path(current)
            index = Index.open(path, cores=self.cores, query_cache_bytes=self._query_cache_bytes)
            # The first query maps files and makes threads: nobody should have to wait for that.
            retriever = Retriever(index)
            retriever.page(retriever.search("warm up"), 0, 1)
            self.documents.take_up(index)
            gc.collect()  # what is left of the index before should not wait until enough other garbage has gathered
            self._refused = None
            metrics.SWAPPED.inc()
            log.info("index %s: %d documents", current, len(index))
        except UserError as error:
            self._reason = "The index cannot be opened; run `python -m indexer verify`, then activate or build another"
            log.error("%s", error)  # noqa: TRY400 - the message says all that a traceback could
        except OSError as error:  # too many open files, a full /tmp: nothing that is wrong with the index
            self._try_again = time.monotonic() + AGAIN_SECONDS
            why = error.strerror or type(error).__name__
            self._reason = f"The index could not be opened ({why}); it is tried again every {AGAIN_SECONDS:g} s"
            log.error("%s; the index is opened again in %g s", error, AGAIN_SECONDS)  # noqa: TRY400 - as above

    def _show(self, index: Index) -> None:
        """Let searches see an index, or the same one with more written over it."""
        known = self._live and self._live.retriever.index.manifest.id == index.manifest.id
        model = (
            self._live.model if self._live and known else LiveModel(self._models.path(index.manifest.parents["model"]))
        )
        self._live = Serving(Retriever(index), model)

    def _follow(self) -> None:
        looked = time.monotonic()
        while not self._stop.wait(min(self._poll_seconds, WRITES_SECONDS)):
            try:
                self.documents.follow()
                if time.monotonic() - looked >= self._poll_seconds:
                    looked = time.monotonic()
                    self.refresh()
            except Exception:
                log.exception("looking for a new index failed; the one before stays")
