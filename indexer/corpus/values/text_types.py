"""Types of values that a file holds as text: numbers, truth values, dates and times, found by what all values look like.

CSV has only texts, and JSON has no dates.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

_TIMESTAMP = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?"
MOMENTS: dict[pa.DataType, str] = {
    pa.date32(): r"\d{4}-\d\d-\d\d",
    pa.timestamp("us"): _TIMESTAMP + r"|\d{4}-\d\d-\d\d",
    pa.timestamp("us", "UTC"): _TIMESTAMP + r"(Z|[+-]\d\d:?\d\d)",
}
"""Patterns of dates and times in ISO 8601."""
PATTERNS: dict[pa.DataType, str] = {
    pa.int64(): r"0|-?[1-9]\d{0,18}",
    pa.float64(): r"-?(0|[1-9]\d{0,14})(\.\d+)?([eE][+-]?\d+)?|nan|NaN|-?inf",
    pa.bool_(): r"true|false|True|False|TRUE|FALSE",
    **MOMENTS,
}
"""Patterns of all types, from the narrowest type to the widest; a value must match the pattern and survive the cast.

Numbers with leading zeros ("007") and whole numbers beyond 64 bits are names rather than quantities: they stay text. So do
numbers of 16 digits before the point where others have fractions, since a double-precision number would change them.
"""


def fits(values: pa.Array, kind: pa.DataType) -> bool:
    """Say whether every text in ``values`` can be read as ``kind`` without loss."""
    if not pc.all(pc.match_substring_regex(values, f"^({PATTERNS[kind]})$")).as_py():
        return False
    try:
        values.cast(kind)
    except pa.ArrowInvalid:  # 2024-02-30, or a whole number beyond 64 bits
        return False
    return True
