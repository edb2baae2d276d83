"""Sort keys: by a field or by the distance from a point, as a request holds them. Nothing here depends on an index."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from indexer.filters.conditions import Name

MAX_KEYS = 8


class Point(BaseModel):
    """A place on the earth."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    lat: float = Field(ge=-90, le=90, description="latitude in degrees, north positive")
    lon: float = Field(ge=-180, le=180, description="longitude in degrees, east positive")


class _Key(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    order: Literal["asc", "desc"] = Field(
        default="asc",
        description="`asc`: small, early, near and false first; `desc`: the other way round. Documents without a value "
        "come last in both",
    )


class SortByField(_Key):
    """Sort by the value of a field: numbers, dates and times by size, texts by their code points, false before true."""

    field: Name = Field(description="a metadata column, `id`, or a field of a struct column as `column.field`")


class SortByDistance(_Key):
    """Sort by the great-circle distance of a place to a point."""

    latitude: Name = Field(description="the field with the latitude in degrees")
    longitude: Name = Field(description="the field with the longitude in degrees")
    near: Point = Field(description="the point")


def _kind(key: Any) -> str | None:
    if isinstance(key, BaseModel):
        return type(key).__name__
    if not isinstance(key, dict):
        return None
    return "SortByDistance" if "near" in key else "SortByField" if "field" in key else None


SortKey = Annotated[
    Annotated[SortByField, Tag("SortByField")] | Annotated[SortByDistance, Tag("SortByDistance")],
    Discriminator(
        _kind,
        custom_error_type="sort_key",
        custom_error_message="Input should be a field with an order, or latitude and longitude with near",
    ),
]
Sort = Annotated[list[SortKey], Field(max_length=MAX_KEYS)]
"""The first key decides; among documents that are equal by it the second, and so on."""


def parse_sort(text: str) -> list[SortByField | SortByDistance]:
    """Return the sort keys of a query string: names of fields with commas between, a minus before one for descending.

    A field whose own name has a comma, or begins with a minus, can only be named in a body.
    """
    names = [name.strip() for name in text.split(",") if name.strip(" -")]
    return [
        SortByField(field=name.removeprefix("-").strip(), order="desc" if name[0] == "-" else "asc") for name in names
    ]
