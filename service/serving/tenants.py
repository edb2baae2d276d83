"""Restricted views of the live index for API keys with a filter: an index as if it held no other documents.

The filter is applied where a route gets the index, not where it searches, so no route can forget it.
"""

from __future__ import annotations

import logging
import threading
from weakref import WeakKeyDictionary

from indexer.cache import Cache
from indexer.filters.evaluate import compile_filter
from indexer.filters.fields import FilterError
from indexer.index.index import Index
from indexer.index.restricted import RestrictedIndex
from service.problems import Problem
from service.security.keys import Key
from service.serving.searcher import Serving

log = logging.getLogger("dowse.service")

MAX_VIEWS = 256
"""Cached views of one index; each has a mask of one byte per document."""

_views: WeakKeyDictionary[Index, Cache[str, Serving]] = WeakKeyDictionary()
_lock = threading.Lock()


def restrict_to_key(key: Key | None, live: Serving) -> Serving:
    """Return the live index as the holder of a key sees it.

    Raises:
        Problem: 403, the filter does not fit this index; the key then sees nothing rather than everything.
    """
    if key is None or key.filter is None:
        return live
    index = live.retriever.index
    key_filter = key.filter
    with _lock:
        views = _views.setdefault(index, Cache(MAX_VIEWS))
    try:
        return views.get_or_compute(
            key_filter.model_dump_json(by_alias=True),
            lambda: Serving(
                live.retriever.with_index(RestrictedIndex(index, compile_filter(key_filter, index))), live.model
            ),
        )
    except FilterError as error:
        log.error("the filter of the key %r does not fit the index: %s", key.name, error)  # noqa: TRY400
        detail = f"The filter of the key {key.name!r} does not fit the live index; ask the operator"
        raise Problem(403, "forbidden", detail) from error
