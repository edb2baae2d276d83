"""Restricted views of the live index for API keys with a filter: an index as if it held no other documents.

The filter is applied where a route gets the index, not where it searches, so no route can forget it.
"""

from __future__ import annotations

import logging

from indexer.filters.evaluate import restrict
from indexer.filters.fields import FilterError
from service.problems import Problem
from service.security.keys import Key
from service.serving.searcher import Serving

log = logging.getLogger("dowse.service")


def restrict_to_key(key: Key | None, live: Serving) -> Serving:
    """Return the live index as the holder of a key sees it.

    Raises:
        Problem: 403, the filter does not fit this index; the key then sees nothing rather than everything.
    """
    if key is None or key.filter is None:
        return live
    index = live.retriever.index
    key_filter = key.filter
    try:
        return live.views.get_or_compute(
            key_filter.model_dump_json(by_alias=True),
            lambda: Serving(live.retriever.with_index(restrict(key_filter, index)), live.model),
        )
    except FilterError as error:
        log.error("the filter of the key %r does not fit the index: %s", key.name, error)  # noqa: TRY400
        detail = f"The filter of the key {key.name!r} does not fit the live index; ask the operator"
        raise Problem(403, "forbidden", detail) from error
