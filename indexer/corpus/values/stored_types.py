"""Types in which an index keeps the columns of Parquet files."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pyarrow as pa

_OFFSET = re.compile(r"[+-]([01]\d|2[0-3]):[0-5]\d")


def stored_type(kind: pa.DataType) -> pa.DataType:
    """Return the type in which an index keeps values of ``kind``.

    Dictionaries, views and extension types become the types of their values; UUIDs become text. Moments in a zone that
    this machine does not know are kept in UTC.
    """
    t = pa.types
    if isinstance(kind, pa.BaseExtensionType):
        kind = pa.string() if is_uuid(kind) else stored_type(kind.storage_type)
    elif t.is_dictionary(kind) or t.is_run_end_encoded(kind):
        kind = stored_type(kind.value_type)
    elif t.is_string_view(kind) or t.is_binary_view(kind):
        kind = pa.string() if t.is_string_view(kind) else pa.binary()
    elif t.is_timestamp(kind) and kind.tz is not None and not is_known_zone(kind.tz):
        kind = pa.timestamp(kind.unit, "UTC")
    elif t.is_struct(kind):
        kind = pa.struct([_stored_field(field) for field in kind])
    elif t.is_map(kind):
        kind = pa.map_(_stored_field(kind.key_field), _stored_field(kind.item_field))
    elif t.is_fixed_size_list(kind):
        kind = pa.list_(_stored_field(kind.value_field), kind.list_size)
    elif t.is_large_list(kind) or t.is_large_list_view(kind):
        kind = pa.large_list(_stored_field(kind.value_field))
    elif t.is_list(kind) or t.is_list_view(kind):
        kind = pa.list_(_stored_field(kind.value_field))
    return kind


def _stored_field(field: pa.Field) -> pa.Field:
    """Return a member of a list, map or struct with its stored type; there, UUIDs stay binary."""
    return field.with_type(stored_type(field.type.storage_type if is_uuid(field.type) else field.type))


def is_uuid(kind: pa.DataType) -> bool:
    """Say whether ``kind`` is Arrow's type of UUIDs."""
    return isinstance(kind, pa.UuidType)


def is_known_zone(zone: str) -> bool:
    """Say whether this machine can give times in ``zone``, the name of a zone or an offset such as +02:00."""
    if _OFFSET.fullmatch(zone):
        return True
    try:
        datetime.now(UTC).astimezone(ZoneInfo(zone))
    except (OSError, ValueError, LookupError):  # ZoneInfoNotFoundError is a LookupError
        return False
    return True


def contains(kind: pa.DataType, matches: Callable[[pa.DataType], bool]) -> bool:
    """Say whether ``kind``, or a type within it, ``matches``."""
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return contains(kind.value_type, matches)
    return matches(kind) or any(contains(kind.field(position).type, matches) for position in range(kind.num_fields))


def repeated_member(kind: pa.DataType) -> str | None:
    """Return a name that two members of one struct have, anywhere in ``kind``; None where there is none."""
    fields = [kind.field(position) for position in range(kind.num_fields)]
    names = [field.name for field in fields] if pa.types.is_struct(kind) else []
    for name in names:
        if names.count(name) > 1:
            return str(name)
    return next((name for field in fields if (name := repeated_member(field.type)) is not None), None)
