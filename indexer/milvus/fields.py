"""Metadata as fields of Milvus, and the values of conditions in the same form.

Texts, numbers and truth values are kept as they are. Whole numbers, decimals, dates and times are whole numbers on the
grid of their type, as the conditions of a filter are: a day, a cent, a microsecond. Null, NaN and empty lists are null.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from indexer.filters.bind import comparable, missing
from indexer.filters.evaluate import leaf_values, to_mask
from indexer.filters.fields import FieldPath, Types, field_types, find_field
from indexer.filters.values import kind_of

Form = Literal["text", "boolean", "double", "whole"]
"""How values are kept."""
MAX_TEXT_BYTES = 65_535
"""Longest text of a field of Milvus."""
MAX_ELEMENTS = 4_096
"""Longest list of a field of Milvus."""
MAX_FIELDS = 50
"""Fields of metadata; a collection holds 64 in all."""
LARGEST = float(np.finfo(np.float64).max)
WHOLE_DIGITS = 18
"""Digits of a decimal that a whole number of 64 bits holds."""


@dataclass(frozen=True)
class StoredField:
    """A field of the metadata in Milvus.

    Attributes:
        path: as a filter names it.
        name: of the field in the collections.
        form: how its values are kept.
        many: whether a document has a list of values.
    """

    path: str
    name: str
    form: Form
    many: bool


def form_of(kind: pa.DataType) -> Form | None:
    """Return how values of an Arrow type are kept; None where they are not."""
    kind = comparable(kind)
    match kind_of(kind):
        case None:
            return None
        case "text":
            return "text"
        case "boolean":
            return "boolean"
        case "number" if pa.types.is_floating(kind):
            return "double"
        case "number" if pa.types.is_decimal(kind) and kind.precision > WHOLE_DIGITS:
            return None
        case _:
            return "whole"


def choose_fields(types: Types) -> list[StoredField]:
    """Return the fields of metadata columns of these types that conditions can be asked of."""
    chosen: list[StoredField] = []
    for path in field_types(types):
        field = find_field(path, types)
        form = form_of(field.type)
        if form and path != "id":
            chosen.append(StoredField(path, f"f{len(chosen)}", form, field.in_list))
    return chosen


def fits(column: pa.ChunkedArray, field: FieldPath) -> str | None:
    """Return why the values of a field cannot be kept, or None where they can."""
    values, owners = leaf_values(column, field.fields)
    if not len(values):
        return None
    if owners is not None and int(np.bincount(owners).max()) > MAX_ELEMENTS:
        return f"a list has more than {MAX_ELEMENTS} values"
    if pa.types.is_uint64(values.type) and (pc.max(values).as_py() or 0) >= 2**63:
        return "a whole number has more than 63 bits"
    if form_of(field.type) == "text" and (pc.max(pc.binary_length(values)).as_py() or 0) > MAX_TEXT_BYTES:
        return f"a text has more than {MAX_TEXT_BYTES:,} bytes"
    return None


def stored_values(column: pa.ChunkedArray, field: FieldPath, form: Form) -> list[Any]:
    """Return the value, or the list of values, of each document in the form in which Milvus keeps it; None for none."""
    values, owners = leaf_values(column, field.fields)
    present = ~to_mask(missing(values))
    plain = _plain(values.filter(pa.array(present)), form)
    if not field.in_list:
        result: list[Any] = [None] * len(column)
        for row, value in zip(np.flatnonzero(present).tolist(), plain, strict=True):
            result[row] = value
        return result
    lists: list[list[Any]] = [[] for _ in range(len(column))]
    rows = np.arange(len(values)) if owners is None else owners
    for row, value in zip(rows[present].tolist(), plain, strict=True):
        lists[row].append(value)
    return [each or None for each in lists]


def stored_scalar(scalar: pa.Scalar, form: Form) -> Any:
    """Return a value of a condition in the form in which Milvus keeps values."""
    return _plain(pa.chunked_array([pa.repeat(scalar, 1)]), form)[0]


def restore(values: Sequence[Any], kind: pa.DataType, form: Form) -> pa.ChunkedArray:
    """Return values of the form as an Arrow array of their type."""
    kind = comparable(kind)
    if form != "whole":
        return pa.chunked_array([pa.array(values, kind)])
    if pa.types.is_decimal(kind):
        return pa.chunked_array([pa.array([Decimal(value).scaleb(-kind.scale) for value in values], kind)])
    if pa.types.is_integer(kind):
        return pa.chunked_array([pa.array(values, kind)])
    whole = pa.int32() if kind.bit_width == 32 else pa.int64()
    return pa.chunked_array([pa.array(values, whole).view(kind)])


def _plain(values: pa.ChunkedArray, form: Form) -> list[Any]:
    if form == "whole":
        return _whole(values)
    plain: list[Any] = values.to_pylist()
    if form == "double":  # Milvus keeps no infinity; no condition has a bound beyond the largest number
        return [max(-LARGEST, min(LARGEST, float(value))) for value in plain]
    return plain


def _whole(values: pa.ChunkedArray) -> list[int]:
    kind = values.type
    if pa.types.is_decimal(kind):
        return [int(value.scaleb(kind.scale)) for value in values.to_pylist()]
    if pa.types.is_integer(kind):
        return values.to_pylist()  # type: ignore[no-any-return]
    whole = pa.int32() if kind.bit_width == 32 else pa.int64()
    return [number for chunk in values.chunks for number in chunk.view(whole).to_pylist()]
