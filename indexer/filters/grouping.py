"""Groups: of documents in any order the first few of each value of a column, by the column's numbers."""

from __future__ import annotations

import numpy as np

from indexer.filters.encoded import encoded_column
from indexer.filters.fields import find_field
from indexer.filters.ordering import ArrangingIndex
from indexer.index.document_mask import Rows
from indexer.index.index import Index
from indexer.index.served import ServedIndex


def first_of_groups(rows: Rows, field: str, size: int, index: ServedIndex) -> Rows:
    """Return the documents of ``rows`` that are among the first ``size`` of their group, in their order.

    Documents without a value are in no group and all returned.

    Args:
        rows: of the documents.
        field: a column of single values.
        size: of a group.
        index: of the documents.
    """
    if isinstance(index, ArrangingIndex):
        codes = index.values_of(field, rows).codes
    else:
        codes = encoded_column(Index.of(index), find_field(field, index.columns)).codes[rows]
    order = np.argsort(codes, kind="stable")
    sorted_codes = codes[order]
    is_first = np.diff(sorted_codes.astype(np.int64), prepend=-1) > 0
    starts = np.maximum.accumulate(np.where(is_first, np.arange(len(order)), 0))
    kept = (np.arange(len(order)) - starts < size) | (sorted_codes == 0)
    first: Rows = rows[np.sort(order[kept])]
    return first
