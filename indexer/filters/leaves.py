"""Leaves of a column: the values in its struct fields and lists, and the documents to which they belong."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from indexer.filters.bind import comparable
from indexer.filters.fields import is_list
from indexer.index.document_mask import Mask, Rows


def leaf_values(column: pa.ChunkedArray, fields: tuple[str, ...]) -> tuple[pa.ChunkedArray, Rows | None]:
    """Return the values in struct fields and lists, as types that Arrow compares, and the rows of their documents.

    Args:
        column: a value for each document.
        fields: the names of the struct fields that lead to the values.

    Returns:
        The values, and for each the row of its document, ascending; None where each document has exactly one.
    """
    owners: Rows | None = None
    while fields or is_list(column.type):
        if is_list(column.type):
            lengths = pc.list_value_length(column).fill_null(0).to_numpy()
            owners = np.repeat(np.arange(len(column)) if owners is None else owners, lengths)
            column = pc.list_flatten(column)
        else:
            column, fields = pc.struct_field(column, [fields[0]]), fields[1:]
    kind = comparable(column.type)
    return (column if kind == column.type else column.cast(kind)), owners


def to_mask(truth: pa.ChunkedArray) -> Mask:
    """Return Arrow's truth values as a mask; null becomes false."""
    truth = truth.fill_null(False)
    mask: Mask = truth.to_numpy()
    return mask
