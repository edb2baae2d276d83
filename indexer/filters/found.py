"""What a query finds: its candidates, and every document that has a word of it. Facets over results count these."""

from __future__ import annotations

import sys
import threading
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from indexer.cache import ENTRY_BYTES, OwnedCache
from indexer.filters.ordering import ArrangingIndex
from indexer.index.document_mask import DocumentMask, Rows
from indexer.index.index import Index
from indexer.index.served import ServedIndex
from indexer.index.terms.words import QueryTerms

CACHED_BYTES = 32 << 20
"""Memory for which documents have the words of recent queries, for each opened index, all of its views together."""
Bits = npt.NDArray[np.uint8]

# By terms: the page asks several times about the documents of one query, and common words take some .1 s each time.
_caches: WeakKeyDictionary[ServedIndex, OwnedCache[str, Bits]] = WeakKeyDictionary()
_lock = threading.Lock()


def documents_found(index: ServedIndex, candidates: Rows, terms: QueryTerms | None, allowed: Any | None) -> Any:
    """Return the candidates of a query and the documents that have a term of it, as a `Selection` of the index.

    Args:
        index: that was searched.
        candidates: rows of the documents that its legs have ranked.
        terms: of the query; None where only candidates count, as in dense mode.
        allowed: the documents that pass the filter, a `Selection`; None for all that are visible.

    Raises:
        NotSupported: the store cannot tell, as more documents have a term than it returns.
    """
    if isinstance(index, ArrangingIndex):
        with_term = index.lexical.matching(terms, allowed or index.visible) if terms else candidates[:0]
        return index.select(np.union1d(candidates, with_term))
    files = Index.of(index)
    mask = np.zeros(files.rows, dtype=np.bool_)
    if terms is not None:
        mask |= np.unpackbits(_bits_of(files, terms), count=files.rows).view(np.bool_)
    mask[candidates] = True
    found = DocumentMask(mask, files.first_passage)
    allowed = files.visible if allowed is None else allowed
    return found if allowed is None else found & allowed


def _bits_of(index: Index, terms: QueryTerms) -> Bits:
    """Return a bit for each document: whether it has a term, be it visible or not."""

    def compute() -> Bits:
        mask = np.zeros(index.rows, dtype=np.bool_)
        mask[index.lexical.matching(terms)] = True
        return np.packbits(mask)

    with _lock:
        cache = _caches.setdefault(index.root, OwnedCache(CACHED_BYTES, _entry_bytes))
    return cache.get_or_compute(repr(terms), compute)


def _entry_bytes(key: str, bits: Bits) -> int:
    return sys.getsizeof(key) + bits.nbytes + ENTRY_BYTES
