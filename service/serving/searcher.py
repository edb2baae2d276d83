"""Searcher: the live index with its model and live documents, replaced together when another index is activated."""

from __future__ import annotations

import logging
import os
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path

from indexer.artifacts.store import Store
from indexer.cache import ENTRY_BYTES, Cache
from indexer.filters.evaluate import release_masks
from indexer.index.index import Index
from indexer.retrieval.retriever import Retriever
from service.observability import metrics
from service.problems import Problem
from service.serving.follower import Follower
from service.serving.live_documents import LiveDocuments, NoWrites
from service.serving.model import LiveModel

log = logging.getLogger("dowse.service")

POLL_WRITES_SECONDS = 0.2
"""Longest time between checks for writes of other processes."""
VIEW_BYTES = 256 << 20
"""Memory for the views of keys with a filter."""


@dataclass(frozen=True)
class Serving:
    """The live index and the model that it pins, always replaced together.

    Attributes:
        views: what keys with a filter see of the index, by filter; see `restrict_to_key`.
    """

    retriever: Retriever
    model: LiveModel
    views: Cache[str, Serving] = field(default_factory=lambda: Cache(VIEW_BYTES, _view_bytes))


def _view_bytes(key_filter: str, view: Serving) -> int:
    visible = view.retriever.index.visible
    return len(key_filter) + ENTRY_BYTES + (visible.nbytes if visible else 0)


class Searching(ABC):
    """What searches come from: the live index of a store.

    Attributes:
        cores: number of queries that are encoded at the same time.
        documents: the live documents; every write goes through it.
    """

    cores: int
    documents: LiveDocuments | NoWrites

    @abstractmethod
    def start(self) -> None:
        """Open the live index, if there is one, and follow it."""

    @abstractmethod
    def stop(self) -> None:
        """Stop following."""

    @property
    @abstractmethod
    def current(self) -> Serving | None:
        """The live index and its model, None while there is none."""

    @property
    @abstractmethod
    def live(self) -> Serving:
        """The live index and its model; raise `Problem` where there is none."""


class Searcher(Searching):
    """Follows ``indexes/CURRENT`` and the log of writes.

    A request takes `live` once and keeps it: its answer comes from one index, whatever is published meanwhile.

    Attributes:
        cores: number of queries that are encoded at the same time.
        documents: the live documents; every write goes through it.
    """

    def __init__(self, data: Path, cores: int | None, poll_seconds: float, query_cache_bytes: int = 0) -> None:
        self.cores = cores or len(os.sched_getaffinity(0))
        self._models = Store("model", data)
        self._query_cache_bytes = query_cache_bytes
        self._live: Serving | None = None
        self._documents = LiveDocuments(data, self._show, min(poll_seconds, POLL_WRITES_SECONDS))
        self.documents = self._documents
        self._index = Follower("index", data, self._open, poll_seconds)

    def start(self) -> None:
        """Open the live index, if there is one, and follow activations and writes."""
        self._index.start()
        if self._live is None:
            log.warning("not ready: %s", self._index.reason)
        self._documents.start()

    def stop(self) -> None:
        """Stop following."""
        self._documents.stop()
        self._index.stop()

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
            raise Problem(503, "not-ready", self._index.reason)
        return self._live

    def refresh(self) -> None:
        """Open the live index unless it is open already."""
        self._index.refresh()

    def _open(self, folder: Path) -> Index:
        index = Index.open(folder, cores=self.cores, query_cache_bytes=self._query_cache_bytes)
        # Warm up: the first query maps files and starts threads, which no request should have to wait for.
        retriever = Retriever(index)
        retriever.page(retriever.search("warm up"), 0, 1)
        self._documents.open_index(index)
        metrics.SWAPPED.inc()
        return index

    def _show(self, index: Index) -> None:
        """Serve an index: another one, or the same one with more writes in its overlay."""
        if self._live and self._live.retriever.index.manifest.id == index.manifest.id:
            previous, self._live = self._live, Serving(self._live.retriever.with_index(index), self._live.model)
            release_masks(previous.retriever.index)
        else:
            model = LiveModel(self._models.path(index.manifest.parents["model"]))
            self._live = Serving(Retriever(index), model)
